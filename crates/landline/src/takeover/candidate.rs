//! The keeper's part of an upgrade. Another program is asked whether it can take over, while all serves on;
//! then the worker is killed, and the other program started with everything that is on record. Once that has
//! committed, this one is done. If not, whatever was started is killed and waited for, and a worker of this
//! program starts from the same table as after any crash.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, waitpid,
};

use super::arrival::MEMORY;
use super::check::Checking;
use super::kept::Kept;
use super::upgrade::{Decision, Request, own_id, path};
use super::{stub, sweep};
use crate::event::signal_name;
use crate::sys::exec::{self, ACTIVATION};
use crate::sys::signals::Set;

/// How often the keeper looks whether the other program has committed.
const LOOK: Duration = Duration::from_millis(1);

/// How long processes that are ended have for it; they take milliseconds.
const ENDING: Duration = Duration::from_millis(900);

/// How long somebody who asked waits at most if the signal that says so was lost with a keeper.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Upgrades, as long as a worker serves.
pub(super) struct Upgrading {
    kept: &'static Kept,
    checking: Option<Checking>,
}

/// How an upgrade ended that the other program had said yes to.
pub(super) enum Outcome {
    /// It serves; and a signal came meanwhile.
    Committed(Option<i32>),
    /// This one has to serve on; and a signal came meanwhile.
    Aborted(Option<i32>),
}

impl Upgrading {
    pub(super) fn new(kept: &'static Kept) -> Self {
        Self { kept, checking: None }
    }

    fn decision(&self) -> &'static Decision {
        self.kept.memory.decision()
    }

    /// When to look again, if not for a signal.
    pub(super) fn patience(&self) -> Option<Duration> {
        let waits = || self.decision().is_asked().then_some(LOOK_AGAIN);
        self.checking.as_ref().map(Checking::left).or_else(waits)
    }

    /// Begins if somebody asks, and looks how far the other program is with its check. What it returns is to
    /// be started now.
    pub(super) fn look(&mut self, by_signal: bool, is_ending: bool) -> Option<Request> {
        if self.checking.is_none() {
            let request = self.decision().begin(by_signal)?;
            match Checking::start(request) {
                Ok(checking) => self.checking = Some(checking),
                Err((request, cause)) => self.refuse(&request, &cause),
            }
        }
        let verdict = self.checking.as_mut()?.verdict()?;
        let request = self.checking.take()?.into_request();
        match verdict {
            Ok(()) if is_ending => self.refuse(&request, "the server ends"),
            Ok(()) => return Some(request),
            Err(cause) => self.refuse(&request, &cause),
        }
        None
    }

    /// The worker is gone: what was begun comes to nothing.
    pub(super) fn give_up(&mut self) {
        if let Some(checking) = self.checking.take() {
            self.refuse(&checking.into_request(), "the process that served ended meanwhile");
        }
    }

    fn refuse(&self, request: &Request, cause: &str) {
        self.decision().abort(request.number, &with_path(request, cause));
        self.kept.ring();
    }
}

fn with_path(request: &Request, cause: &str) -> String {
    format!("{}: {cause}", path(&request.binary).display())
}

/// Starts the other program, now that no worker is there, and waits until it serves or can't.
pub(super) fn start(kept: &'static Kept, signals: Set, request: &Request) -> Outcome {
    let decision = kept.memory.decision();
    let mut heard = None;
    let cause = match Candidate::start(kept, request) {
        Ok(candidate) => {
            let cause = loop {
                if decision.is_done(request.number) {
                    return Outcome::Committed(heard);
                }
                if let Some(status) = candidate.ended() {
                    break how(status);
                }
                if candidate.until <= Instant::now() {
                    break format!("it did not serve within {:?}", request.patience);
                }
                match stub::next_signal(kept, signals, Some(LOOK)) {
                    Some(libc::SIGCHLD | libc::SIGUSR2) | None => {}
                    Some(libc::SIGHUP) => heard = Some(libc::SIGHUP),
                    signal => {
                        heard = signal;
                        break "a signal came to end the server".to_owned();
                    }
                }
            };
            if !decision.abort(request.number, &with_path(request, &cause)) {
                return Outcome::Committed(heard);
            }
            candidate.end();
            None
        }
        Err(error) => Some(crate::error::describe(&error)),
    };
    if let Some(cause) = cause {
        decision.abort(request.number, &with_path(request, &cause));
    }
    let _ = set_child_subreaper(None);
    sweep::hand_on_none(kept);
    Outcome::Aborted(heard)
}

