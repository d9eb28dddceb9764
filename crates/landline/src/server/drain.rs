//! What a drain did: who ended in time, and who had to be cut.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::table::Table;
use crate::close::CloseReason;
use crate::event::{Direction, Event, PeerAddr, SocketStep, Subscriber};

/// What a drain did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether anybody was cut"]
pub struct DrainReport {
    /// How many connections ended by themselves after the drain began.
    pub finished: usize,
    /// Those that had to be cut.
    pub cut: Vec<CutConnection>,
    /// How long it took.
    pub took: Duration,
    /// Whether another process serves: only those connections ended here with which it could not go on. What
    /// is done when a server ends is not to be done then.
    pub replaced: bool,
}

/// A connection that was cut by a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutConnection {
    /// Its number.
    pub id: u64,
    /// Who had called.
    pub peer: PeerAddr,
    /// Whether at the deadline or at once.
    pub reason: CloseReason,
}

/// Passes every event on, and notes what a drain will have to report.
pub(crate) struct Watch {
    subscriber: Box<dyn Subscriber>,
    draining: AtomicBool,
    finished: AtomicUsize,
    cut: Mutex<Vec<CutConnection>>,
}

impl Watch {
    pub(crate) fn new(subscriber: Box<dyn Subscriber>) -> Arc<Self> {
        Arc::new(Self {
            subscriber,
            draining: AtomicBool::new(false),
            finished: AtomicUsize::new(0),
            cut: Mutex::default(),
        })
    }

    pub(crate) fn begin(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The report, with those who were told to end and did not: a handler that computes without a pause can't
    /// be stopped.
    pub(crate) fn report(&self, table: &Table, took: Duration) -> DrainReport {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stuck = table.live().map(|slot| CutConnection {
            id: slot.id(),
            peer: slot.peer(),
            reason: CloseReason::Cut,
        });
        cut.extend(stuck);
        DrainReport { finished: self.finished.load(Relaxed), cut, took, replaced: false }
    }
}

impl Subscriber for Watch {
    fn event(&self, event: &Event) {
        if let Event::Closed { id, peer, reason, .. } = *event
            && self.draining.load(Relaxed)
        {
            if matches!(reason, CloseReason::Cut | CloseReason::DrainDeadline) {
                let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
                cut.push(CutConnection { id, peer, reason });
            } else {
                self.finished.fetch_add(1, Relaxed);
            }
        }
        self.subscriber.event(event);
    }

    fn wants_messages(&self) -> bool {
        self.subscriber.wants_messages()
    }

    fn message(&self, id: u64, direction: Direction, bytes: &[u8]) {
        self.subscriber.message(id, direction, bytes);
    }

    fn wants_answer_times(&self) -> bool {
        self.subscriber.wants_answer_times()
    }

    fn answered(&self, took: Duration) {
        self.subscriber.answered(took);
    }

    fn wants_steps(&self) -> bool {
        self.subscriber.wants_steps()
    }

    fn step(&self, step: &SocketStep) {
        self.subscriber.step(step);
    }
}
