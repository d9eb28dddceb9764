//! Another program takes the place of this one: how it is asked for, and the words in which it is decided.
//!
//! The keeper and a program that is to take its place agree by one compare-and-swap: either that program has
//! committed, or the keeper has aborted, and the other finds that it has lost. See `candidate` for the steps.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::kept::Kept;
use super::memory::{Order, Words};
use super::worker::Worker;
use crate::error::{Error, Kind};

/// How long another program has for its check, and then again until it serves, unless said otherwise.
pub const UPGRADE_PATIENCE: Duration = Duration::from_secs(10);
/// The most that can be asked for.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);
/// The longest path, in bytes: that of the system.
const PATH_LEN: usize = 4096;
const CAUSE_LEN: usize = 1024;

/// What is decided about upgrades. An upgrade is known by its number, from 1.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Decision {
    /// The number of the last upgrade, and above the lowest eight bits, its step.
    word: AtomicU64,
    /// How many were asked for.
    asked: AtomicU32,
    /// How many another program has committed.
    done: AtomicU32,
    /// What whoever asked last has set for it, in milliseconds.
    patience: AtomicU32,
    /// The process that signals are sent to.
    pub(super) main: AtomicI32,
    /// The keeper, unless the last upgrade was committed: then that is the candidate.
    keeper: AtomicI32,
    candidate: AtomicI32,
    /// The worker.
    pub(super) worker: AtomicI32,
    /// A worker that makes itself keeper, because its own was killed.
    pub(super) heir: AtomicI32,
    /// The worker that was started after an upgrade: nobody was killed before it who was not to be.
    pub(super) after: AtomicU32,
    /// That the last upgrade failed is to be told.
    pub(super) failed: Order,
    /// The program that is to take over; none for that which is at the old one's path.
    binary: Words<PATH_LEN>,
    /// Where the program lies that runs.
    pub(super) program: Words<PATH_LEN>,
    /// Why the last upgrade failed.
    cause: Words<CAUSE_LEN>,
}

/// How far an upgrade is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeState {
    /// None has this number.
    Unknown,
    /// The other program is asked whether it can take over; all serves on meanwhile.
    Checking,
    /// The other program starts, and nobody serves: callers wait.
    Starting,
    /// The other program serves.
    Done,
    /// It failed, for this reason, and the program before serves on.
    Failed(String),
}

const CHECKING: u64 = 1;
const STARTING: u64 = 2;
const DONE: u64 = 3;
const FAILED: u64 = 4;

fn word(number: u32, step: u64) -> u64 {
    u64::from(number) << 8 | step
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) number: u32,
    pub(super) binary: Vec<u8>,
    pub(super) patience: Duration,
}

impl Decision {
    fn last(&self) -> (u32, u64) {
        let word = self.word.load(Acquire);
        (u32::try_from(word >> 8).unwrap_or(u32::MAX), word & 0xff)
    }

