//! What a service writes its replies into.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BufMut;

use crate::buffer::Buffer;
use crate::error::Outcome;
use crate::event::Direction;
use crate::frame::{Ending, Framing};
use crate::server::link::Link;
use crate::server::table::Phase;

/// How much memory the replies to a batch are given at least, in bytes; it grows as it must.
const FIRST_ROOM: usize = 4096;

/// The replies to one batch of messages, gathered in order and sent together.
///
/// [`send`](Self::send) adds a whole reply. `write!` and [`writer`](Self::writer) build one in pieces; it is
/// complete when the service returns, or with the next `send` or `flush`. A service that adds nothing gives
/// no answer.
pub struct Reply {
    link: Rc<Link>,
    framing: Framing,
    ending: Ending,
    /// Taken from the pool when there is something to say.
    out: Option<Buffer>,
    /// How much memory `out` is given first: answers are mostly as long as what they answer, and moving to
    /// larger memory costs a copy.
    first_room: u32,
    /// How much of `out` is sent already.
    sent: usize,
    /// Where in `out` the reply begins that is being written in pieces.
    begun: Option<usize>,
    /// A reply was too long for the framing to express its length.
    too_long: bool,
    closing: bool,
}

impl Reply {
    pub(super) fn new(link: Rc<Link>, framing: Framing) -> Self {
        Self {
            link,
            framing,
            ending: Ending::Lf,
            out: None,
            first_room: 0,
            sent: 0,
            begun: None,
            too_long: false,
            closing: false,
        }
    }

    /// Adds one whole reply. The framing delimits it; a line gets the ending that its message had.
    pub fn send(&mut self, message: &[u8]) {
        self.complete();
        self.begin().append(message);
        self.complete();
    }

    /// Adds one whole reply of `len` bytes. `fill` must write every one: what it finds there is an earlier
    /// user's.
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

    /// Sends what has been gathered so far, and waits until the peer has taken it: for long answers, so that
    /// a slow peer slows the service down. Cancel-safe: what was not sent is sent later.
    ///
    /// # Errors
    /// When the connection is lost; return the error.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.complete();
        self.deliver().await?;
        // The peer has taken everything: from here on it is the service that takes its time.
        self.link.enter(Phase::Answering);
        Ok(())
    }

    /// Ends the connection once the replies are sent; messages that came after this one are not answered.
    pub fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether so much is gathered that it has to be sent first.
    pub(super) fn is_full(&self) -> bool {
        self.gathered() >= self.link.policy().max_unsent
    }

    /// How many bytes are gathered.
    fn gathered(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.len())
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The replies that follow are to a batch of so many bytes.
    pub(super) fn answer_batch_of(&mut self, bytes: usize) {
        let most = u32::try_from(self.link.policy().max_unsent).unwrap_or(u32::MAX);
        self.first_room = u32::try_from(bytes).unwrap_or(u32::MAX).min(most);
    }

    /// The replies that follow are to this message.
    pub(super) fn answer_to(&mut self, message: &[u8], ending: Ending) {
        self.ending = ending;
        self.link.enter(Phase::Answering);
        if self.link.local().shows_messages {
            self.link.local().events.message(self.link.peer.id(), Direction::In, message);
        }
    }

    /// The service is done with a message. The reply that an error leaves unfinished is of no use to anybody.
    pub(super) fn answered(&mut self, outcome: Outcome) -> Outcome {
        if let Err(error) = outcome {
            if let (Some(begun), Some(out)) = (self.begun.take(), &mut self.out) {
                out.truncate(begun);
            }
            return Err(error);
        }
        self.complete();
        self.link.slot().answered();
        if self.too_long { Err("a reply is too long for its framing".into()) } else { Ok(()) }
    }

    /// Adds what is framed already.
    pub(super) fn append_framed(&mut self, bytes: &[u8]) {
        self.out.get_or_insert_with(|| self.link.local().pool.take(FIRST_ROOM)).append(bytes);
    }

    fn begin(&mut self) -> &mut Buffer {
        let room = FIRST_ROOM.max(self.first_room as usize);
        let out = self.out.get_or_insert_with(|| self.link.local().pool.take(room));
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
        if let Ok(suffix) = self.framing.seal(&mut out.filled_mut()[begun..], self.ending) {
            out.append(suffix);
        } else {
            out.truncate(begun);
            self.too_long = true;
        }
    }

    /// Sends all that is gathered; the buffer goes back to the pool.
    pub(super) fn deliver(&mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(|cx| self.poll_deliver(cx))
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(out) = &self.out else {
            return Poll::Ready(Ok(()));
        };
        while self.sent < out.len() {
            match self.link.poll_write(cx, &out[self.sent..])? {
                Poll::Ready(count) => self.sent += count,
                Poll::Pending => {
                    self.link.slot().set_unsent(out.len() - self.sent);
                    return Poll::Pending;
                }
            }
        }
        self.link.slot().set_unsent(0);
        self.out = None;
        self.sent = 0;
        Poll::Ready(Ok(()))
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
        write!(f, "Reply({} bytes gathered)", self.gathered())
    }
}
