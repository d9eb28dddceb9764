//! The keeper: it holds descriptors and memory, starts a worker, decides on signals, and starts another
//! worker when one is killed. It has one thread, no runtime, and allocates nothing to speak of.

use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};

use super::blame;
use super::candidate::{self, Outcome, Upgrading};
use super::keeping::{Keeping, Prepare};
use super::kept::Kept;
use super::memory::{Control, Order, worker_after};
use super::pulse::Thread;
use super::upgrade::Request;
use super::watchdog::Watchdog;
use super::worker::Worker;
use super::{arrival, draining, listeners, parting, stub};
use crate::error::{BoxError, Error, Kind};
use crate::event::signal_name;
use crate::sys::clock::microseconds;
use crate::sys::signals::{Set, is_ignored, passed_on, report_children};
use crate::sys::{clone, limits};

/// So many workers in a row may end before they served until there is a pause before the next.
const IN_VAIN_MAX: u32 = 3;
/// The first such pause; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long the next worker has to itself before the one before is [buried](Keeper::bury).
const BURIAL: Duration = Duration::from_millis(100);

/// How a server ended that had a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Its last worker ended by itself with this code; or a signal came when no worker could obey it, and the
    /// code is the one that shells have for that.
    Code(u8),
    /// Its last worker was killed by this signal before any had served, or before it served when the server
    /// was ending.
    Killed(i32),
}

impl Ended {
    /// The exit code for it: that of the worker, or 128 and the signal that killed it, as shells number it.
    pub fn code(self) -> u8 {
        match self {
            Ended::Code(code) => code,
            Ended::Killed(signal) => by_signal(signal),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "the worker ended with code {code}"),
            Ended::Killed(signal) => write!(f, "the worker was killed by {}", signal_name(*signal)),
        }
    }
}

/// See [`Keeping::keep`].
pub(super) fn keep(keeping: Keeping<'_>, mut work: impl FnMut() -> u8 + Send) -> Result<Ended, Error> {
    if let Some(said) = arrival::check() {
        return said;
    }
    let inherited = arrival::memory()?;
    let kept = Kept::new(inherited);
    let kept = kept.map_err(|error| Error::io(Kind::Serve, "cannot keep a worker", error))?;
    let Keeping { watchdog_timeout, core_dumps, prepare, mut in_each_worker } = keeping;
    if let Some(prepare) = prepare.filter(|_| inherited.is_none()) {
        prepare_workers(kept, prepare)?;
    }
    let mut keeper = Keeper::new(kept, watchdog_timeout);
    loop {
        let number = keeper.control.begin_worker();
        let enter = || in_each_worker.as_mut().map_or(Ok(()), |enter| enter());
        let body = || {
            if !core_dumps {
                limits::dump_no_core();
            }
            Worker::become_one(kept, number);
            work()
        };
        let death = match clone::sharing_descriptors(enter, body) {
            Ok(worker) => {
                // It says so itself, too, and whoever looks may come before it does.
                kept.memory.decision().worker.store(worker.as_raw_nonzero().get(), Release);
                keeper.watch(worker, number)
            }
            Err(error) if number == 1 => {
                return Err(Error::io(Kind::Serve, "cannot start a worker", error));
            }
            // Whatever it lacks may be there later, or be what the one before still takes up.
            Err(_) => {
                keeper.bury();
                Death::Exited(1)
            }
        };
        if let Some(ended) = keeper.after(death, number) {
            draining::wait_for_all(kept, keeper.signals);
            return Ok(ended);
        }
    }
}

/// Does what is to be done before there is any worker, and leaves to the workers what listens then.
fn prepare_workers(kept: &Kept, prepare: Prepare<'_>) -> Result<(), Error> {
    const WHAT: &str = "cannot prepare for a worker";
    let cannot = |error: BoxError| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(Kind::Serve, WHAT, error.to_string()),
    };
    for server in prepare().map_err(cannot)? {
        let left = listeners::leave_to_workers(kept.memory, server.into_bound());
        left.map_err(|error| Error::io(Kind::Serve, WHAT, error))?;
    }
    Ok(())
}

/// How a worker ended.
#[derive(Clone, Copy)]
enum Death {
    Exited(u8),
    Killed(i32),
    /// The keeper ended it, because a signal came that it could not obey.
    Stopped(i32),
    /// The keeper ended it, because another program is to take over.
    Replaced,
}

struct Keeper {
    kept: &'static Kept,
    control: &'static Control,
    signals: Set,
    watchdog_timeout: Option<Duration>,
    /// How many workers in a row ended before they served.
    in_vain: u32,
    upgrading: Upgrading,
    /// The program that is to take over.
    next: Option<Request>,
    /// Workers before, which have ended or made way, and are not buried yet.
    former: Vec<Pid>,
}

