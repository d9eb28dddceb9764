//! When a worker that is there is as good as dead: one of its event loops does not turn.
//!
//! It counts how often it has looked in vain, and reads no clock but to know when to look: whoever stops or
//! puts to sleep the keeper, or both, ends no worker that is well.

use std::time::{Duration, Instant};

use super::pulse::Thread;

/// How long an event loop may stand still: what a caller bears, and no service that yields ever takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The shortest time that can be told from a machine that is merely busy: event loops beat every 400 ms.
pub(super) const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// The longest time between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How many times at least one looks before a worker is killed.
const LOOKS_MIN: u32 = 5;

/// Looks at one worker.
#[derive(Debug)]
pub(super) struct Watchdog {
    worker: u32,
    pause: Duration,
    /// So many looks in a row without a beat are too many.
    looks_max: u32,
    next: Instant,
    seen: Vec<Seen>,
}

/// What was seen of a thread.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    beats: Option<u32>,
    /// For how many looks there have been no more of them.
    looks: u32,
}

impl Watchdog {
    /// For a worker whose event loops may stand still for this long.
    pub(super) fn new(worker: u32, patience: Duration) -> Self {
        let patience = patience.max(PATIENCE_MIN);
        let pause = (patience / LOOKS_MIN).min(PAUSE_MAX);
        let looks_max = u32::try_from(patience.as_nanos().div_ceil(pause.as_nanos())).unwrap_or(u32::MAX);
        Self { worker, pause, looks_max, next: Instant::now() + pause, seen: Vec::new() }
    }

    /// How long until the next look.
    pub(super) fn pause(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Looks, if it is time to; whether a thread stands still.
    pub(super) fn barks(&mut self, threads: &[Thread]) -> bool {
        if !self.pause().is_zero() {
            return false;
        }
        self.next = Instant::now() + self.pause;
        self.look(threads);
        (0..threads.len()).any(|thread| self.is_still(thread))
    }

    /// Whether this thread stands still, by the last look.
    pub(super) fn is_still(&self, thread: usize) -> bool {
        self.seen.get(thread).is_some_and(|seen| seen.looks >= self.looks_max)
    }

    fn look(&mut self, threads: &[Thread]) {
        self.seen.resize(threads.len(), Seen::default());
        for (seen, thread) in self.seen.iter_mut().zip(threads) {
            let beats = thread.beats_of(self.worker);
            let is_new = beats.is_none() || beats != seen.beats;
            *seen = Seen { beats, looks: if is_new { 0 } else { seen.looks + 1 } };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takeover::memory::Memory;
    use crate::takeover::pulse::Pulse;

    /// How many looks it takes until a thread stands still.
    fn looks(dog: &mut Watchdog, threads: &[Thread]) -> usize {
        (1..1000)
            .find(|_| {
                dog.look(threads);
                dog.is_still(0)
            })
            .unwrap_or(1000)
    }

    #[test]
    fn a_thread_that_beats_is_well_and_one_that_does_not_has_as_many_looks_as_it_has_seconds() {
        let memory = Box::leak(Box::new(Memory::new().unwrap()));
        let threads = &memory.threads()[..1];
        let pulse = Pulse::of(memory, 0, 1).unwrap();
        let beating = pulse.begin();
        for (milliseconds, expected) in [(0, 5), (1000, 5), (1001, 5), (5000, 5), (7500, 8), (60_000, 60)] {
            let mut dog = Watchdog::new(1, Duration::from_millis(milliseconds));
            // The first look finds what there is to compare with.
            assert_eq!(looks(&mut dog, threads), expected + 1, "{milliseconds} ms");
            pulse.beat();
            assert_eq!(looks(&mut dog, threads), expected + 1, "{milliseconds} ms, after a beat");
        }
        let mut dog = Watchdog::new(1, PATIENCE);
        drop(beating);
        assert_eq!(looks(&mut dog, threads), 1000, "it has ended in order");
        let _beating = Pulse::of(memory, 0, 2).unwrap().begin();
        assert_eq!(looks(&mut dog, threads), 1000, "it is another worker's");
    }

    #[test]
    fn a_keeper_that_looks_late_has_looked_once() {
        let memory = Box::leak(Box::new(Memory::new().unwrap()));
        let _beating = Pulse::of(memory, 0, 1).unwrap().begin();
        let mut dog = Watchdog::new(1, PATIENCE);
        // As if it had been stopped for an hour.
        dog.next = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap_or_else(Instant::now);
        assert!(!dog.barks(&memory.threads()[..1]));
        assert!(!dog.pause().is_zero());
        assert_eq!((dog.seen[0].beats, dog.seen[0].looks), (Some(0), 0));
    }
}