/// How a program ended that was to serve.
fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("it was killed by {} before it served", signal_name(signal)),
        (None, code) => format!("it ended with code {} before it served", code.unwrap_or(1)),
    }
}

/// Another program that is to take over, and all that it starts.
struct Candidate {
    id: Pid,
    until: Instant,
    /// Children that this process had before.
    others: BTreeSet<i32>,
}

impl Candidate {
    fn start(kept: &'static Kept, request: &Request) -> io::Result<Self> {
        // Whatever it starts comes to this process if it dies.
        set_child_subreaper(Some(getpid()))?;
        let others = children()?;
        sweep::hand_on_all(kept);
        let (decision, number) = (kept.memory.decision(), request.number);
        decision.starting(number);
        let mut command = Command::new(path(&request.binary));
        command.args(std::env::args_os().skip(1)).env(MEMORY, kept.memory.number().to_string());
        for name in ACTIVATION {
            command.env_remove(name);
        }
        let until = Instant::now() + request.patience;
        // If this process is killed, then either whoever comes after it knows whom to end, or what was started finds
        // that it has lost and ends without ever being the other program.
        let child = exec::spawn_if(&mut command, move || decision.claim(number, own_id()))?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::Other)?;
        Ok(Self { id, until, others })
    }

    fn ended(&self) -> Option<ExitStatus> {
        match waitpid(Some(self.id), WaitOptions::NOHANG) {
            Ok(None) => None,
            Ok(Some((_, status))) => Some(ExitStatus::from_raw(status.as_raw())),
            Err(_) => Some(ExitStatus::from_raw(1 << 8)),
        }
    }

    /// Kills it and whatever it has started, and waits for the end of each: nobody but this process is left
    /// who has what is on record.
    fn end(&self) {
        let mut rounds_without = 0;
        while rounds_without < 2 {
            let started = children().unwrap_or_default();
            let started: Vec<Pid> =
                started.difference(&self.others).filter_map(|id| Pid::from_raw(*id)).collect();
            // While one is taken off the list, the kernel may leave out another.
            rounds_without = if started.is_empty() { rounds_without + 1 } else { 0 };
            for child in &started {
                let _ = kill_process(*child, Signal::KILL);
            }
            for child in started {
                let _ = waitpid(Some(child), WaitOptions::empty());
            }
        }
    }
}

/// Ends what a keeper that was killed has started to take over, and waits until it has ended. Only one that has
/// lost its parent as this process has can be it.
pub(super) fn end_orphan(id: Pid) {
    let parent = |of: &str| {
        let stat = fs::read_to_string(Path::new("/proc").join(of).join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
    };
    if parent(&id.to_string()).is_some_and(|theirs| parent("self") == Some(theirs)) && id != getpid() {
        end_with_all_it_started(id, Instant::now() + ENDING);
    }
}

fn end_with_all_it_started(id: Pid, until: Instant) {
    let Ok(its_end) = pidfd_open(id, PidfdFlags::empty()) else { return };
    // One that stands still starts no more.
    let _ = kill_process(id, Signal::STOP);
    for child in started_by(id) {
        end_with_all_it_started(child, until);
    }
    let _ = kill_process(id, Signal::KILL);
    let patience = until.saturating_duration_since(Instant::now());
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    // If it takes longer, nothing is left to be done about it.
    let _ = poll(&mut [PollFd::new(&its_end, PollFlags::IN)], Some(&patience));
}

/// The children of whichever of its threads.
fn started_by(id: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(Path::new("/proc").join(id.to_string()).join("task"));
    let children = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let children = threads.into_iter().flatten().flatten().filter_map(children).collect::<String>();
    children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}

/// The children of this process, which has one thread.
pub(super) fn children() -> io::Result<BTreeSet<i32>> {
    let children = fs::read_to_string("/proc/thread-self/children")?;
    Ok(children.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}
