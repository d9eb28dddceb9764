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
use crate::frame::{Cut, Decoder, Ending, FrameError};
use crate::server::link::Link;
use crate::server::stream::Readable;

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
    pub(super) reply: Reply,
}

/// A thread's unused batches.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they are lent in their boxes, and never moved")]
pub(crate) struct Batches(RefCell<Vec<Box<Batch>>>);

impl Batches {
    /// A batch for a connection.
    #[expect(clippy::unnecessary_box_returns, reason = "the memory is what is lent")]
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
        let room = room(input.len(), link.policy().max_message);
        if input.capacity() - input.len() < room {
            input.reserve(room);
        }
        let read = link.poll_read(cx, readable, &mut ReadBuf::new(input.room()));
        if let Poll::Ready(Ok(count)) = read {
            input.extend_filled(count);
        }
        read
    }

    /// Sends all that is gathered. A peer who takes his time holds the replies, and no memory for input.
    #[inline]
    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let delivered = self.reply.poll_deliver(cx);
        if delivered.is_pending() {
            drop(self.input.take_if(|input| input.is_empty()));
        }
        delivered
    }

    /// Keeps what it has to in no more memory than that needs, because it has to wait.
    pub(super) fn shrink(&mut self) {
        self.reply.release();
        if let Some(input) = &mut self.input {
            input.shrink();
        }
    }

    /// Where in the input the next message lies. At the end of the peer's input what is left may be one.
    #[inline]
    pub(super) fn cut(
        &mut self,
        decoder: &mut Decoder,
        link: &Link,
    ) -> Result<Option<(Range<usize>, Ending)>, FrameError> {
        let Some(input) = self.input.as_ref().filter(|_| !self.reply.is_closing()) else {
            return Ok(None);
        };
        let start = self.consumed;
        let rest = &input[start..];
        let cut = match decoder.next(rest) {
            Ok(Cut::More { .. }) if link.peer_has_ended() => decoder.finish(rest)?,
            cut => Some(cut?),
        };
        match cut {
            Some(Cut::Message { body, end, ending }) => {
                self.consumed += end;
                Ok(Some((start + body.start..start + body.end, ending)))
            }
            Some(Cut::More { .. }) | None => Ok(None),
        }
    }

    /// The message that lies there, and the reply to it.
    #[inline]
    pub(super) fn message(&mut self, body: Range<usize>) -> (&[u8], &mut Reply) {
        (self.input.as_deref().map_or(&[], |input| &input[body]), &mut self.reply)
    }

    /// Lets go of what is answered, and says how much that was. An unfinished message moves to a buffer of
    /// its own.
    #[inline]
    pub(super) fn drop_answered(&mut self) -> usize {
        let consumed = std::mem::take(&mut self.consumed);
        if let Some(input) = self.input.as_mut().filter(|_| consumed > 0) {
            if consumed < input.len() {
                *input = input.tail(consumed);
            } else {
                input.truncate(0);
            }
        }
        consumed
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { input: None, consumed: 0, reply: Reply::new() }
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
