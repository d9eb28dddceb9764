//! What a worker knows of its keeper, and the orders that it takes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, getppid, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::kept::Kept;
use super::memory::{Control, HEIR};
use super::upgrade::{Decision, own_id};
use super::{arrival, found, listeners, sweep};
#[cfg(feature = "metrics")]
use crate::event::metrics::Counts;
use crate::event::{Event, Subscriber};
use crate::server::Ask;
use crate::server::table::{Lasting, Table};
use crate::sys::arena::Arena;
use crate::sys::clock::microseconds;
use crate::sys::clone;
use crate::sys::region::Region;
use crate::sys::signals::Set;
use crate::sys::socket;

/// The number of this worker in this process's own memory; 0 in the keeper, and in what has none.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// This process, if it is a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Worker {
    pub(super) kept: &'static Kept,
    pub(super) number: u32,
}

impl Worker {
    pub(super) fn this() -> Option<Self> {
        let number = NUMBER.load(Relaxed);
        Kept::this().filter(|_| number > 0).map(|kept| Self { kept, number })
    }

    /// Becomes one: all that the worker before has left is closed or known by now.
    pub(super) fn become_one(kept: &'static Kept, number: u32) -> Self {
        NUMBER.store(number, Relaxed);
        kept.memory.decision().worker.store(own_id(), Release);
        // These are no orders, and programs that a worker starts have a use for them.
        Set::of([libc::SIGCHLD, libc::SIGUSR2]).unblock();
        listeners::clear_half_written(kept.memory);
        if number > 1 {
            let (connections, accepted) = sweep::clear_up(kept);
            found::keep(connections, accepted);
        }
        Self { kept, number }
    }

    fn control(&self) -> &'static Control {
        self.kept.memory.control()
    }

    pub(super) fn has_served(&self) -> bool {
        self.control().served.load(Acquire) == self.number
    }

    /// Says that it is this worker that serves; false if it may not, because its keeper was killed and
    /// another worker has become keeper in its place.
    fn claim(&self) -> bool {
        let is_free = |served| (served != HEIR).then_some(self.number);
        let decision = self.kept.memory.decision();
        self.control().served.fetch_update(AcqRel, Acquire, is_free).is_ok()
            && decision.is_keeper(self.kept.keeper)
    }

    /// Says that this worker, which served last, becomes keeper; false if another one serves.
    pub(super) fn claim_to_be_heir(&self) -> bool {
        self.control().served.compare_exchange(self.number, HEIR, AcqRel, Acquire).is_ok()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.control().ending.load(Acquire) == 1
    }

    /// Whether any served before this one.
    pub(super) fn is_another(&self) -> bool {
        let served = self.control().served.load(Acquire);
        served > 0 && (served != self.number || self.restarts() > 0)
    }

    pub(super) fn restarts(&self) -> u32 {
        self.control().restarts.load(Relaxed)
    }
}

/// What the keeper orders. It is there only for a worker.
pub(crate) fn orders() -> io::Result<Option<Orders>> {
    let Some(worker) = Worker::this() else { return Ok(None) };
    // Had it ended before, its number could be another's by now, or nobody's.
    let keeper = match getppid() {
        Some(parent) if parent == worker.kept.keeper => match pidfd_open(parent, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Some(socket::register_connection(pidfd)?),
            Err(Errno::SRCH) => None,
            Err(error) => return Err(error.into()),
        },
        _ => None,
    };
    let bell = socket::register_connection(worker.kept.bell.try_clone()?)?;
    worker.control().obeys.store(worker.number, Release);
    let decision = worker.kept.memory.decision();
    Ok(Some(Orders { control: worker.control(), number: worker.number, decision, bell, keeper }))
}

/// This process is no worker any more.
pub(super) fn resign() {
    NUMBER.store(0, Relaxed);
}

/// The orders of the keeper, as they come.
pub(crate) struct Orders {
    control: &'static Control,
    /// Whose they are.
    number: u32,
    decision: &'static Decision,
    /// Rung whenever there is another order.
    bell: AsyncFd<OwnedFd>,
    /// Readable once the keeper is gone; none if it was before anybody looked.
    keeper: Option<AsyncFd<OwnedFd>>,
}

