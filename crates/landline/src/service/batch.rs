//! What a connection is busy with: messages that came together, and the replies to them.
//!
//! A connection has a batch only while it is busy, and a thread is mostly busy with one connection at a time.
//! So batches are lent: the next connection gets the memory that the one before it had, and finds it in the
//! processor's caches.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::Reply;
use crate::buffer::Buffer;
use crate::fault::{Step, passed};
use crate::frame::{Cut, Decoder, Ending, FrameError};
use crate::server::checkpoint::{Checkpoint, Left, State};
use crate::server::link::Link;
use crate::server::stream::Readable;
use crate::sys::arena::Handle;

/// How much one read takes at most, in bytes. A message of `raw` is no longer than this.
const READ_MAX: usize = 128 << 10;
/// How much room a read has at least, in bytes: enough for what delimits a message.
const READ_MIN: usize = 4 << 10;
/// How many unused batches a thread keeps, and how many of them with their buffers.
const KEPT_MAX: usize = 64;
const KEPT_WITH_BUFFERS: usize = 2;

/// Messages that have come and are not answered, and replies that are not sent.
pub(crate) struct Batch {
    /// What has been read and not been answered. Its bytes are never changed or moved in place.
    input: Option<Buffer>,
    /// How much of `input` is answered.
    consumed: usize,
    /// Whether no complete message is left in it.
    is_exhausted: bool,
    /// The memory that the connection's checkpoint says its input is in.
    claimed: Handle,
    /// Whether what is gathered may be on its way, so that nothing can be added.
    is_staged: bool,
    pub(super) reply: Reply,
}

/// A thread's unused batches.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they are lent in their boxes, and never moved")]
pub(crate) struct Batches(RefCell<Vec<Box<Batch>>>);

impl Batches {
    /// A batch for a connection.
    #[inline]
    pub(super) fn lend(&self, link: &Rc<Link>) -> Box<Batch> {
        let unused = self.0.borrow_mut().pop();
        let mut batch = unused.unwrap_or_default();
        batch.reply.serve(Some(Rc::clone(link)));
        batch
    }

    /// Takes back one that is [done](Batch::is_done).
    #[inline]
    pub(super) fn give_back(&self, mut batch: Box<Batch>) {
        let mut unused = self.0.borrow_mut();
        batch.unclaim();
        batch.reply.serve(None);
        if unused.len() >= KEPT_WITH_BUFFERS {
            batch.input = None;
            batch.reply.release();
        }
        // One long message must not leave its memory to all that follow.
        drop(batch.input.take_if(|input| input.capacity() > READ_MAX));
        if unused.len() < KEPT_MAX {
            unused.push(batch);
        }
    }
}

/// How much room to read into behind a message of which `held` bytes have come: as much again, because a peer
/// must send what it makes us hold, but no more than a message can still need; and room for a whole read
/// while there is little.
fn room(held: usize, max_message: usize) -> usize {
    let missing = max_message.saturating_add(READ_MIN).saturating_sub(held);
    held.min(missing).max(READ_MAX.saturating_sub(held)).max(READ_MIN)
}