    /// Asks for an upgrade; its number, unless one is under way.
    fn ask(&self, binary: &[u8], patience: Duration) -> Option<u32> {
        let asked = self.asked.load(Acquire);
        let (last, step) = self.last();
        if last != asked || matches!(step, CHECKING | STARTING) {
            return None;
        }
        self.binary.set(binary);
        let patience = patience.clamp(Duration::from_millis(1), PATIENCE_MAX);
        self.patience.store(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX), Relaxed);
        let next = asked.wrapping_add(1);
        let is_first = self.asked.compare_exchange(asked, next, AcqRel, Acquire).is_ok();
        is_first.then_some(next)
    }

    /// Whether somebody has asked for one that has not begun.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Acquire) != self.last().0
    }

    /// The keeper begins with an upgrade that somebody has asked for, or that it was told to by a signal.
    pub(super) fn begin(&self, by_signal: bool) -> Option<Request> {
        let by_itself = || self.ask(b"", UPGRADE_PATIENCE);
        let (last, asked) = (self.last().0, self.asked.load(Acquire));
        let number = if asked == last { by_signal.then(by_itself).flatten() } else { Some(asked) }?;
        self.keeper.store(own_id(), Relaxed);
        self.word.store(word(number, CHECKING), Release);
        let patience = Duration::from_millis(self.patience.load(Relaxed).into()).min(PATIENCE_MAX);
        let binary = Some(self.binary.read()).filter(|path| !path.is_empty());
        Some(Request { number, binary: binary.unwrap_or_else(|| self.program.read()), patience })
    }

    /// From now on the other program may commit.
    pub(super) fn starting(&self, number: u32) {
        self.candidate.store(0, Relaxed);
        self.word.store(word(number, STARTING), Release);
    }

    /// Decides that the upgrade fails; false if the other program has committed.
    pub(super) fn abort(&self, number: u32, cause: &str) -> bool {
        self.cause.set(cause.as_bytes());
        let aborted = [STARTING, CHECKING].into_iter().any(|step| {
            self.word.compare_exchange(word(number, step), word(number, FAILED), SeqCst, Acquire).is_ok()
        });
        if aborted {
            self.failed.give();
        }
        aborted
    }

    /// The other program takes over by the upgrade with this number; false if it is too late.
    pub(super) fn commit(&self, number: u32) -> bool {
        let committed = word(number, DONE);
        let is_ours = self.word.compare_exchange(word(number, STARTING), committed, AcqRel, Acquire).is_ok();
        if is_ours {
            self.done.fetch_add(1, Relaxed);
        }
        is_ours
    }

    /// Whether the other program has committed, and maybe gone on to another upgrade since.
    pub(super) fn is_done(&self, number: u32) -> bool {
        let (last, step) = self.last();
        last > number || (last == number && step == DONE)
    }

    /// Decides that an upgrade fails whose keeper was killed; false if the other program has committed.
    pub(super) fn fail(&self) -> bool {
        let (last, step) = self.last();
        step != DONE && (self.abort(last, "its keeper was killed meanwhile") || self.last().1 != DONE)
    }

    /// The process that was to take over last, whether or not it has.
    pub(super) fn candidate(&self) -> Option<Pid> {
        process(&self.candidate)
    }

    /// The number of the upgrade in which a program is to take over now.
    pub(super) fn starting_now(&self) -> Option<u32> {
        let (number, step) = self.last();
        (step == STARTING).then_some(number)
    }

    /// The process with this id, which runs the other program next, is the one that takes over by the upgrade with
    /// this number; false if there is another or it is too late, and then it is not to run it.
    ///
    /// It says so itself, before it is that program. Had the keeper to say it, one that is killed between starting a
    /// process and saying which would leave one that nobody knows of, with copies of all that is on record. As it
    /// is, whoever decides that the upgrade fails looks for the candidate after that, and this looks
    /// for the decision after it has named itself: one of the two sees the other.
    pub(super) fn claim(&self, number: u32, id: i32) -> bool {
        let is_first = self.candidate.compare_exchange(0, id, SeqCst, SeqCst).is_ok();
        let is_in_time = self.word.load(SeqCst) == word(number, STARTING);
        if is_first && !is_in_time {
            // It may have got into the next upgrade, which fails for want of a candidate if that asks just now.
            let _ = self.candidate.compare_exchange(id, 0, SeqCst, SeqCst);
        }
        is_first && is_in_time
    }

    /// Whether the process with this id is to take over in the upgrade that is under way.
    pub(super) fn is_candidate(&self, id: i32) -> bool {
        self.candidate.load(SeqCst) == id && self.starting_now().is_some()
    }

    /// The process that is the keeper now.
    pub(super) fn keeper(&self) -> Option<Pid> {
        loop {
            let before = self.word.load(Acquire);
            let is_done = before & 0xff == DONE;
            let id = process(if is_done { &self.candidate } else { &self.keeper });
            if self.word.load(Acquire) == before {
                return id;
            }
        }
    }

    /// Whether the process with this id is the keeper, be it dead by now.
    pub(super) fn is_keeper(&self, id: Pid) -> bool {
        let (_, step) = self.last();
        let keeper = if step == DONE { &self.candidate } else { &self.keeper };
        keeper.load(Acquire) == id.as_raw_nonzero().get()
    }

    /// This process is the keeper, whoever was before; what that one had begun has failed.
    pub(super) fn succeed(&self) {
        let id = own_id();
        self.keeper.store(id, Relaxed);
        self.heir.store(0, Relaxed);
        if self.last().1 == DONE {
            self.candidate.store(id, Release);
        }
        self.abort(self.last().0, "its keeper was killed meanwhile");
    }

    pub(super) fn state(&self, number: u32) -> UpgradeState {
        let (last, step) = self.last();
        if number == last.wrapping_add(1) && number == self.asked.load(Acquire) {
            return UpgradeState::Checking;
        }
        match step {
            _ if number != last => UpgradeState::Unknown,
            CHECKING => UpgradeState::Checking,
            STARTING => UpgradeState::Starting,
            DONE => UpgradeState::Done,
            FAILED => UpgradeState::Failed(String::from_utf8_lossy(&self.cause.read()).into_owned()),
            _ => UpgradeState::Unknown,
        }
    }

    pub(super) fn cause(&self) -> String {
        String::from_utf8_lossy(&self.cause.read()).into_owned()
    }

    pub(super) fn done(&self) -> u32 {
        self.done.load(Relaxed)
    }
}

