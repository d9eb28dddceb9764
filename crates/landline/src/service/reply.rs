//! What a service writes its replies into.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BufMut;

use crate::buffer::Buffer;
use crate::error::{BoxError, Outcome};
use crate::event::Direction;
use crate::fault::{Step, passed};
use crate::frame::{Ending, Framing};
use crate::server::checkpoint::State;
use crate::server::link::Link;
use crate::server::sampler::Began;
use crate::server::table::Phase;
use crate::sys::arena::Handle;

/// How much memory the replies to a batch are given at least, in bytes; it grows as it must.
const FIRST_ROOM: usize = 4096;

/// Memory for replies is kept for the next ones up to this size, in bytes.
const OUT_KEPT: usize = 128 << 10;

/// No reply is being written in pieces.
const NOTHING: usize = usize::MAX;

/// The replies to one batch of messages, gathered in order and sent together.
///
/// [`send`](Self::send) adds a whole reply. `write!` and [`writer`](Self::writer) build one in pieces; it is
/// complete when the service returns, or with the next `send` or `flush`. A service that adds nothing gives
/// no answer.
pub struct Reply {
    /// The connection; none while no connection has use for this.
    link: Option<Rc<Link>>,
    framing: Framing,
    ending: Ending,
    /// Taken from the pool when there is something to say.
    out: Option<Buffer>,
    /// How much memory `out` is given first: answers are mostly as long as what they answer, and moving to
    /// larger memory costs a copy.
    first_room: u32,
    /// How much of `out` is sent already.
    sent: usize,
    /// Where in `out` the reply begins that is being written in pieces; [`NOTHING`] if none is.
    begun: usize,
    /// A reply was too long for the framing to express its length.
    too_long: bool,
    closing: bool,
    /// Why the connection ends, if not because that was asked for.
    failure: Option<BoxError>,
}

impl Reply {
    pub(super) fn new() -> Self {
        Self {
            link: None,
            framing: Framing::Raw,
            ending: Ending::Lf,
            out: None,
            first_room: 0,
            sent: 0,
            begun: NOTHING,
            too_long: false,
            closing: false,
            failure: None,
        }
    }

    /// Its replies are to this connection from now on.
    #[inline]
    pub(super) fn serve(&mut self, link: Option<Rc<Link>>) {
        if let Some(link) = &link {
            self.framing = link.peer.framing();
        }
        self.ending = Ending::Lf;
        self.first_room = 0;
        self.link = link;
    }

    /// Goes on with replies of which so many bytes are sent.
    pub(super) fn resume(&mut self, out: Option<Buffer>, sent: usize, closing: bool) {
        (self.out, self.sent, self.closing) = (out, sent, closing);
    }

    /// By which another process can find what is gathered.
    pub(super) fn handle(&self) -> Handle {
        let out = self.out.as_ref().filter(|out| !out.is_empty());
        out.map_or(Handle::NONE, Buffer::handle)
    }

    /// Keeps no memory for replies that are still to come.
    pub(super) fn release(&mut self) {
        self.out = self.out.take().filter(|out| !out.is_empty());
    }

    /// Adds one whole reply. The framing delimits it; a line gets the ending that its message had.
    pub fn send(&mut self, message: &[u8]) {
        self.send_with(message.len(), |room| room.copy_from_slice(message));
    }

