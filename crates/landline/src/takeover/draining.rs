//! Workers that another has replaced, and that stay until the last of those connections has ended which
//! nobody else can go on with.

use std::sync::atomic::{
    AtomicI32, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::time::Duration;

use rustix::process::{Signal, WaitOptions, kill_process, test_kill_process, waitpid};

use super::kept::Kept;
use super::memory::Memory;
use super::stub;
use super::upgrade::{own_id, process};
use crate::sys::signals::Set;

/// How many can be told of at a time. What is beyond drains all the same.
pub(crate) const DRAINING_MAX: usize = 16;
/// How often whoever waits for their end looks.
const LOOK: Duration = Duration::from_millis(20);

/// One of them, as the others see it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Draining {
    /// Its process; 0 if there is none.
    process: AtomicI32,
    /// How many connections it still has.
    open: AtomicU32,
    /// 1 once another serves, so that it will never be more than what it is.
    is_replaced: AtomicU32,
}

/// A process that another has replaced and that drains what nobody else can go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainingProcess {
    /// Its number.
    pub process_id: u32,
    /// How many connections it had a moment ago.
    pub open: usize,
}

/// A draining worker's own place among them, if there is room. It is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<&'static Draining>);

impl Place {
    /// For a worker that has nothing to tell.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn take(memory: &'static Memory) -> Self {
        let take = |place: &&Draining| {
            let id = place.process.load(Acquire);
            // Whoever had it may have been killed.
            let is_free = id == 0 || !is_alive(&place.process);
            is_free && place.process.compare_exchange(id, own_id(), AcqRel, Acquire).is_ok()
        };
        let place = memory.draining().iter().find(take);
        if let Some(place) = place {
            place.is_replaced.store(0, Release);
        }
        Self(place)
    }

    /// Says that another serves.
    pub(super) fn leave(&self) {
        if let Some(place) = self.0 {
            place.is_replaced.store(1, Release);
        }
    }

    /// Says how many connections are left.
    pub(crate) fn say(&self, open: usize) {
        if let Some(place) = self.0 {
            place.open.store(u32::try_from(open).unwrap_or(u32::MAX), Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.is_replaced.store(0, Release);
            place.process.store(0, Release);
        }
    }
}

fn is_alive(id: &AtomicI32) -> bool {
    process(id).is_some_and(|process| test_kill_process(process).is_ok())
}

/// Those that there are.
pub(super) fn all(memory: &Memory) -> Vec<DrainingProcess> {
    let there = memory.draining().iter().filter(|place| is_alive(&place.process));
    let about = there.map(|place| DrainingProcess {
        process_id: place.process.load(Relaxed).unsigned_abs(),
        open: place.open.load(Relaxed) as usize,
    });
    about.collect()
}

/// Waits for the end of those that are children of this process. Another signal that would end the server
/// ends them now.
pub(super) fn wait_for_all(kept: &Kept, signals: Set) {
    let places = kept.memory.draining().iter();
    for child in
        places.filter_map(|place| process(&place.process)).filter(|id| id.as_raw_nonzero().get() != own_id())
    {
        while let Ok(None) = waitpid(Some(child), WaitOptions::NOHANG) {
            if let Some(libc::SIGINT | libc::SIGTERM) = stub::next_signal(kept, signals, Some(LOOK)) {
                let _ = kill_process(child, Signal::KILL);
            }
        }
    }
}

/// Whether a process only drains.
pub(super) fn is_one(memory: &Memory, id: i32) -> bool {
    let is_it = |place: &Draining| place.process.load(Acquire) == id && place.is_replaced.load(Acquire) == 1;
    memory.draining().iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_of_until_it_gives_up_its_place_or_is_gone() {
        let memory: &'static Memory = Box::leak(Box::new(Memory::new().unwrap()));
        let place = Place::take(memory);
        place.say(3);
        let us = DrainingProcess { process_id: std::process::id(), open: 3 };
        assert_eq!(all(memory), [us]);
        drop(place);
        assert_eq!(all(memory), []);
        // No process has this number, and none may stand for many.
        for id in [i32::MAX, -1, 1] {
            memory.draining()[0].process.store(id, Relaxed);
            assert_eq!(all(memory), []);
            memory.draining()[0].is_replaced.store(1, Relaxed);
            let place = Place::take(memory);
            assert_eq!(memory.draining()[0].process.load(Relaxed), own_id(), "its place was free");
            assert!(!is_one(memory, own_id()), "it may have to be more yet");
            place.leave();
            assert!(is_one(memory, own_id()));
        }
    }
}
