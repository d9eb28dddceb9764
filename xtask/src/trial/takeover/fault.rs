//! What is done to the process that serves.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::upgrade;
use crate::Outcome;
use crate::trial::program::{PATIENCE, Served, pause};

/// One way in which the process that serves comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// By a signal. The kernel's own way out of a shortage of memory is SIGKILL, too.
    Signal(Signal),
    /// By an upgrade.
    Upgrade,
    /// By an upgrade during which one of the processes is killed that have a part in it.
    KillInUpgrade,
}

pub(super) const KILL: Fault = Fault::Signal(Signal::KILL);
pub(super) const SEGV: Fault = Fault::Signal(Signal::SEGV);
pub(super) const ABORT: Fault = Fault::Signal(Signal::ABORT);
pub(super) const BUS: Fault = Fault::Signal(Signal::BUS);

/// How often somebody looks whether another process has taken its place.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// After so long a signal is sent again: the handler of Rust's runtime, which looks for overflows of a stack,
/// lets the first SIGSEGV and SIGBUS pass that come from outside.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Signal(Signal::KILL) => "SIGKILL",
            Self::Signal(Signal::SEGV) => "SIGSEGV",
            Self::Signal(Signal::ABORT) => "SIGABRT",
            Self::Signal(Signal::BUS) => "SIGBUS",
            Self::Signal(Signal::STOP) => "SIGSTOP",
            Self::Signal(_) => "a signal",
            Self::Upgrade => "upgrades",
            Self::KillInUpgrade => "SIGKILL during upgrades",
        }
    }

    /// Does it, and waits until another process is in its place. It says what was done.
    pub(super) fn strike(self, served: &Served) -> Outcome<&'static str> {
        match self {
            Self::Signal(signal) => send(signal, served.program.pid()).map(|()| self.name()),
            Self::Upgrade => upgrade::succeeds(served),
            Self::KillInUpgrade => upgrade::is_killed(served),
        }
    }
}

/// Sends the process that serves a signal, and waits until another is in its place.
pub(super) fn send(signal: Signal, keeper: Pid) -> Outcome {
    let worker = worker(keeper)?.ok_or("the keeper has no worker")?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // It may have ended since.
        let _ = kill_process(worker, signal);
        let sent = Instant::now();
        while sent.elapsed() < AGAIN_AFTER {
            if worker_in_place_of(worker, keeper)? {
                return Ok(());
            }
            pause(LOOK_EVERY);
        }
    }
    Err(format!("{} was sent, and no other process took over", Fault::Signal(signal).name()))
}

/// Waits until another process is in the place of the one that serves, after this is done to it.
pub(super) fn wait_for_another(keeper: Pid, strike: impl FnOnce() -> Outcome) -> Outcome {
    let (before, begun) = (worker(keeper)?, Instant::now());
    strike()?;
    while begun.elapsed() < PATIENCE {
        let now = worker(keeper)?;
        if now.is_some() && now != before {
            return Ok(());
        }
        pause(LOOK_EVERY);
    }
    Err("no other process took over".to_owned())
}

/// Kills the process that serves, or is about to; whether there was one.
pub(super) fn kill(keeper: Pid) -> Outcome<bool> {
    Ok(worker(keeper)?.is_some_and(|worker| kill_process(worker, Signal::KILL).is_ok()))
}

fn worker_in_place_of(old: Pid, keeper: Pid) -> Outcome<bool> {
    Ok(worker(keeper)?.is_some_and(|new| new != old))
}

/// The newest child of a keeper, which has one thread: one that has ended may still be on the list.
fn worker(keeper: Pid) -> Outcome<Option<Pid>> {
    let path = format!("/proc/{keeper}/task/{keeper}/children");
    let children = fs::read_to_string(path).map_err(|error| format!("the server is gone: {error}"))?;
    Ok(children.split_whitespace().last().and_then(|id| Pid::from_raw(id.parse().ok()?)))
}

/// The processes of a server that has a keeper: the first, the keeper if that is another after an upgrade,
/// and the worker.
pub(super) fn processes(first: Pid) -> Outcome<Vec<Pid>> {
    let mut all = vec![first];
    let mut next = worker(first)?;
    while let Some(process) = next {
        all.push(process);
        next = worker(process)?;
    }
    Ok(all)
}
