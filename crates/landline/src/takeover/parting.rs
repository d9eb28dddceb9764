//! A worker makes way for another program, and keeps what nobody else can go on with.
//!
//! If all of its connections can be carried on, it is killed: that is what it is made for. If not, keeper and
//! worker part. The worker first stops serving the others; the keeper then stops having its descriptors in
//! common with it, so that each closes its own; and the worker makes its connections' memory its own, so that
//! nobody else finds in it what stays, or changes what it needs. Up to there the worker can be killed like
//! any other. It keeps what it has handed on, without touching it, until another serves: if the keeper is
//! killed before that, it is still there to be the heir.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio_util::sync::CancellationToken;

use super::draining::Place;
use super::kept::Kept;
use super::worker::{self, Worker};
use super::{heir, stub};
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
    let stays = asked.has_done(&control.makes_way, number)
        && control.stay.load(Relaxed) > 0
        && clone::stop_sharing_descriptors().is_ok();
    if stays {
        control.may_part.store(number, Release);
    }
    let has_parted = stays && asked.has_done(&control.has_parted, number);
    if !has_parted && !asked.is_dead {
        let _ = kill_process(worker, Signal::KILL);
        let _ = waitpid(Some(worker), WaitOptions::empty());
    }
}

/// Says that this worker serves nobody whom another could serve, and how many it keeps.
pub(crate) fn makes_way(stay: usize) {
    if let Some(worker) = Worker::this() {
        let control = worker.kept.memory.control();
        control.stay.store(u32::try_from(stay).unwrap_or(u32::MAX), Relaxed);
        control.makes_way.store(worker.number, Release);
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
    let in_common = memory.mapped_again()?;
    memory.make_own(|| arena.in_hands())?;
    parted().cancel();
    for number in stay {
        in_common.table(number + 1).1[*number].clear();
    }
    let place = Place::take(memory);
    place.say(stay.len());
    memory.control().has_parted.store(worker.number, Release);
    Ok(place)
}

/// Waits until another worker serves. If the keeper is gone before, this one becomes the heir of all but
/// what stays: then it does not return, or with false if it can't. Cancel-safe.
pub(crate) async fn is_replaced(stay: &[usize], keeper_is_gone: impl Future<Output = ()>) -> bool {
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
    // The keeper of a program that has taken over ends when that has committed, just before it serves.
    if worker.kept.memory.decision().has_committed()
        && tokio::time::timeout(PATIENCE, another_serves()).await.is_ok()
    {
        return true;
    }
    for number in stay {
        worker.kept.memory.table(number + 1).1[*number].keep_to_oneself();
    }
    heir::become_keeper();
    false
}

/// This process is no worker any more: nothing that is on record is its own.
pub(crate) fn leave() {
    worker::resign();
}

/// Told when this process keeps only what nobody else can go on with.
pub(crate) fn parted() -> &'static CancellationToken {
    static PARTED: OnceLock<CancellationToken> = OnceLock::new();
    PARTED.get_or_init(CancellationToken::new)
}