impl Keeper {
    fn new(kept: &'static Kept, watchdog_timeout: Option<Duration>) -> Self {
        let unless_ignored = [libc::SIGINT, libc::SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
        let signals =
            Set::of(unless_ignored.chain([libc::SIGTERM, libc::SIGCHLD, libc::SIGUSR2, passed_on()]));
        report_children();
        signals.block();
        let upgrading = Upgrading::new(kept);
        let control = kept.memory.control();
        Self {
            kept,
            control,
            signals,
            watchdog_timeout,
            in_vain: 0,
            upgrading,
            next: None,
            former: Vec::new(),
        }
    }

    /// Passes signals on to a worker until it has ended.
    fn watch(&mut self, worker: Pid, number: u32) -> Death {
        let mut watchdog = self.watchdog_timeout.map(|patience| Watchdog::new(number, patience));
        let mut was_still = false;
        loop {
            let burial = (!self.former.is_empty()).then_some(BURIAL);
            let pauses = [watchdog.as_ref().map(Watchdog::pause), self.upgrading.patience(), burial];
            let signal = stub::next_signal(self.kept, self.signals, pauses.into_iter().flatten().min());
            if signal.is_none() {
                self.bury();
            }
            // Also after another signal: it may have hidden the one that says so.
            if let Some(death) = death_of(worker) {
                self.bury();
                self.former.push(worker);
                self.upgrading.give_up();
                self.give(signal);
                self.note_cause(death, number, watchdog.as_ref().filter(|_| was_still));
                return death;
            }
            // What it does before it serves takes as long as it takes.
            if self.control.served.load(Acquire) == number {
                self.next = self.upgrading.look(signal == Some(libc::SIGUSR2), self.is_ending());
                if self.next.is_some() {
                    self.give(signal);
                    parting::replace(self.kept, self.signals, (worker, number), &|signal| {
                        self.give(Some(signal));
                    });
                    self.former.push(worker);
                    return Death::Replaced;
                }
                if watchdog.as_mut().is_some_and(|watchdog| watchdog.barks(self.threads())) {
                    was_still = kill_process(worker, Signal::KILL).is_ok();
                }
            }
            let Some(signal) = signal.filter(|signal| self.order(*signal).is_some()) else { continue };
            let served = self.control.served.load(Acquire) > 0;
            // A reload, or another signal once the server is ending, can wait for a worker that takes
            // another's place; an end need not.
            let can_wait = signal == libc::SIGHUP || self.control.ending.load(Acquire) == 1;
            if self.control.obeys.load(Acquire) == number || (served && can_wait) {
                self.give(Some(signal));
            } else {
                // As it would have ended if there were no keeper. It can have ended by itself just now.
                let _ = kill_process(worker, Signal::KILL);
                let _ = waitpid(Some(worker), WaitOptions::empty());
                return Death::Stopped(signal);
            }
        }
    }

    /// Has the system forget the workers before that have ended. If somebody has looked up their descriptors in
    /// /proc, which monitoring does, that takes as long as going on with a thousand connections: so the next
    /// one goes first.
    fn bury(&mut self) {
        self.former.retain(|worker| matches!(waitpid(Some(*worker), WaitOptions::NOHANG), Ok(None)));
    }

    /// The threads of the worker.
    fn threads(&self) -> &'static [Thread] {
        let threads = self.kept.memory.threads();
        &threads[..threads.len().min(self.control.threads.load(Acquire) as usize)]
    }

    /// Keeps in mind what a worker died of: of the watchdog, if there is one here, or of something else.
    fn note_cause(&self, death: Death, number: u32, watchdog: Option<&Watchdog>) {
        self.control.was_still.store(u32::from(watchdog.is_some()), Relaxed);
        let threads = 0..self.threads().len();
        match (watchdog, death) {
            // The others were well.
            (Some(watchdog), _) => {
                let still = threads.filter(|thread| watchdog.is_still(*thread));
                blame::blame(self.kept.memory, number, still);
            }
            (None, Death::Killed(signal)) if blame::is_fault(signal) => {
                blame::blame(self.kept.memory, number, threads);
            }
            (None, _) => {}
        }
    }

