//! From messages to a connection: reads, cuts, has answered, sends.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::{Reply, Service};
use crate::buffer::Buffer;
use crate::close::CloseReason;
use crate::error::{BoxError, Outcome};
use crate::frame::{Cut, Decoder, Ending, FrameError, Framing};
use crate::server::link::Link;
use crate::server::table::Phase;
use crate::server::{Connection, Handler};

/// How much one read takes at most, in bytes. A message of `raw` is no longer than this.
const READ_MAX: usize = 128 << 10;
/// How much room a read has at least, in bytes: enough for what delimits a message.
const READ_MIN: usize = 4 << 10;

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
        // Borrowed in place: a conversation that is moved out of the result is kept twice.
        let mut opened = self.open(conn);
        match &mut opened {
            Ok(conversation) => return conversation.run().await,
            Err((reply, _)) => reply.deliver().await?,
        }
        opened.map_or_else(|(_, refusal)| Err(refusal), |_| Ok(()))
    }
}

impl<S: Service> Framed<S> {
    /// Begins a conversation; a refusal comes with what is to be said first.
    fn open(&self, conn: Connection) -> Result<Conversation<'_, S>, (Reply, BoxError)> {
        let link = conn.into_link();
        link.peer.set_framing(self.framing);
        link.slot().set_framing(1 + self.framing as u8);
        let decoder = Decoder::new(self.framing, link.policy().max_message);
        let mut reply = Reply::new(Rc::clone(&link), self.framing);
        let opened = self.service.open(&link.peer, &mut reply);
        reply.complete();
        match opened {
            Ok(session) => {
                Ok(Conversation { service: &self.service, session, decoder, input: None, consumed: 0, reply })
            }
            Err(refusal) => Err((reply, refusal)),
        }
    }
}

/// What a read brought.
enum Received {
    Bytes,
    /// Something to push.
    Pushed(Vec<u8>),
    End,
    /// It has to end, and it is between two messages.
    Rest(CloseReason),
}

/// How much room to read into behind a message of which `held` bytes have come: as much again, because a peer
/// must send what it makes us hold, but no more than a message can still need; and room for a whole read
/// while there is little.
fn room(held: usize, max_message: usize) -> usize {
    let missing = max_message.saturating_add(READ_MIN).saturating_sub(held);
    held.min(missing).max(READ_MAX.saturating_sub(held)).max(READ_MIN)
}

/// One connection's messages and replies.
struct Conversation<'a, S: Service> {
    service: &'a S,
    session: S::Session,
    decoder: Decoder,
    /// What has been read and not been answered; held only while there is some. Its bytes are never changed
    /// or moved in place.
    input: Option<Buffer>,
    /// How much of `input` is answered.
    consumed: usize,
    reply: Reply,
}