/// Nothing that is counted so is as long as 4 GiB: the largest block is of 16 MiB.
fn as_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Batch {
    /// How many bytes wait to be answered.
    pub(super) fn unanswered(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.len() - self.consumed)
    }

    /// Whether there may be messages left to answer, now that the replies to those before them are sent: they
    /// were more than one batch of replies holds.
    pub(super) fn has_more(&self) -> bool {
        self.consumed > 0 && !self.reply.is_closing()
    }

    /// Whether there is nothing in it that has to be kept.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.input.as_ref().is_none_or(|input| input.is_empty()) && self.reply.is_sent()
    }

    /// Reads behind what is held; pending if there is nothing after all.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        link: &Link,
        readable: Readable<'_>,
    ) -> Poll<io::Result<usize>> {
        let input = self.input.get_or_insert_with(|| link.local().pool.take(READ_MAX));
        if let Some(larger) = input.larger(room(input.len(), link.policy().max_message)) {
            self.move_to(larger, link);
        }
        self.claim(link);
        let input = self.input.as_mut().expect("it is there since the first line");
        let read = link.poll_read(cx, readable, &mut ReadBuf::new(input.room()));
        if let Poll::Ready(Ok(count)) = read {
            passed(Step::Receive);
            input.extend_filled(count);
            self.is_exhausted = false;
        }
        read
    }

    /// Says where input is received, before any is: the kernel counts it, and knows nothing of the place.
    #[inline]
    fn claim(&mut self, link: &Link) {
        let Some(checkpoints) = link.checkpoints() else { return };
        let handle = self.input.as_ref().map_or(Handle::NONE, Buffer::handle);
        if handle != self.claimed {
            self.claimed = handle;
            let begins = || link.slot().answered_to();
            checkpoints.begin_or_update(begins, |checkpoint| {
                checkpoint.input = handle;
                checkpoint.consumed = 0;
            });
            passed(Step::Claim);
        }
    }

    /// Says that nothing is received any more: there is nothing in it.
    fn unclaim(&mut self) {
        if std::mem::replace(&mut self.claimed, Handle::NONE).is_some()
            && let Some(checkpoints) = self.reply.link().checkpoints()
        {
            checkpoints.update(|checkpoint| checkpoint.input = Handle::NONE);
        }
    }

    /// Has the same input in other memory, of which nothing is answered. The old is nobody's only once that
    /// is said.
    fn move_to(&mut self, memory: Buffer, link: &Link) {
        let old = self.input.replace(memory);
        if self.claimed.is_some() {
            self.claim(link);
            passed(Step::Move);
        }
        drop(old);
    }

    /// Lets go of what is answered. What has to be sent for it is on record from here on, before a byte of it
    /// is: a process that is killed now has answered, and one that was killed before has not begun to.
    #[inline]
    pub(super) fn stage(&mut self, link: &Link, save: impl FnOnce(&mut Vec<u8>)) {
        let unsent = self.reply.unsent();
        if self.is_staged || (self.consumed == 0 && unsent == 0) {
            return;
        }
        link.slot().set_unsent(unsent);
        self.is_staged = unsent > 0;
        let answered = link.slot().answered_to() + self.consumed as u64;
        let mut old = None;
        if self.is_exhausted {
            link.slot().consumed(self.consumed);
            old = self.drop_answered();
        }
        if let Some(checkpoints) = link.checkpoints() {
            let input = self.input.as_ref().filter(|input| !input.is_empty());
            self.claimed = input.map_or(Handle::NONE, Buffer::handle);
            let session = link.local().saved(save);
            checkpoints.publish(&Checkpoint {
                answered,
                sent: link.slot().bytes_out(),
                input: self.claimed,
                consumed: as_u32(self.consumed),
                output: self.reply.handle(),
                output_len: as_u32(unsent),
                session: session.as_ref().map_or(Handle::NONE, Buffer::handle),
                session_len: session.as_ref().map_or(0, |session| as_u32(session.len())),
                state: if self.reply.is_closing() { State::Closing } else { State::Live },
            });
            passed(Step::Stage);
            link.keep_saved(session);
        }
        drop(old);
    }

    /// Goes on with what a process before this one had in hand.
    pub(super) fn resume(&mut self, left: Left) {
        self.claimed = left.input.as_ref().map_or(Handle::NONE, Buffer::handle);
        self.is_staged = left.output.is_some();
        (self.input, self.consumed) = (left.input, left.consumed);
        self.reply.resume(left.output, left.sent, left.is_closing);
    }

    /// Sends all that is gathered. A peer who takes his time holds the replies, and no memory for input.
    #[inline]
    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let delivered = self.reply.poll_deliver(cx);
        match &delivered {
            Poll::Pending => drop(self.input.take_if(|input| input.is_empty())),
            Poll::Ready(Ok(())) if std::mem::take(&mut self.is_staged) => self.release(),
            Poll::Ready(_) => {}
        }
        delivered
    }

    /// Says that all is sent, so that the memory it lay in can be another's.
    #[inline]
    fn release(&self) {
        let link = self.reply.link();
        if let Some(checkpoints) = link.checkpoints() {
            checkpoints.update(|checkpoint| {
                checkpoint.sent = link.slot().bytes_out();
                checkpoint.output = Handle::NONE;
            });
            passed(Step::Release);
        }
    }

    /// Keeps what it has to in no more memory than that needs, because it has to wait.
    pub(super) fn shrink(&mut self, link: &Link) {
        self.reply.release();
        if let Some(smaller) = self.input.as_ref().and_then(Buffer::smaller) {
            self.move_to(smaller, link);
        }
    }

    /// Where in the input the next message lies. At the end of the peer's input what is left may be one.
    #[inline]
    pub(super) fn cut(
        &mut self,
        decoder: &mut Decoder,
        link: &Link,
    ) -> Result<Option<(Range<usize>, Ending)>, FrameError> {
        let is_closed = self.reply.is_closing() || self.is_staged;
        let Some(input) = self.input.as_ref().filter(|_| !is_closed) else {
            return Ok(None);
        };
        let start = self.consumed;
        let rest = &input[start..];
        let cut = match decoder.next(rest) {
            Ok(Cut::More { .. }) if link.peer_has_ended() => {
                if link.is_torn() && !rest.is_empty() {
                    return Err(FrameError::Truncated { have: rest.len() });
                }
                decoder.finish(rest)?
            }
            cut => Some(cut?),
        };
        match cut {
            Some(Cut::Message { body, end, ending }) => {
                self.consumed += end;
                Ok(Some((start + body.start..start + body.end, ending)))
            }
            Some(Cut::More { .. }) | None => {
                self.is_exhausted = true;
                Ok(None)
            }
        }
    }

    /// The message that lies there, and the reply to it.
    #[inline]
    pub(super) fn message(&mut self, body: Range<usize>) -> (&[u8], &mut Reply) {
        (self.input.as_deref().map_or(&[], |input| &input[body]), &mut self.reply)
    }

    /// Lets go of what is answered. An unfinished message moves to a buffer of its own; the one it was in is
    /// returned.
    #[inline]
    fn drop_answered(&mut self) -> Option<Buffer> {
        let consumed = std::mem::take(&mut self.consumed);
        let input = self.input.as_mut().filter(|_| consumed > 0)?;
        if consumed < input.len() {
            let tail = input.tail(consumed);
            return Some(std::mem::replace(input, tail));
        }
        input.truncate(0);
        None
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            input: None,
            consumed: 0,
            is_exhausted: false,
            claimed: Handle::NONE,
            is_staged: false,
            reply: Reply::new(),
        }
    }
}

