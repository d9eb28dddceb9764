//! A worker makes way for another program, and keeps what nobody else can go on with.
//!
//! First it stops serving those with whom another can go on. Then its keeper has descriptors of its own, so
//! that each of the two closes what it has without the other's losing it; and if there are connections that
//! stay, the worker makes the memory of connections its own, so that nobody else finds in it what stays, or
//! changes what that needs. Up to there it can be killed like any other. What it has handed on it keeps open,
//! untouched, until another worker serves: if the keeper is killed before that, it is still there to be the
//! heir.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio_util::sync::CancellationToken;

use super::draining::Place;
use super::kept::Kept;
use super::worker::{self, Worker};
use super::{candidate, heir, stub};
use crate::sys::arena::Arena;
use crate::sys::clone;
use crate::sys::signals::Set;

/// How long a worker has for each of its steps; each takes milliseconds, or an event loop stands still.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often one of them looks whether the other has done its step.
const LOOK: Duration = Duration::from_micros(200);

/// A worker that is to make way, as its keeper sees it.
struct Asked<'a> {
    kept: &'a Kept,
    signals: Set,
    worker: Pid,
    /// What becomes of a signal that comes meanwhile.
    give: &'a dyn Fn(i32),
    is_dead: bool,
}

impl Asked<'_> {
    /// Waits until the worker has done a step; false if it does not.
    fn has_done(&mut self, step: &AtomicU32, number: u32) -> bool {
        let until = Instant::now() + PATIENCE;
        while step.load(Acquire) != number && !self.is_dead && Instant::now() < until {
            match stub::next_signal(self.kept, self.signals, Some(LOOK)) {
                Some(libc::SIGCHLD) => {
                    self.is_dead = !matches!(waitpid(Some(self.worker), WaitOptions::NOHANG), Ok(None));
                }
                Some(signal) => (self.give)(signal),
                None => {}
            }
        }
        step.load(Acquire) == number && !self.is_dead
    }
}

/// Has a worker make way: when this returns, nobody serves what another process can go on with. `give` is
/// told of signals that come meanwhile.
pub(super) fn replace(kept: &Kept, signals: Set, (worker, number): (Pid, u32), give: &dyn Fn(i32)) {
    let control = kept.memory.control();
    let mut asked = Asked { kept, signals, worker, give, is_dead: false };
    control.make_way.store(number, Release);
    kept.ring();
    let makes_way = asked.has_done(&control.makes_way, number) && clone::stop_sharing_descriptors().is_ok();
    if makes_way {
        control.may_part.store(number, Release);
    }
    let has_parted = makes_way && asked.has_done(&control.has_parted, number);
    if !has_parted && !asked.is_dead {
        let _ = kill_process(worker, Signal::KILL);
        let _ = waitpid(Some(worker), WaitOptions::empty());
    }
}

/// Says that this worker serves nobody whom another could serve.
pub(crate) fn makes_way() {
    if let Some(worker) = Worker::this() {
        worker.kept.memory.control().makes_way.store(worker.number, Release);
    }
}

/// Waits until the keeper has descriptors of its own. It never completes in a worker that is to be killed.
/// Cancel-safe.
pub(crate) async fn may_part() {
    let may = |worker: Worker| worker.kept.memory.control().may_part.load(Acquire) == worker.number;
    while !Worker::this().is_some_and(may) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Keeps the connections that have these descriptors to this process: another finds nothing of them.
///
/// # Errors
/// When memory can't be had; then this process is to be killed.
pub(crate) fn part(stay: &[usize], arena: &Arena) -> io::Result<Place> {
    let worker = Worker::this().ok_or(io::ErrorKind::Unsupported)?;
    let memory = worker.kept.memory;
    if !stay.is_empty() {
        let in_common = memory.mapped_again()?;
        memory.make_own(|| arena.in_hands())?;
        for number in stay {
            in_common.table(number + 1).1[*number].clear();
        }
    }
    parted().cancel();
    let place = if stay.is_empty() { Place::none() } else { Place::take(memory) };
    place.say(stay.len());
    memory.control().has_parted.store(worker.number, Release);
    Ok(place)
}

/// Waits until another worker serves. If the keeper is gone before, this one may be its heir: then it is
/// false. Not cancel-safe.
pub(crate) async fn is_replaced(keeper_is_gone: impl Future<Output = ()>) -> bool {
    let Some(worker) = Worker::this() else { return true };
    let control = worker.kept.memory.control();
    let another_serves = async || {
        while control.served.load(Acquire) == worker.number {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = another_serves() => return true,
        () = keeper_is_gone => {}
    }
    // Either another serves, or will at once because it has committed and its keeper before has ended then,
    // or it can't any more.
    if !(worker.kept.memory.decision().fail() && worker.claim_to_be_heir()) {
        another_serves().await;
        return true;
    }
    // It has copies of all that is on record, and may have begun to go on with it.
    if let Some(candidate) = worker.kept.memory.decision().candidate() {
        candidate::end_orphan(candidate);
    }
    false
}

/// Becomes keeper, and has another worker go on with all but what stays; it returns if that can't be.
pub(crate) fn inherit(stay: &[usize]) {
    if let Some(worker) = Worker::this() {
        for number in stay {
            worker.kept.memory.table(number + 1).1[*number].keep_to_oneself();
        }
    }
    heir::become_keeper();
}

/// This process is no worker any more: nothing that is on record is its own. It does not return if there is
/// nobody left to serve.
pub(crate) fn leave(place: &Place, stay: usize) {
    worker::resign();
    place.leave();
    if stay == 0 {
        clone::leave(0);
    }
}

/// Told when this process keeps only what nobody else can go on with.
pub(crate) fn parted() -> &'static CancellationToken {
    static PARTED: OnceLock<CancellationToken> = OnceLock::new();
    PARTED.get_or_init(CancellationToken::new)
}