impl<S: Service> Conversation<'_, S> {
    async fn run(&mut self) -> Outcome {
        loop {
            let answered = self.answer_batch().await;
            // Whatever was answered before an error is sent before the connection ends.
            self.reply.deliver().await?;
            if !answered? {
                continue;
            }
            if let Some(reason) = self.ending() {
                self.link().settle(reason);
                return Ok(());
            }
            match poll_fn(|cx| self.poll_receive(cx)).await? {
                Received::Bytes | Received::End => {}
                Received::Pushed(bytes) => {
                    // Being told something is no silence.
                    self.link().enter(Phase::Answering);
                    self.reply.append_framed(&bytes);
                }
                Received::Rest(reason) => {
                    self.link().settle(reason);
                    return Ok(());
                }
            }
        }
    }

    /// Whether there is nothing more to do, now that everything so far is answered and sent.
    fn ending(&self) -> Option<CloseReason> {
        if self.reply.is_closing() {
            return Some(CloseReason::ServerClosed);
        }
        self.link().enter(if self.input.is_some() { Phase::Receiving } else { Phase::Idle });
        self.link().peer_has_ended().then_some(CloseReason::PeerClosed)
    }

    fn link(&self) -> &Link {
        self.reply.link()
    }

    /// Waits for something to do. A buffer is held only while there are bytes in it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        let mut buffer = self.claim();
        let mut room = ReadBuf::new(buffer.room());
        match self.link().poll_read(cx, &mut room)? {
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
                if let Some(outbox) = self.link().peer.outbox()
                    && let Poll::Ready(bytes) = outbox.poll_take(cx)
                {
                    return Poll::Ready(Ok(Received::Pushed(bytes)));
                }
                // What has arrived and was not yet reported as readable is still to be answered.
                if let Some(reason) = self.link().has_to_end()
                    && !unfinished
                    && !self.link().has_unread()
                {
                    return Poll::Ready(Ok(Received::Rest(reason)));
                }
                Poll::Pending
            }
        }
    }

    /// A buffer to read into: the unfinished message, if there is one, with room behind it for at least as
    /// much again.
    fn claim(&mut self) -> Buffer {
        match self.input.take() {
            None => self.link().local().pool.take(READ_MAX),
            Some(mut held) => {
                let max_message = self.link().policy().max_message;
                held.reserve(room(held.len(), max_message));
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

    /// Answers the complete messages of the input, as many as one batch of replies takes; false if there may
    /// be more.
    async fn answer_batch(&mut self) -> Outcome<bool> {
        let batch = self.input.as_deref().map_or(0, |input| input.len() - self.consumed);
        self.reply.answer_batch_of(batch);
        while let Some((body, ending)) = self.next_message()? {
            let message = self.input.as_deref().map_or(&[][..], |input| &input[body]);
            let began = self.link().local().sampler.start();
            self.reply.answer_to(message, ending);
            let answered = self.service.answer(&mut self.session, message, &mut self.reply).await;
            self.reply.answered(answered)?;
            if let Some(began) = began {
                self.link().local().events.answered(began.elapsed());
            }
            if self.reply.is_full() {
                return Ok(false);
            }
        }
        self.drop_answered();
        Ok(true)
    }

    /// Where in the input the next message lies. At the end of the peer's input what is left may be one.
    fn next_message(&mut self) -> Result<Option<(Range<usize>, Ending)>, FrameError> {
        let Some(input) = self.input.as_ref().filter(|_| !self.reply.is_closing()) else {
            return Ok(None);
        };
        let rest = &input[self.consumed..];
        let cut = match self.decoder.next(rest) {
            Ok(Cut::More { .. }) if self.link().peer_has_ended() => self.decoder.finish(rest),
            cut => cut.map(Some),
        };
        match cut.map_err(|error| self.misframed(error))? {
            Some(Cut::Message { body, end, ending }) => {
                let start = self.consumed;
                self.consumed += end;
                Ok(Some((start + body.start..start + body.end, ending)))
            }
            Some(Cut::More { .. }) | None => Ok(None),
        }
    }

    /// Lets go of what is answered. An unfinished message moves to a buffer of its own.
    fn drop_answered(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        self.link().slot().consumed(consumed);
        let Some(input) = self.input.take_if(|_| consumed > 0) else {
            return;
        };
        if consumed < input.len() {
            self.input = Some(input.tail(consumed));
        }
    }

    fn misframed(&self, error: FrameError) -> FrameError {
        self.link().settle(match error {
            FrameError::TooLong { .. } => CloseReason::MessageTooLong,
            FrameError::Truncated { .. } => CloseReason::MessageTruncated,
        });
        error
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::event::{Event, Subscriber};
    use crate::server::{Policy, drive};

    /// Keeps how long answers took, if it wants to know.
    #[derive(Default)]
    struct Times(bool, Mutex<Vec<Duration>>);

    impl Subscriber for Times {
        fn event(&self, _: &Event) {}

        fn wants_answer_times(&self) -> bool {
            self.0
        }

        fn answered(&self, took: Duration) {
            self.1.lock().unwrap().push(took);
        }
    }

    /// How long the answers took that were timed, of a service that takes three seconds for each.
    async fn times(wanted: bool, messages: &[u8]) -> Vec<Duration> {
        let slow = crate::service(async |message: &[u8], _: &mut Reply| {
            tokio::time::sleep(Duration::from_secs(3)).await;
            if message == b"fail" { Err("as asked".into()) } else { Ok(()) }
        });
        let events = Arc::new(Times(wanted, Mutex::default()));
        let (near, mut far) = tokio::io::duplex(1024);
        let local = Connection::alone(events.clone()).unwrap();
        let link = Connection::over(&local, Policy::default(), near).unwrap().into_link();
        far.write_all(messages).await.unwrap();
        drop(far);
        drive(&framed(Framing::Line, slow), link).await;
        events.1.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_timed_from_its_message_to_its_end_if_somebody_wants_to_know() {
        assert_eq!(times(true, b"first\nsecond\n").await, [Duration::from_secs(3)]);
        assert!(times(true, b"fail\n").await.is_empty(), "it never was an answer");
        assert!(times(false, b"first\nsecond\n").await.is_empty());
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