/// The process with this id. A signal to one below 1 would go to many, and to 1 to the whole system; what
/// lies in memory is not to be trusted with that.
pub(super) fn process(id: &AtomicI32) -> Option<Pid> {
    let id = id.load(SeqCst);
    (id > 1 || id == own_id()).then(|| Pid::from_raw(id)).flatten()
}

/// The id of this process, as the words have it.
pub(super) fn own_id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Asks that the program at `binary` takes over, with this one's arguments; without a path, the program that
/// lies now where this one was started from. Returns the number of the upgrade; what became of it says
/// [`upgrade_state`], in this process or in one after it.
///
/// First the other program is started with `LANDLINE_TAKEOVER_CHECK` in its environment, by which
/// [`keep`](super::keep) says whether it can take over and ends; what comes before `keep` is thereby tried
/// out too. If it can, this process makes way, and the other program is started. Each of the two
/// has `patience` (up to an hour; see [`UPGRADE_PATIENCE`]). If anything fails, the program before serves
/// on. SIGUSR2 asks for the same, without a path.
///
/// # Errors
/// When one is under way, the path is too long, or this process has no keeper.
pub fn upgrade(binary: Option<&Path>, patience: Duration) -> Result<u32, Error> {
    static ASKING: Mutex<()> = Mutex::new(());
    let cannot = |cause| Error::new(Kind::Serve, "cannot upgrade", cause);
    let Some(worker) = Worker::this() else {
        return Err(cannot("the process that serves has no keeper"));
    };
    let path = binary.map_or(&b""[..], |path| path.as_os_str().as_bytes());
    if path.len() >= PATH_LEN {
        return Err(cannot("the path is too long"));
    }
    let decision = worker.kept.memory.decision();
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let number = decision.ask(path, patience).ok_or_else(|| cannot("another upgrade is under way"))?;
    // If it is gone, whoever comes after it finds the request.
    let _ = kill_process(worker.kept.keeper, Signal::USR2);
    Ok(number)
}

/// What became of an upgrade, whichever process was asked for it; only of the last one is it known.
pub fn upgrade_state(number: u32) -> UpgradeState {
    Kept::this().map_or(UpgradeState::Unknown, |kept| kept.memory.decision().state(number))
}

