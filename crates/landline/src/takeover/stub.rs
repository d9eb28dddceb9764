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
use super::upgrade::{Decision, own_id, process};
use super::{draining, sweep};
use crate::sys::clone;
use crate::sys::signals::{Set, Told, pass_on};

/// Lets the program that has committed go on, to which `heard` is passed on if it came meanwhile; this one
/// only stands in for it, or ends if another does.
pub(super) fn retire(kept: &'static Kept, signals: Set, heard: Option<i32>) -> Ended {
    let decision = kept.memory.decision();
    let mut stub = Stub { decision, control: kept.memory.control(), orphan: None };
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
        let signal = signals.wait(None);
        while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
            if stub.is_over(child, status) {
                draining::wait_for_all(kept, signals);
                return ended(status);
            }
        }
        stub.pass_on(signal);
    }
}

struct Stub {
    decision: &'static Decision,
    control: &'static Control,
    /// A process that goes on without its keeper, which was killed; and that.
    orphan: Option<(Pid, Pid)>,
}

impl Stub {
    /// The worker that has no keeper, if there is one still.
    fn orphan(&self) -> Option<Pid> {
        let (worker, keeper) = self.orphan?;
        (self.decision.keeper() == Some(keeper)).then_some(worker)
    }

    /// Whether a process was the last that served, or would have started another.
    fn is_over(&mut self, child: Pid, status: WaitStatus) -> bool {
        if let Some(worker) = self.orphan() {
            return worker == child;
        }
        if self.decision.keeper() != Some(child) {
            return false;
        }
        // A worker whose keeper was killed makes itself keeper, and a program that was to take over does.
        let worker = process(&self.decision.worker);
        let heirs = [self.decision.candidate(), worker].into_iter().flatten();
        let mut heirs = heirs.filter(|heir| *heir != child && test_kill_process(*heir).is_ok());
        let heir = heirs.next().filter(|_| status.terminating_signal().is_some());
        self.orphan = heir.map(|heir| (heir, child));
        // It may have taken over by now.
        heir.is_none() && self.decision.keeper() == Some(child)
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
        match (self.orphan(), self.decision.keeper(), signal) {
            (None, Some(keeper), Some(signal)) => pass_on(keeper, signal),
            // Whoever it makes its worker looks for it.
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
