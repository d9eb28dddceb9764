//! What each serving thread tells its keeper: that its event loop turns, and whom it serves.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    compiler_fence,
};

use super::memory::Memory;
use super::worker::Worker;

/// How many threads are watched: those beyond are taken for well, and serve nobody who could be blamed.
pub(crate) const THREADS_MAX: usize = 1024;

/// One thread, as its keeper sees it. No two share a cache line.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Thread {
    /// Which worker's it is, for as long as its event loop is to turn.
    worker: AtomicU32,
    beats: AtomicU32,
    /// The number of the descriptor whose handler is being polled, and one; 0 if none is.
    serves: AtomicU32,
}

impl Thread {
    /// How often it has beaten; none if it is not one of this worker's, or has ended in order.
    pub(super) fn beats_of(&self, worker: u32) -> Option<u32> {
        (self.worker.load(Acquire) == worker).then(|| self.beats.load(Relaxed))
    }

    /// The descriptor of the connection that is being served, if it is one of this worker's threads.
    pub(super) fn serves_of(&self, worker: u32) -> Option<usize> {
        self.beats_of(worker)?;
        (self.serves.load(Acquire) as usize).checked_sub(1)
    }
}

/// A thread's hold on its place before the keeper's eyes.
#[derive(Debug)]
pub(crate) struct Pulse {
    thread: &'static Thread,
    worker: u32,
}

/// The pulse of a thread of the server that this worker runs; none in what is no worker.
pub(crate) fn pulse(thread: usize) -> Option<Pulse> {
    let worker = Worker::this()?;
    Pulse::of(worker.kept.memory, thread, worker.number)
}

impl Pulse {
    pub(super) fn of(memory: &'static Memory, thread: usize, worker: u32) -> Option<Self> {
        let place = memory.threads().get(thread)?;
        let count = u32::try_from(thread).unwrap_or(u32::MAX).saturating_add(1);
        memory.control().threads.fetch_max(count, AcqRel);
        Some(Self { thread: place, worker })
    }

    /// The event loop is about to turn: from here on it has to beat, until what this returns is dropped.
    pub(crate) fn begin(&self) -> Beating {
        self.rest();
        self.thread.worker.store(self.worker, Release);
        Beating(self.thread)
    }

    /// The event loop has turned.
    pub(crate) fn beat(&self) {
        self.thread.beats.store(self.thread.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The handler of this connection is polled next. A plain store, and nothing else: whoever looks does so
    /// when this process is dead.
    #[inline]
    pub(crate) fn serve(&self, descriptor: usize) {
        self.thread.serves.store(u32::try_from(descriptor).map_or(0, |number| number + 1), Relaxed);
        // What the handler does comes after it, in whatever order the compiler would have it.
        compiler_fence(SeqCst);
    }

    /// No handler is polled.
    #[inline]
    pub(crate) fn rest(&self) {
        compiler_fence(SeqCst);
        self.thread.serves.store(0, Relaxed);
    }
}

/// That an event loop is to turn. Dropped when it ends in order, and so is none the less when its thread
/// panics.
#[derive(Debug)]
#[must_use = "the keeper looks for beats only while this is there"]
pub(crate) struct Beating(&'static Thread);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.worker.store(0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_seen_while_its_event_loop_is_to_turn_and_only_as_one_of_its_worker() {
        let memory = Box::leak(Box::new(Memory::new().unwrap()));
        let pulse = Pulse::of(memory, 2, 7).unwrap();
        let seen = || [7, 8].map(|worker| memory.threads()[2].beats_of(worker));
        assert_eq!((seen(), memory.control().threads.load(Relaxed)), ([None, None], 3));
        let beating = pulse.begin();
        pulse.beat();
        assert_eq!(seen(), [Some(1), None]);
        drop(beating);
        assert_eq!(seen(), [None, None]);
        assert!(Pulse::of(memory, THREADS_MAX, 7).is_none());
    }

    #[test]
    fn whom_it_serves_is_said_for_as_long_as_it_does() {
        let memory = Box::leak(Box::new(Memory::new().unwrap()));
        let pulse = Pulse::of(memory, 0, 7).unwrap();
        let serves = || memory.threads()[0].serves_of(7);
        // What a worker before this one left there is not this one's.
        pulse.serve(5);
        let _beating = pulse.begin();
        assert_eq!(serves(), None);
        pulse.serve(0);
        assert_eq!(serves(), Some(0));
        pulse.rest();
        assert_eq!(serves(), None);
    }
}