/// How many upgrades there were so far, and the number of the last that was asked for, if one was.
pub fn upgrades() -> (u32, Option<u32>) {
    let Some(worker) = Worker::this() else { return (0, None) };
    let decision = worker.kept.memory.decision();
    (decision.done(), Some(decision.asked.load(Acquire)).filter(|asked| *asked > 0))
}

/// A path out of the words.
pub(super) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    #[test]
    fn of_two_that_decide_one_wins_whoever_is_first() {
        let memory = Memory::new().unwrap();
        let decision = memory.decision();
        for is_aborted in [true, false] {
            let number = decision.ask(b"", UPGRADE_PATIENCE).unwrap();
            assert_eq!(decision.ask(b"", UPGRADE_PATIENCE), None);
            assert_eq!(decision.begin(false).unwrap().number, number);
            assert!(!decision.commit(number), "nobody may before the other is stopped");
            decision.starting(number);
            if is_aborted {
                assert!(decision.abort(number, "too slow") && !decision.commit(number));
                assert_eq!(decision.state(number), UpgradeState::Failed("too slow".into()));
            } else {
                assert!(!decision.commit(number + 1), "it is another's");
                assert!(decision.commit(number));
                assert!(!decision.abort(number, "too slow") && !decision.commit(number));
                assert_eq!(decision.state(number), UpgradeState::Done);
            }
        }
        assert_eq!((decision.done(), decision.state(1)), (1, UpgradeState::Unknown));
    }

    #[test]
    fn the_keeper_is_whoever_committed_last() {
        let memory = Memory::new().unwrap();
        let decision = memory.decision();
        decision.succeed();
        let ours = decision.keeper();
        assert_eq!(ours, Some(rustix::process::getpid()));
        let request = decision.begin(true).unwrap();
        decision.starting(request.number);
        assert!(!decision.is_candidate(4711), "it has not said so");
        assert!(decision.claim(request.number, 4711) && !decision.claim(request.number, 4712));
        assert!(decision.is_candidate(4711) && !decision.is_candidate(4712));
        assert_eq!(decision.keeper(), ours);
        assert!(decision.commit(request.number));
        assert_eq!(decision.keeper(), Pid::from_raw(4711));
    }

    #[test]
    fn a_candidate_is_known_to_whoever_decides_against_it_or_knows_of_that_itself() {
        let memory = Memory::new().unwrap();
        let decision = memory.decision();
        let begun = || {
            let request = decision.begin(true).unwrap();
            decision.starting(request.number);
            request.number
        };
        let number = begun();
        assert!(decision.claim(number, 4711) && decision.fail());
        assert_eq!(decision.candidate(), Pid::from_raw(4711));
        let number = begun();
        assert!(decision.fail() && !decision.claim(number, 4711));
        // One that comes too late by a whole upgrade takes nobody's place.
        let next = begun();
        assert!(!decision.claim(number, 4711) && decision.claim(next, 4712));
        assert_eq!(decision.candidate(), Pid::from_raw(4712));
    }

    #[test]
    fn an_id_that_stands_for_many_processes_is_nobodys() {
        let memory = Memory::new().unwrap();
        let decision = memory.decision();
        for id in [i32::MIN, -4711, -1, 0, 1] {
            decision.keeper.store(id, Relaxed);
            decision.candidate.store(id, Relaxed);
            for step in [CHECKING, STARTING, DONE, FAILED] {
                decision.word.store(word(1, step), Relaxed);
                assert_eq!(decision.keeper(), None, "{id}");
            }
        }
    }

    #[test]
    fn without_a_signal_or_a_request_nothing_begins() {
        let memory = Memory::new().unwrap();
        assert!(memory.decision().begin(false).is_none());
        memory.decision().program.set(b"/bin/it");
        let request = memory.decision().begin(true).unwrap();
        assert_eq!(
            (request.number, request.binary, request.patience),
            (1, b"/bin/it".to_vec(), UPGRADE_PATIENCE)
        );
    }
}