/// A connection that ends with something in hand: its memory can be another's before its slot is.
impl Drop for Batch {
    fn drop(&mut self) {
        if (self.claimed.is_some() || self.is_staged)
            && let Some(checkpoints) = self.reply.link().checkpoints()
        {
            checkpoints.update(|checkpoint| {
                (checkpoint.input, checkpoint.output) = (Handle::NONE, Handle::NONE);
                checkpoint.state = State::Torn;
            });
        }
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batches({} unused)", self.0.borrow().len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::frame::Framing;
    use crate::server::{Connection, Policy, drive};
    use crate::service::{Echo, framed};

    /// What lies unused in a thread's pool after its only connection was told `said`; its peer takes 16 bytes
    /// of the answers.
    async fn unused_after(said: &[u8]) -> String {
        let local = Connection::alone(Arc::new(())).unwrap();
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (slow, _unread) = tokio::io::duplex(16);
        let link = Connection::over(&local, Policy::default(), tokio::io::join(near, slow));
        far.write_all(said).await.unwrap();
        let handler = framed(Framing::Line, Echo);
        let mut driven = std::pin::pin!(drive(&handler, link.unwrap().into_link()));
        let polled = std::future::poll_fn(|cx| Poll::Ready(driven.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        format!("{:?}", local.pool)
    }

    #[tokio::test]
    async fn a_peer_who_takes_no_answer_holds_no_memory_for_input() {
        let long = [b'a'; 100];
        assert_eq!(unused_after(&[&long[..], b"\n"].concat()).await, "Pool(131072 bytes unused)");
    }

    #[tokio::test]
    async fn a_long_message_leaves_its_memory_to_nobody() {
        let local = Connection::alone(Arc::new(())).unwrap();
        let (near, _far) = tokio::io::duplex(16);
        let link = Connection::over(&local, Policy::default(), near).unwrap().into_link();
        let mut batch = local.batches.lend(&link);
        batch.input = Some(local.pool.take(READ_MAX + 1));
        local.batches.give_back(batch);
        assert!(local.batches.lend(&link).input.is_none());
    }

    #[test]
    fn room_grows_with_what_has_come_and_ends_where_no_message_can_reach() {
        const MAX: usize = 1 << 20;
        assert_eq!(room(1, MAX), READ_MAX - 1, "a whole read");
        assert_eq!(room(200_000, MAX), 200_000, "as much again");
        assert_eq!(room(MAX - 10, MAX), READ_MIN + 10, "what is missing");
        assert_eq!(room(MAX + 10, MAX), READ_MIN);
        assert_eq!(room(3, 5), READ_MAX - 3, "many short messages come at once");
        assert_eq!(room(1 << 30, usize::MAX), 1 << 30);
    }
}
