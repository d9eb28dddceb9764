//! Who was being served when a worker died of a fault, and who was so twice: that one is poison.
//!
//! Of several threads nobody knows which one the fault was in, so all whom they served are blamed. Those who
//! had nothing to do with it are hardly served at that very moment a second time, and whoever gets an answer
//! in between begins anew. A worker that was killed from outside blames nobody.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::memory::Memory;
use super::worker::Worker;
use crate::server::table::Phase;

/// Whoever was served when so many workers died, without an answer in between, is served no more.
const BLAMES_MAX: u32 = 2;
/// How many connections are kept in mind. Where there are more, those are forgotten that were blamed longest
/// ago.
pub(crate) const SUSPECTS_MAX: usize = 256;

/// A connection that was served when a worker died. It is written by the keeper, when there is no worker.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Suspect {
    /// The connection's number, which no other ever has; 0 if there is none here.
    id: AtomicU64,
    /// Up to where its input was answered then.
    answered: AtomicU64,
    blames: AtomicU32,
    /// Of which death it was last, from 1.
    death: AtomicU32,
}

impl Suspect {
    fn is_poison(&self) -> bool {
        self.blames.load(Relaxed) >= BLAMES_MAX
    }

    fn blame(&self, id: u64, answered: u64, death: u32) {
        let again = self.id.load(Relaxed) == id && answered <= self.answered.load(Relaxed);
        let blames = if again { self.blames.load(Relaxed).saturating_add(1) } else { 1 };
        self.id.store(id, Relaxed);
        self.answered.store(answered, Relaxed);
        self.blames.store(blames, Relaxed);
        self.death.store(death, Release);
    }
}

/// Whether a worker that dies of this signal dies of what it was doing. (SIGTRAP: so some processors say that
/// a program gave up.)
pub(super) fn is_fault(signal: i32) -> bool {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];
    faults.contains(&signal)
}

/// Blames the connections that these threads of a worker that died were serving.
pub(super) fn blame(memory: &Memory, worker: u32, threads: impl Iterator<Item = usize>) {
    let death = memory.control().restarts.load(Relaxed).wrapping_add(1);
    let served = threads.filter_map(|thread| memory.threads().get(thread)?.serves_of(worker));
    for descriptor in served {
        let (head, _) = memory.table(1);
        let Some(slot) = memory.table(head[0].used()).1.get(descriptor) else { continue };
        if slot.phase() == Phase::Free {
            continue;
        }
        suspect(memory.suspects(), slot.id(), slot.answered_to(), death);
    }
}

/// Blames a connection for a death, in the place that it has or gets.
fn suspect(suspects: &[Suspect], id: u64, answered: u64, death: u32) {
    let known = suspects.iter().find(|suspect| suspect.id.load(Relaxed) == id);
    let oldest = || suspects.iter().min_by_key(|suspect| suspect.death.load(Relaxed));
    if let Some(suspect) = known.or_else(oldest) {
        suspect.blame(id, answered, death);
    }
}

/// The connections that are not to be served any more.
pub(crate) fn poison() -> Vec<u64> {
    suspects(Suspect::is_poison)
}

/// The connections that were being served when the worker before this one died of a fault.
pub(super) fn blamed() -> Vec<u64> {
    let deaths = Worker::this().map_or(0, |worker| worker.restarts());
    suspects(|suspect| suspect.death.load(Acquire) == deaths)
}

fn suspects(wanted: impl Fn(&Suspect) -> bool) -> Vec<u64> {
    Worker::this().map_or_else(Vec::new, |worker| ids(worker.kept.memory, wanted))
}

pub(super) fn ids(memory: &Memory, wanted: impl Fn(&Suspect) -> bool) -> Vec<u64> {
    // There are none unless somebody was blamed, and then they are few.
    let known = memory.suspects().iter().filter(|suspect| suspect.id.load(Relaxed) > 0);
    known.filter(|suspect| wanted(suspect)).map(|suspect| suspect.id.load(Relaxed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is poison after these were blamed: connections, up to where they were answered, for which death.
    fn poison(blames: impl IntoIterator<Item = (u64, u64, u32)>) -> Vec<u64> {
        let memory = Memory::new().unwrap();
        for (id, answered, death) in blames {
            suspect(memory.suspects(), id, answered, death);
        }
        ids(&memory, Suspect::is_poison)
    }

    #[test]
    fn whoever_is_blamed_twice_without_an_answer_in_between_is_poison() {
        assert_eq!(poison([(1, 0, 1), (2, 7, 1)]), [0; 0]);
        assert_eq!(poison([(1, 0, 1), (2, 7, 1), (2, 7, 2)]), [2]);
        assert_eq!(poison([(1, 5, 1), (1, 6, 2)]), [0; 0], "it was answered in between");
        assert_eq!(poison([(1, 5, 1), (1, 6, 2), (1, 6, 5)]), [1]);
        // Where it is taken up again can lie before where it was.
        assert_eq!(poison([(1, 5, 1), (1, 3, 2)]), [1]);
    }

    #[test]
    fn where_there_is_no_room_those_are_forgotten_who_were_blamed_longest_ago() {
        let first = (1..=SUSPECTS_MAX as u64).map(|id| (id, 0, if id == 7 { 1 } else { 2 }));
        // 1000 takes the place of 7, which begins anew.
        assert_eq!(poison(first.clone().chain([(1000, 0, 3), (7, 0, 4), (9, 0, 5)])), [9]);
        assert_eq!(poison(first.chain([(1000, 0, 3), (1000, 0, 4)])), [1000]);
    }

    #[test]
    fn what_comes_from_outside_is_no_fault() {
        let kinds = [libc::SIGSEGV, libc::SIGABRT, libc::SIGKILL, libc::SIGTERM].map(is_fault);
        assert_eq!(kinds, [true, true, false, false]);
    }
}