impl Orders {
    /// Waits for the next order, or for the keeper's end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ask {
        loop {
            if self.control.end.take() {
                return Ask::End;
            }
            if self.control.hang_up.take() {
                return Ask::HangUp;
            }
            if self.control.make_way.compare_exchange(self.number, 0, AcqRel, Relaxed).is_ok() {
                return Ask::MakeWay;
            }
            if self.decision.failed.take() {
                return Ask::TellOfUpgrade;
            }
            let Some(keeper) = &self.keeper else { return Ask::KeeperIsGone };
            tokio::select! {
                // It need not be read: each ring is news.
                rung = self.bell.readable() => match rung {
                    Ok(mut rung) => rung.clear_ready(),
                    Err(_) => return Ask::KeeperIsGone,
                },
                _ = keeper.readable() => return Ask::KeeperIsGone,
            }
        }
    }

    /// Completes once the keeper is gone. Cancel-safe.
    pub(crate) async fn keeper_is_gone(&self) {
        if let Some(keeper) = &self.keeper {
            let _ = keeper.readable().await;
        }
    }
}

/// Has signals do to this thread what they would without a keeper.
pub(crate) fn obey_signals_oneself() {
    Set::of([libc::SIGINT, libc::SIGTERM, libc::SIGHUP]).unblock();
}

/// Where what is counted outlives this worker; for whoever asks first.
#[cfg(feature = "metrics")]
pub(crate) fn counts() -> Option<Region<Counts>> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    let worker = Worker::this().filter(|_| !IS_TAKEN.swap(true, Relaxed))?;
    Some(Region::shared(worker.kept.memory.counts()))
}

/// The table that outlives this worker, for descriptors below `capacity`.
pub(crate) fn table(capacity: usize) -> Option<Arc<Table>> {
    // Two servers that hand out the same memory would write into each other's: the first to run has it.
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    let worker = Worker::this().filter(|_| !IS_TAKEN.swap(true, Relaxed))?;
    let memory = &worker.kept.memory;
    let (head, slots) = memory.table(capacity);
    let lasting = Lasting {
        checkpoints: Region::shared(memory.checkpoints(capacity)),
        arena: Arena::over(memory.arena(), memory.blocks_in_use()),
    };
    Some(Table::within(head, slots, lasting))
}

/// Says that this worker serves: if it is killed from now on, another takes its place. What it has not taken
/// over by now, nobody will.
pub(crate) fn serving() {
    if let Some(worker) = Worker::this() {
        arrival::commit(worker);
        if !worker.claim() {
            clone::leave(1);
        }
        listeners::close_unclaimed(worker);
        arrival::open();
    }
}

/// Says why it is this worker that serves: another was killed before it, or it came by an upgrade.
pub(crate) fn tell(events: &dyn Subscriber) {
    let Some(worker) = Worker::this() else { return };
    let control = worker.control();
    let gap = microseconds().saturating_sub(control.ended_at.load(Relaxed));
    let gap = Duration::from_micros(gap);
    let decision = worker.kept.memory.decision();
    if decision.after.load(Relaxed) == worker.number {
        if arrival::is_by_upgrade() {
            events.event(&Event::Upgraded { gap, upgrades: decision.done() });
        }
        return;
    }
    if worker.restarts() == 0 {
        return;
    }
    let signal = Some(control.killed_by.load(Relaxed)).filter(|signal| *signal > 0);
    let watchdog = control.was_still.load(Relaxed) == 1;
    let blamed = super::blame::blamed().into();
    events.event(&Event::WorkerRestarted { signal, watchdog, blamed, gap, restarts: worker.restarts() });
}

/// Says that an upgrade failed, and why.
pub(crate) fn tell_of_upgrade(events: &dyn Subscriber) {
    if let Some(worker) = Worker::this() {
        events.event(&Event::UpgradeFailed { cause: worker.kept.memory.decision().cause().into() });
    }
}

/// Says that the server is to end. A worker that takes the place of this one goes on with that.
pub(crate) fn ending() {
    if let Some(worker) = Worker::this().filter(|worker| !worker.is_ending()) {
        worker.control().ending_since.store(microseconds(), Relaxed);
        worker.control().ending.store(1, Release);
    }
}

/// For how long the server has been ending, if it is.
pub(crate) fn ending_for() -> Option<Duration> {
    let worker = Worker::this().filter(Worker::is_ending)?;
    let since = worker.control().ending_since.load(Relaxed);
    Some(Duration::from_micros(microseconds().saturating_sub(since)))
}
