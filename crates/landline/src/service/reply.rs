//! What a service writes its replies into.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use bytes::BufMut;

use crate::buffer::Buffer;
use crate::event::Direction;
use crate::frame::{Ending, FrameError, Framing};
use crate::server::link::Link;

/// How much memory the first reply of a batch is given, in bytes; it grows as it must.
const FIRST_ROOM: usize = 4096;

/// The replies to one batch of messages, gathered in order and sent together.
///
/// [`send`](Self::send) adds a whole reply. `write!` and [`writer`](Self::writer) build one in pieces; it is complete when the
/// service returns, or with the next `send` or `flush`. A service that adds nothing gives no answer.
pub struct Reply {
    link: Rc<Link>,
    framing: Framing,
    ending: Ending,
    /// Taken from the pool when there is something to say.
    out: Option<Buffer>,
    /// Where in `out` the reply begins that is being written in pieces.
    begun: Option<usize>,
    failed: Option<FrameError>,
    closing: bool,
}

impl Reply {
    pub(super) fn new(link: Rc<Link>, framing: Framing) -> Self {
        Self { link, framing, ending: Ending::Lf, out: None, begun: None, failed: None, closing: false }
    }

    /// Adds one whole reply. The framing delimits it; a line gets the ending that its message had.
    pub fn send(&mut self, message: &[u8]) {
        self.complete();
        self.begin().append(message);
        self.complete();
    }

    /// Adds one whole reply of `len` bytes. `fill` must write every one: what it finds there is an earlier user's.
    pub(super) fn send_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        self.complete();
        let out = self.begin();
        out.reserve(len);
        fill(&mut out.room()[..len]);
        out.extend_filled(len);
        self.complete();
    }

    /// A place to write a reply in pieces, for encoders that want a [`BufMut`].
    pub fn writer(&mut self) -> &mut (impl BufMut + io::Write + use<>) {
        self.begin()
    }

    /// Sends what has been gathered so far, and waits until the peer has taken it: for long answers, so that a slow
    /// peer slows the service down. Not cancel-safe: if it is dropped, it is unknown how much was sent.
    ///
    /// # Errors
    /// When the connection is lost; return the error.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.complete();
        self.deliver().await
    }

    /// Ends the connection once the replies are sent; messages that came after this one are not answered.
    pub fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// How many bytes are gathered.
    pub(super) fn unsent(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.len())
    }

    /// The replies that follow are to a message with this ending.
    pub(super) fn answer_to(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Adds what is framed already.
    pub(super) fn append_framed(&mut self, bytes: &[u8]) {
        self.out.get_or_insert_with(|| self.link.local().pool.take(FIRST_ROOM)).append(bytes);
    }

    /// The reply in which an error has left it is of no use to anybody.
    pub(super) fn abandon(&mut self) {
        if let (Some(begun), Some(out)) = (self.begun.take(), &mut self.out) {
            out.truncate(begun);
        }
    }

    /// Why a reply could not be framed, if one could not.
    pub(super) fn take_failure(&mut self) -> Option<FrameError> {
        self.failed.take()
    }

    fn begin(&mut self) -> &mut Buffer {
        let out = self.out.get_or_insert_with(|| self.link.local().pool.take(FIRST_ROOM));
        if self.begun.is_none() {
            self.begun = Some(out.len());
            out.append(&[0; 8][..self.framing.prefix_len()]);
        }
        out
    }

    /// Completes the reply that was begun, if one was.
    pub(super) fn complete(&mut self) {
        let (Some(begun), Some(out)) = (self.begun.take(), &mut self.out) else {
            return;
        };
        if self.link.local().shows_messages {
            let body = &out[begun + self.framing.prefix_len()..];
            self.link.local().events.message(self.link.peer.id(), Direction::Out, body);
        }
        match self.framing.seal(&mut out.filled_mut()[begun..], self.ending) {
            Ok(suffix) => out.append(suffix),
            Err(error) => {
                out.truncate(begun);
                self.failed = Some(error);
            }
        }
    }

    /// Sends all that is gathered; the buffer goes back to the pool.
    pub(super) async fn deliver(&mut self) -> io::Result<()> {
        let Some(out) = self.out.take() else {
            return Ok(());
        };
        let slot = self.link.slot();
        let mut sent = 0;
        poll_fn(|cx| {
            while sent < out.len() {
                match self.link.poll_write(cx, &out[sent..]) {
                    Poll::Ready(Ok(count)) => sent += count,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        slot.set_unsent(out.len() - sent);
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        slot.set_unsent(0);
        Ok(())
    }
}

/// Writes a piece of the reply; see [`Reply`]. It never fails.
impl io::Write for Reply {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin().append(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: to send what is gathered, await [`Reply::flush`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} bytes gathered)", self.unsent())
    }
}
