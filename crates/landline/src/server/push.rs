//! Messages that nobody asked for: pushed to a connection from anywhere.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::frame::{Ending, Framing};

/// What waits to be pushed to one connection, framed already.
#[derive(Debug)]
pub(crate) struct Outbox {
    framing: Framing,
    max_unsent: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    closed: bool,
    driver: Option<Waker>,
}

/// A handle to push messages to one connection: cheap to clone, and good on any thread.
#[derive(Clone)]
pub struct Sender(Arc<Outbox>);

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The peer has not yet taken what was pushed before: drop the message, try later, or close.
    Full,
    /// The connection has ended.
    Closed,
}

impl Outbox {
    pub(crate) fn new(framing: Framing, max_unsent: usize) -> Arc<Self> {
        Arc::new(Self { framing, max_unsent, queue: Mutex::default() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is to be pushed, and takes all of it.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Vec<u8>> {
        let mut queue = self.queue();
        if queue.bytes.is_empty() {
            if !queue.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                queue.driver = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut queue.bytes))
    }

    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.bytes = Vec::new();
    }
}

impl Queue {
    fn add(&mut self, framing: Framing, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.resize(start + framing.prefix_len(), 0);
        self.bytes.extend_from_slice(message);
        // A queue is far smaller than what a length can't express.
        if let Ok(suffix) = framing.seal(&mut self.bytes[start..], Ending::Lf) {
            self.bytes.extend_from_slice(suffix);
        }
    }
}

impl Sender {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self(outbox)
    }

    /// Queues one message, framed as the connection's replies are (a line ends with LF). It never waits.
    ///
    /// # Errors
    /// [`PushError::Full`] when `max_unsent` bytes would be queued, [`PushError::Closed`] when the connection
    /// has ended; the message is not queued then, not even in part.
    pub fn send(&self, message: &[u8]) -> Result<(), PushError> {
        /// More than any framing adds to a message.
        const FRAME: usize = 4;
        let mut queue = self.0.queue();
        if queue.closed {
            return Err(PushError::Closed);
        }
        if queue.bytes.len() + message.len() + FRAME > self.0.max_unsent {
            return Err(PushError::Full);
        }
        queue.add(self.0.framing, message);
        let driver = queue.driver.take();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.queue().closed
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({} bytes queued)", self.0.queue().bytes.len())
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushError::Full => "the peer has not taken what was pushed before",
            PushError::Closed => "the connection has ended",
        })
    }
}

impl std::error::Error for PushError {}