    /// What a signal is to the worker, if anything.
    fn order(&self, signal: i32) -> Option<&'static Order> {
        match signal {
            libc::SIGINT | libc::SIGTERM => Some(&self.control.end),
            libc::SIGHUP => Some(&self.control.hang_up),
            _ => None,
        }
    }

    fn give(&self, signal: Option<i32>) {
        if let Some(order) = signal.and_then(|signal| self.order(signal)) {
            order.give();
            self.kept.ring();
        }
    }

    /// Whether it all ends with the death of a worker; if not, another may be started now.
    fn after(&mut self, death: Death, number: u32) -> Option<Ended> {
        let ended_at = microseconds();
        if let Death::Replaced = death {
            self.control.ended_at.store(ended_at, Relaxed);
            return self.upgrade();
        }
        let served = self.control.served.load(Acquire);
        let has_begun_to_end = self.control.ending.load(Acquire) == 1;
        let is_ending = self.is_ending();
        let is_last = served == 0 || is_ending;
        // One after others that was told to end before it served: there was nobody to be cut.
        let is_idle = served > 0 && served != number;
        let killed_by = match death {
            // The program before goes on.
            Death::Exited(code) if arrival::must_commit() => return Some(Ended::Code(code)),
            Death::Killed(signal) if arrival::must_commit() => return Some(Ended::Killed(signal)),
            Death::Stopped(_) if is_idle => return Some(Ended::Code(0)),
            Death::Exited(_) if is_idle && is_ending && !has_begun_to_end => return Some(Ended::Code(0)),
            Death::Stopped(signal) => return Some(Ended::Code(by_signal(signal))),
            // One that has served may have connections, with which another can go on to the end.
            Death::Killed(signal) if is_last && served != number => return Some(Ended::Killed(signal)),
            // One that fails to start in another's place may lack what is there later.
            Death::Exited(code) if is_last || served == number => return Some(Ended::Code(code)),
            Death::Killed(signal) => signal,
            Death::Exited(_) | Death::Replaced => 0,
        };
        if served == number {
            self.in_vain = 0;
            self.control.ended_at.store(ended_at, Relaxed);
        } else {
            self.in_vain += 1;
        }
        self.control.killed_by.store(killed_by, Relaxed);
        self.control.restarts.fetch_add(1, Relaxed);
        if self.pause() { Some(Ended::Code(0)) } else { None }
    }

    fn is_ending(&self) -> bool {
        self.control.ending.load(Acquire) == 1 || self.control.end.was_given()
    }

    /// Has another program take over; if it does not, a worker of this one may be started now.
    fn upgrade(&mut self) -> Option<Ended> {
        let request = self.next.take()?;
        match candidate::start(self.kept, self.signals, &request) {
            Outcome::Committed(signal) => Some(stub::retire(self.kept, self.signals, signal)),
            Outcome::Aborted(signal) => {
                let next = worker_after(self.control.worker.load(Relaxed));
                self.kept.memory.decision().after.store(next, Relaxed);
                self.give(signal);
                None
            }
        }
    }

    /// Waits if the last workers were started in vain; true if it was told to end meanwhile.
    fn pause(&self) -> bool {
        let over = Instant::now() + pause_after(self.in_vain);
        loop {
            let left = over.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match stub::next_signal(self.kept, self.signals, Some(left)) {
                Some(libc::SIGINT | libc::SIGTERM) => return true,
                signal => self.give(signal),
            }
        }
    }
}

/// How long nobody starts another worker when so many were started in vain.
fn pause_after(in_vain: u32) -> Duration {
    match in_vain.checked_sub(IN_VAIN_MAX) {
        None => Duration::ZERO,
        Some(doublings) => PAUSE_MIN.saturating_mul(1 << doublings.min(10)).min(PAUSE_MAX),
    }
}

/// How a worker ended, if it has. It has let go of all it had by then, but for its number: that goes only
/// when it is [buried](Keeper::bury).
fn death_of(worker: Pid) -> Option<Death> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(worker), options) {
        Ok(None) | Err(rustix::io::Errno::INTR) => None,
        Ok(Some(status)) => Some(match status.terminating_signal() {
            Some(signal) => Death::Killed(signal),
            None => Death::Exited(status.exit_status().and_then(|code| code.try_into().ok()).unwrap_or(1)),
        }),
        // Somebody else has waited for it.
        Err(_) => Some(Death::Exited(1)),
    }
}

/// The exit code that shells have for a signal.
fn by_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_after_three_starts_in_vain_and_double_up_to_five_seconds() {
        let pauses = [0, 1, 2, 3, 4, 5, 8, 9, u32::MAX].map(|in_vain| pause_after(in_vain).as_millis());
        assert_eq!(pauses, [0, 0, 0, 100, 200, 400, 3200, 5000, 5000]);
    }

    #[test]
    fn a_process_with_threads_is_no_keeper() {
        // Whatever thread runs the tests, there is another.
        let error = std::thread::spawn(|| keep(Keeping::new(), || 0)).join().unwrap().unwrap_err();
        let words = "cannot keep a worker: it is for a process that has no other threads yet";
        assert_eq!(error.to_string(), words);
    }
}
