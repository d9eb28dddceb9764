//! The task behind a client: it connects, and sees to it that every ask ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc::Receiver;

use super::Options;
use super::flight::Sent;
use super::handle::{Ask, State};
use super::link::{End, Link};
use super::stream::Stream;
use crate::address::Address;
use crate::error::{Error, Kind};

pub(super) struct Driver {
    options: Options,
    address: Address,
    queue: Queue,
    state: Arc<State>,
    /// How many attempts in a row gave no connection that answered anything.
    failures: u32,
}

/// The asks that are not in flight, oldest first.
pub(super) struct Queue {
    /// Those that were there before. They are no more than may be in flight.
    again: VecDeque<Ask>,
    asks: Receiver<Ask>,
}

impl Queue {
    /// The next ask that somebody still waits for; `None` when all clients are gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Ask> {
        loop {
            let ask = match self.again.pop_front() {
                Some(ask) => ask,
                None => self.asks.recv().await?,
            };
            if ask.is_wanted() {
                return Some(ask);
            }
        }
    }

    /// The next ask, if it is there.
    pub(super) fn try_next(&mut self) -> Option<Ask> {
        loop {
            let ask = self.again.pop_front().or_else(|| self.asks.try_recv().ok())?;
            if ask.is_wanted() {
                return Some(ask);
            }
        }
    }
}

impl Driver {
    pub(super) fn new(options: Options, address: Address, asks: Receiver<Ask>, state: Arc<State>) -> Self {
        let queue = Queue { again: VecDeque::new(), asks };
        Self { options, address, queue, state, failures: 0 }
    }

    /// Works until no client is left.
    pub(super) async fn run(mut self, mut connected: Option<Stream>) {
        loop {
            let Some(stream) = (match connected.take() {
                Some(stream) => Some(stream),
                None => self.reach().await,
            }) else {
                return;
            };
            self.state.is_connected.store(true, Relaxed);
            let mut link = Link::new(stream, &self.address, &self.options);
            let end = link.converse(&mut self.queue).await;
            self.state.is_connected.store(false, Relaxed);
            self.failures = if link.has_answered() { 0 } else { self.failures.saturating_add(1) };
            self.settle(link, &end);
            if matches!(end, End::Unused) {
                return;
            }
            if self.options.reconnect.is_none() {
                return self.refuse().await;
            }
        }
    }

    /// A new connection once somebody asks for it; `None` when nobody is left who could.
    async fn reach(&mut self) -> Option<Stream> {
        loop {
            let ask = self.queue.next().await?;
            self.queue.again.push_front(ask);
            let backoff = self.options.reconnect.unwrap_or_default();
            tokio::time::sleep(backoff.delay(self.failures)).await;
            match self.options.connector.connect(&self.address).await {
                Ok(stream) => return Some(stream),
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.fail_waiting(&error);
                }
            }
        }
    }

    /// Tells everybody who waits that there is no connection, but for those who may try again.
    fn fail_waiting(&mut self, error: &Error) {
        let mut again = VecDeque::new();
        while let Some(mut ask) = self.queue.try_next() {
            ask.attempts_left -= 1;
            if ask.is_idempotent && ask.attempts_left > 0 {
                again.push_back(ask);
            } else {
                ask.end(Err(error.again().with_unsent()));
            }
        }
        self.queue.again = again;
    }

    /// Each ask that a lost connection leaves gets its error, or another chance.
    fn settle(&mut self, link: Link, end: &End) {
        let half = link.has_half_an_answer();
        let goes_on = self.options.reconnect.is_some();
        let younger = std::mem::take(&mut self.queue.again);
        for (at, (mut ask, sent)) in link.into_flight().lose().enumerate() {
            ask.attempts_left -= 1;
            let may_go_again = ask.is_idempotent || sent == Sent::Not;
            if goes_on && may_go_again && ask.attempts_left > 0 && ask.is_wanted() {
                self.queue.again.push_back(ask);
            } else {
                ask.end(Err(end.error(&self.address, sent, half && at == 0)));
            }
        }
        self.queue.again.extend(younger);
    }

    /// Tells everybody that there will be no other connection.
    async fn refuse(mut self) {
        while let Some(ask) = self.queue.next().await {
            let cannot = format!("cannot ask {}", self.address);
            let cause = "the connection was lost, and this client does not connect again";
            ask.end(Err(Error::new(Kind::Lost, cannot, cause).with_unsent()));
        }
    }
}