    /// Adds one whole reply of `len` bytes. `fill` must write every one: what it finds there is an earlier
    /// user's.
    pub(super) fn send_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        self.complete();
        let prefix = self.framing.prefix_len();
        let out = self.out();
        let begun = out.len();
        let whole = prefix.checked_add(len).expect("a reply is smaller than the address space");
        out.reserve(whole);
        fill(&mut out.room()[prefix..whole]);
        out.extend_filled(whole);
        self.seal(begun);
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
        // A part of an answer can't be taken back.
        self.tear();
        self.deliver().await?;
        // The peer has taken everything: from here on it is the service that takes its time.
        self.link().enter(Phase::Answering);
        Ok(())
    }

    /// What is gathered is sent without being staged: if the process is killed from here on, the connection
    /// is lost.
    pub(super) fn tear(&self) {
        if let Some(checkpoints) = self.link().checkpoints() {
            checkpoints.update(|checkpoint| checkpoint.state = State::Torn);
        }
    }

    /// Ends the connection once the replies are sent; messages that came after this one are not answered.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// How many bytes wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.gathered() - self.sent
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.out.as_ref().is_none_or(|out| out.is_empty())
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether so much is gathered that it has to be sent first.
    pub(super) fn is_full(&self) -> bool {
        self.gathered() >= self.link().policy().max_unsent
    }

    /// How many bytes are gathered.
    fn gathered(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.len())
    }

    #[inline]
    pub(super) fn link(&self) -> &Link {
        self.link.as_ref().expect("somebody is answered")
    }

    /// The replies that follow are to a batch of so many bytes.
    #[inline]
    pub(super) fn answer_batch_of(&mut self, bytes: usize) {
        let most = u32::try_from(self.link().policy().max_unsent).unwrap_or(u32::MAX);
        self.first_room = u32::try_from(bytes).unwrap_or(u32::MAX).min(most);
    }

    /// The replies that follow are to a message that ended like this.
    #[inline]
    pub(super) fn set_ending(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// The replies that follow are to this message. It returns when that began, if it is to be timed.
    #[inline]
    pub(super) fn begin_answer(&mut self, message: &[u8]) -> Option<Began> {
        self.link().enter(Phase::Answering);
        let local = self.link().local();
        if local.shows_messages {
            local.events.message(self.link().peer.id(), Direction::In, message);
        }
        local.sampler.start()
    }

    /// The service is done with a message; whether the next one can be answered before this is sent. The
    /// reply that an error leaves unfinished is of no use to anybody.
    #[inline]
    pub(super) fn end_answer(&mut self, outcome: Outcome, began: Option<Began>) -> bool {
        if let Err(error) = outcome {
            if let Some(out) = &mut self.out {
                out.truncate(self.begun);
            }
            self.begun = NOTHING;
            self.fail(error);
            return false;
        }
        self.complete();
        self.link().slot().answered();
        passed(Step::Answer);
        if self.too_long {
            self.fail("a reply is too long for its framing".into());
        } else if let Some(began) = began {
            let local = self.link().local();
            local.events.answered(local.sampler.since(began));
        }
        !self.is_full() && !self.closing
    }

    /// The connection ends with this, once what is gathered is sent.
    pub(super) fn fail(&mut self, error: BoxError) {
        self.failure = Some(error);
        self.closing = true;
    }

    /// What the connection ended with.
    pub(super) fn failure(&mut self) -> Outcome {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Whether the connection ends because something failed.
    pub(super) fn is_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Adds what is framed already.
    pub(super) fn append_framed(&mut self, bytes: &[u8]) {
        self.out().append(bytes);
    }

    /// Where the replies of a batch are gathered.
    #[inline]
    fn out(&mut self) -> &mut Buffer {
        let first_room = FIRST_ROOM.max(self.first_room as usize);
        let is_too_small = |out: &Buffer| out.is_empty() && out.capacity() < first_room;
        if self.out.as_ref().is_none_or(is_too_small) {
            self.out = Some(self.link().local().pool.take(first_room));
        }
        self.out.get_or_insert_with(|| unreachable!())
    }

    /// Begins a reply, if none is begun.
    fn begin(&mut self) -> &mut Buffer {
        let is_new = self.begun == NOTHING;
        let prefix = self.framing.prefix_len();
        let begun = self.out().len();
        if is_new {
            self.begun = begun;
            self.out().append(&[0; 8][..prefix]);
        }
        self.out()
    }

    /// Completes the reply that was begun, if one was.
    #[inline]
    pub(super) fn complete(&mut self) {
        let begun = std::mem::replace(&mut self.begun, NOTHING);
        if begun != NOTHING {
            self.seal(begun);
        }
    }

    /// Frames the reply that is all that was gathered from `begun` on.
    #[inline]
    fn seal(&mut self, begun: usize) {
        let (Some(out), Some(link)) = (&mut self.out, &self.link) else { return };
        if link.local().shows_messages {
            let body = &out[begun + self.framing.prefix_len()..];
            link.local().events.message(link.peer.id(), Direction::Out, body);
        }
        match self.framing.seal(&mut out.filled_mut()[begun..], self.ending) {
            Ok([]) => {}
            Ok(suffix) => out.append(suffix),
            Err(_) => {
                out.truncate(begun);
                self.too_long = true;
            }
        }
    }

    /// Sends all that is gathered; the buffer goes back to the pool.
    pub(super) fn deliver(&mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(|cx| self.poll_deliver(cx))
    }

    #[inline]
    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(out) = self.out.as_ref().filter(|out| !out.is_empty()) else {
            return Poll::Ready(Ok(()));
        };
        while self.sent < out.len() {
            match self.link().poll_write(cx, &out[self.sent..])? {
                Poll::Ready(count) => {
                    passed(Step::Send);
                    self.sent += count;
                    self.link().slot().set_unsent(out.len() - self.sent);
                }
                Poll::Pending => {
                    self.link().slot().set_unsent(out.len() - self.sent);
                    return Poll::Pending;
                }
            }
        }
        // What the stream makes of it may be longer, and wait.
        ready!(self.link().poll_flush(cx))?;
        self.sent = 0;
        // Small ones are kept for the next replies of whoever is busy next.
        match &mut self.out {
            Some(out) if out.capacity() <= OUT_KEPT => out.truncate(0),
            out => *out = None,
        }
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
