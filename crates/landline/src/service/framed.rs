//! From messages to a connection: reads, cuts, has answered, sends.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::batch::Batch;
use super::{Reply, Service};
use crate::close::CloseReason;
use crate::error::Outcome;
use crate::frame::{Decoder, FrameError, Framing};
use crate::server::link::Link;
use crate::server::sampler::Began;
use crate::server::table::Phase;
use crate::server::{Connection, Handler, Peer};

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
    /// One loop with everything in it: each async function within another would keep a state of its own in
    /// every connection.
    async fn handle(&self, conn: Connection) -> Outcome {
        // Borrowed in place: a conversation that is moved out of the result is kept twice.
        let mut opened = self.open(conn);
        let talk = match &mut opened {
            Ok(talk) => talk,
            Err(batch) => {
                batch.reply.tear();
                batch.reply.deliver().await?;
                return batch.reply.failure();
            }
        };
        loop {
            if let Some(Message { text, session, reply }) = talk.next_message() {
                let began = reply.begin_answer(text);
                let answered = self.service.answer(session, text, reply).await;
                if talk.end_answer(answered, began) {
                    continue;
                }
            }
            // Whatever was answered before an error is sent before the connection ends.
            talk.stage(&self.service);
            talk.deliver().await?;
            if !talk.has_more() && (talk.is_over() || !poll_fn(|cx| talk.poll_receive(cx)).await?) {
                return talk.failure();
            }
            talk.begin_batch();
        }
    }

    fn resumes(&self) -> bool {
        true
    }

    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool {
        self.service.resume(peer, saved).is_some()
    }
}

impl<S: Service> Framed<S> {
    /// Begins a conversation; if it is refused, what is to be said first remains.
    fn open(&self, conn: Connection) -> Result<Conversation<S::Session>, Box<Batch>> {
        let link = conn.into_link();
        let left = link.take_left();
        link.peer.set_framing(self.framing);
        let decoder = Decoder::new(self.framing, link.policy().max_message);
        let mut batch = link.local().batches.lend(&link);
        let opened = match left {
            Some(mut left) => {
                let session = self.service.resume(&link.peer, left.session.as_deref().unwrap_or_default());
                link.keep_saved(left.session.take());
                batch.resume(left);
                session.ok_or_else(|| {
                    link.settle(CloseReason::WorkerDied);
                    "the service can't know what it knew of this connection".into()
                })
            }
            None => self.service.open(&link.peer, &mut batch.reply),
        };
        match opened {
            Ok(session) => {
                batch.reply.complete();
                Ok(Conversation { link, session, decoder, batch: Some(batch) })
            }
            Err(refusal) => {
                batch.reply.complete();
                batch.reply.fail(refusal);
                Err(batch)
            }
        }
    }
}

/// One message, and what it takes to answer it.
struct Message<'a, T> {
    text: &'a [u8],
    session: &'a mut T,
    reply: &'a mut Reply,
}

/// One connection's messages and replies. While it is idle this is small: it is what very many connections
/// have.
struct Conversation<T> {
    link: Rc<Link>,
    session: T,
    decoder: Decoder,
    /// What it is busy with.
    batch: Option<Box<Batch>>,
}

impl<T> Conversation<T> {
    /// Lets go of what is answered; what has to be sent for it is complete.
    fn stage(&mut self, service: &impl Service<Session = T>) {
        if let Some(batch) = &mut self.batch {
            batch.stage(&self.link, |saved| service.save(&self.session, saved));
        }
    }

    /// Sends all that is gathered.
    fn deliver(&mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(|cx| match &mut self.batch {
            Some(batch) => batch.poll_deliver(cx),
            None => Poll::Ready(Ok(())),
        })
    }

    /// The service is done with a message; whether the next one can be answered at once.
    #[inline]
    fn end_answer(&mut self, outcome: Outcome, began: Option<Began>) -> bool {
        self.batch.as_mut().is_some_and(|batch| batch.reply.end_answer(outcome, began))
    }

