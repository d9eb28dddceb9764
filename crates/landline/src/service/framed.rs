//! From messages to a connection: reads, cuts, has answered, sends.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::{Reply, Service};
use crate::buffer::Buffer;
use crate::close::CloseReason;
use crate::error::Outcome;
use crate::event::Direction;
use crate::frame::{Cut, Decoder, FrameError, Framing};
use crate::server::link::Link;
use crate::server::table::Phase;
use crate::server::{Connection, Handler};

/// How much one read takes at most, in bytes. A message of `raw` is no longer than this.
const READ_MAX: usize = 128 << 10;

/// Makes a handler of a service: the one way from messages to connections.
pub fn framed<S: Service>(framing: Framing, service: S) -> Framed<S> {
    Framed { framing, service }
}

/// A service with the framing of its messages; what [`framed`] returns.
#[derive(Debug, Clone)]
pub struct Framed<S> {
    framing: Framing,
    service: S,
}

impl<S: Service> Handler for Framed<S> {
    async fn handle(&self, conn: Connection) -> Outcome {
        let link = Rc::clone(conn.link());
        link.framing.set(self.framing);
        link.slot().set_framing(1 + self.framing as u8);
        let mut reply = Reply::new(Rc::clone(&link), self.framing);
        let opened = self.service.open(&link.peer, &mut reply);
        reply.complete();
        reply.deliver().await?;
        let mut conversation = Conversation {
            service: &self.service,
            session: opened?,
            decoder: Decoder::new(self.framing, link.local().config.max_message),
            input: None,
            consumed: 0,
            reply,
            link: &link,
        };
        conversation.run().await
    }
}

/// What a read brought.
enum Received {
    Bytes,
    /// Something to push.
    Pushed(Vec<u8>),
    End,
    /// The server drains, and this connection is between two messages.
    Drain,
}

/// One connection's messages and replies.
struct Conversation<'a, S: Service> {
    service: &'a S,
    session: S::Session,
    decoder: Decoder,
    /// What has been read and not been answered; held only while there is some. Its bytes are never changed or moved in place.
    input: Option<Buffer>,
    /// How much of `input` is answered.
    consumed: usize,
    reply: Reply,
    link: &'a Link,
}

impl<S: Service> Conversation<'_, S> {
    async fn run(&mut self) -> Outcome {
        while !self.reply.is_closing() {
            self.link.enter(if self.input.is_some() { Phase::Receiving } else { Phase::Idle });
            match poll_fn(|cx| self.poll_receive(cx)).await? {
                Received::Bytes => self.answer_all().await?,
                Received::Pushed(bytes) => {
                    self.reply.append_framed(&bytes);
                    self.reply.deliver().await?;
                }
                Received::End => return self.finish().await,
                Received::Drain => {
                    self.link.settle(CloseReason::Drained);
                    return Ok(());
                }
            }
        }
        self.link.settle(CloseReason::ServerClosed);
        Ok(())
    }

    /// Waits for something to do. A buffer is held only while there are bytes in it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        let mut buffer = self.claim();
        let mut room = ReadBuf::new(buffer.room());
        match self.link.poll_read(cx, &mut room)? {
            Poll::Ready(0) => {
                self.hold(buffer);
                Poll::Ready(Ok(Received::End))
            }
            Poll::Ready(count) => {
                buffer.extend_filled(count);
                self.input = Some(buffer);
                Poll::Ready(Ok(Received::Bytes))
            }
            Poll::Pending => {
                let unfinished = !buffer.is_empty();
                self.hold(buffer);
                if let Some(outbox) = self.link.outbox.get()
                    && let Poll::Ready(bytes) = outbox.poll_take(cx)
                {
                    return Poll::Ready(Ok(Received::Pushed(bytes)));
                }
                if self.link.local().is_draining() && !unfinished {
                    return Poll::Ready(Ok(Received::Drain));
                }
                Poll::Pending
            }
        }
    }

    /// A buffer to read into: the unfinished message, if there is one, with room behind it for at least as much again.
    fn claim(&mut self) -> Buffer {
        let pool = &self.link.local().pool;
        match self.input.take() {
            None => pool.take(READ_MAX),
            Some(mut held) => {
                // Grown by what has come, not by what was announced: a peer must send what it makes us hold.
                held.reserve(READ_MAX.max(2 * held.len()) - held.len());
                held
            }
        }
    }

    /// Keeps what is left of the input while there is nothing more to read, in no more memory than it needs.
    fn hold(&mut self, mut buffer: Buffer) {
        if !buffer.is_empty() {
            buffer.shrink();
            self.input = Some(buffer);
        }
    }

    /// Answers all complete messages of the input and sends the replies; what is left is the beginning of a message.
    async fn answer_all(&mut self) -> Outcome {
        let answered = self.answer_each().await;
        if answered.is_err() {
            self.reply.abandon();
        }
        // Whatever was answered before an error is sent before the connection ends.
        self.reply.deliver().await?;
        answered?;
        self.drop_answered();
        Ok(())
    }

    async fn answer_each(&mut self) -> Outcome {
        while let Some(input) = &self.input
            && !self.reply.is_closing()
        {
            let cut = self.decoder.next(&input[self.consumed..]).map_err(|error| self.misframed(error))?;
            if !self.answer_cut(cut).await? {
                break;
            }
        }
        Ok(())
    }

    /// Answers one message; false if there was none.
    async fn answer_cut(&mut self, cut: Cut) -> Outcome<bool> {
        let (Cut::Message { body, end, ending }, Some(input)) = (cut, &self.input) else {
            return Ok(false);
        };
        self.link.enter(Phase::Answering);
        let message = &input[self.consumed..][body];
        if self.link.local().shows_messages {
            self.link.local().events.message(self.link.peer.id(), Direction::In, message);
        }
        self.reply.answer_to(ending);
        self.service.answer(&mut self.session, message, &mut self.reply).await?;
        self.reply.complete();
        if let Some(error) = self.reply.take_failure() {
            return Err(error.into());
        }
        self.consumed += end;
        self.link.slot().answered(end);
        if self.reply.unsent() >= self.link.local().config.max_unsent {
            self.reply.deliver().await?;
        }
        Ok(true)
    }

    /// Lets go of what is answered. An unfinished message moves to a buffer of its own.
    fn drop_answered(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        let Some(input) = self.input.take_if(|_| consumed > 0) else {
            return;
        };
        if consumed < input.len() {
            self.input = Some(input.tail(consumed));
        }
    }

    /// The peer has ended its side: what is left may still be a message.
    async fn finish(&mut self) -> Outcome {
        if let Some(input) = &self.input
            && let Some(cut) = self.decoder.finish(input).map_err(|error| self.misframed(error))?
        {
            self.answer_cut(cut).await?;
            self.reply.deliver().await?;
        }
        self.link.settle(CloseReason::PeerClosed);
        Ok(())
    }

    fn misframed(&self, error: FrameError) -> FrameError {
        self.link.settle(match error {
            FrameError::TooLong { .. } => CloseReason::MessageTooLong,
            FrameError::Truncated { .. } => CloseReason::MessageTruncated,
        });
        error
    }
}
