//! What is left of the first program after an upgrade: whoever started it watches its process. It has
//! closed everything, passes signals on to whichever keeper there is, and ends as that ends.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
    test_kill_process, wait,
};

use super::keeper::Ended;
use super::kept::Kept;
use super::memory::Control;
use super::upgrade::{Decision, own_id};
use super::{candidate, draining, sweep};
use crate::sys::clone;
use crate::sys::signals::{Set, Told, pass_on};

/// Lets the program that has committed go on, to which `heard` is passed on if it came meanwhile; this one
/// only stands in for it, or ends if another does.
pub(super) fn retire(kept: &'static Kept, signals: Set, heard: Option<i32>) -> Ended {
    let decision = kept.memory.decision();
    let stub = Stub { kept, decision, control: kept.memory.control() };
    stub.pass_on(heard);
    if decision.main.load(Relaxed) != own_id() {
        // Who has sent one did not know yet.
        while let Some(told) = signals.wait_and_ask(Some(Duration::ZERO)) {
            stub.pass_on(obeys(kept, &told).then_some(told.signal));
        }
        clone::leave(0);
    }
    sweep::close_all(kept);
    // Where there is none, the next keeper is nobody's child, and its end is not seen.
    let _ = set_child_subreaper(Some(getpid()));
    loop {
        // Before the first signal, too: whoever has ended by now may have been told of.
        while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
            if stub.is_over(child, status) {
                draining::wait_for_all(kept, signals);
                return ended(status);
            }
        }
        stub.pass_on(signals.wait(None));
    }
}

struct Stub {
    kept: &'static Kept,
    decision: &'static Decision,
    control: &'static Control,
}

impl Stub {
    /// The keeper, while there is one.
    fn keeper(&self) -> Option<Pid> {
        self.decision.keeper().filter(|keeper| test_kill_process(*keeper).is_ok())
    }

    /// Whether all is over, now that a process has ended: it was the keeper, and ended in order, or nobody is
    /// left who could make himself keeper. A worker whose keeper was killed does, and a program that was
    /// to take over.
    fn is_over(&self, child: Pid, status: WaitStatus) -> bool {
        let is_keeper = self.decision.keeper() == Some(child);
        if is_keeper && status.terminating_signal().is_none() {
            return true;
        }
        self.keeper().is_none() && !self.is_anybody_left()
    }

    fn is_anybody_left(&self) -> bool {
        let mut others = candidate::children().unwrap_or_default().into_iter();
        others.any(|id| !draining::is_one(self.kept.memory, id) && !self.kept.children.contains(&id))
    }

    fn pass_on(&self, signal: Option<i32>) {
        let order = match signal {
            Some(libc::SIGINT | libc::SIGTERM) => &self.control.end,
            Some(libc::SIGHUP) => &self.control.hang_up,
            Some(libc::SIGUSR2) => {
                // Anybody may send that.
                let _ = self.decision.keeper().map(|keeper| kill_process(keeper, Signal::USR2));
                return;
            }
            _ => return,
        };
        match (self.keeper(), signal) {
            (Some(keeper), Some(signal)) => pass_on(keeper, signal),
            // Whoever makes himself keeper has a worker that looks for it.
            _ => order.give(),
        }
    }
}

fn ended(status: WaitStatus) -> Ended {
    match status.terminating_signal() {
        Some(signal) => Ended::Killed(signal),
        None => Ended::Code(status.exit_status().and_then(|code| code.try_into().ok()).unwrap_or(1)),
    }
}

/// Waits for a signal that is for this keeper; none after `patience`, and none for one that is not.
pub(super) fn next_signal(kept: &Kept, signals: Set, patience: Option<Duration>) -> Option<i32> {
    let told = signals.wait_and_ask(patience);
    told.filter(|told| obeys(kept, told)).map(|told| told.signal)
}

/// Whether a signal is for this keeper. Ctrl-C in a terminal, and whoever stops all processes of a service,
/// reach the first program and every one after it: it is decided once, by what the first one passes on.
fn obeys(kept: &Kept, told: &Told) -> bool {
    let main = kept.memory.decision().main.load(Relaxed);
    if told.is_passed_on {
        return told.sender == main || Some(told.sender) == kept.parent;
    }
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
    // Without the first program there is nobody who passes anything on.
    let is_alone = parent != Some(main) && kept.parent != parent;
    main == own_id() || is_alone || matches!(told.signal, libc::SIGCHLD | libc::SIGUSR2)
}