    /// What became of it, now that it is over.
    fn failure(&mut self) -> Outcome {
        self.batch.as_mut().map_or(Ok(()), |batch| batch.reply.failure())
    }

    fn has_more(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.has_more())
    }

    /// Replies that follow are to what is left of the input.
    fn begin_batch(&mut self) {
        if let Some(batch) = &mut self.batch {
            batch.reply.answer_batch_of(batch.unanswered());
        }
    }

    /// Whether there is nothing more to do, now that everything so far is answered and sent.
    fn is_over(&mut self) -> bool {
        let ending = match &self.batch {
            Some(batch) if batch.reply.is_failed() => return true,
            Some(batch) if batch.reply.is_closing() => Some(CloseReason::ServerClosed),
            _ => self.link.peer_has_ended().then_some(CloseReason::PeerClosed),
        };
        if let Some(reason) = ending {
            self.link.settle(reason);
            return true;
        }
        self.rest();
        self.wait();
        false
    }

    /// Is idle from now on, unless something has begun that is unfinished.
    fn wait(&self) {
        let is_within = self.batch.is_some() || self.link.is_within_record();
        self.link.enter(if is_within { Phase::Receiving } else { Phase::Idle });
    }

    /// Waits for something to answer or to say; false when it has to end. Before it has read it looks at
    /// nothing that is not needed for that: with very many connections each look is a wait for memory.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // What a read brings may be the end.
        if self.poll_read(cx)?.is_ready() {
            return Poll::Ready(Ok(true));
        }
        if let Some(outbox) = self.link.peer.outbox()
            && let Poll::Ready(bytes) = outbox.poll_take(cx)
        {
            // Being told something is no silence.
            self.link.enter(Phase::Answering);
            self.batch().reply.append_framed(&bytes);
            return Poll::Ready(Ok(true));
        }
        // What has arrived and was not yet reported as readable is still to be answered.
        if let Some(reason) = self.link.has_to_end()
            && self.batch.is_none()
            && !self.link.has_unread()
        {
            self.link.settle(reason);
            return Poll::Ready(Ok(false));
        }
        Poll::Pending
    }

    /// Lets go of what a connection has no use for while it waits.
    #[inline]
    fn rest(&mut self) {
        match self.batch.take_if(|batch| batch.is_done()) {
            Some(done) => self.link.local().batches.give_back(done),
            None => self.batch.iter_mut().for_each(|batch| batch.shrink(&self.link)),
        }
    }

    fn batch(&mut self) -> &mut Batch {
        self.batch.get_or_insert_with(|| self.link.local().batches.lend(&self.link))
    }

    /// Reads. Memory is taken when there may be something, and held only while there are bytes in it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let readable = ready!(self.link.poll_readable(cx))?;
        let batch = self.batch.get_or_insert_with(|| self.link.local().batches.lend(&self.link));
        match batch.poll_read(cx, &self.link, readable)? {
            Poll::Ready(1..) => Poll::Ready(Ok(())),
            nothing => {
                self.rest();
                if nothing.is_pending() {
                    self.wait();
                }
                nothing.map(|_| Ok(()))
            }
        }
    }

    /// The next message that is complete.
    fn next_message(&mut self) -> Option<Message<'_, T>> {
        let batch = self.batch.as_deref_mut()?;
        match batch.cut(&mut self.decoder, &self.link) {
            Ok(Some((body, ending))) => {
                let (text, reply) = batch.message(body);
                reply.set_ending(ending);
                return Some(Message { text, session: &mut self.session, reply });
            }
            Ok(None) => {}
            Err(error) => {
                self.link.settle(match error {
                    FrameError::TooLong { .. } => CloseReason::MessageTooLong,
                    FrameError::Truncated { .. } => CloseReason::MessageTruncated,
                });
                batch.reply.fail(error.into());
            }
        }
        None
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
}
