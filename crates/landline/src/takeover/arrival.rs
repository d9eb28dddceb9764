//! A program that takes another's place: what it finds in its environment, and that it waits until it may.

use std::env;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed},
};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::getpid;

use super::header;
use super::keeper::Ended;
use super::kept::Kept;
use super::memory::Memory;
use super::upgrade::own_id;
use super::worker::Worker;
use crate::error::{Error, Kind};
use crate::sys::{clone, descriptors, exec};

/// Names the descriptor of the memory that this program takes over.
pub(super) const MEMORY: &str = "LANDLINE_TAKEOVER";
/// Asks whether this program can read a memory with this layout.
pub(super) const CHECK: &str = "LANDLINE_TAKEOVER_CHECK";
/// The line that says that it can.
pub(super) const ANSWER: &str = "landline: ready to take over";
/// How often a thread that waits to be let in looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// The upgrade by which this program came; 0 if it came otherwise.
static UPGRADE: AtomicU32 = AtomicU32::new(0);
static FOUND: OnceLock<Option<Result<Memory, String>>> = OnceLock::new();
/// Whether this worker serves.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Whether this program was started only to say whether it could take the place of one that runs:
/// [`keep`](super::keep) says so and returns at once. What a program has to check before an upgrade, it
/// checks before it calls that.
pub fn is_check() -> bool {
    env::var_os(CHECK).is_some()
}

/// If this program was started for its check: how that ends.
pub(super) fn check() -> Option<Result<Ended, Error>> {
    let layout = env::var(CHECK).ok()?;
    let said = header::can_read(&layout).map_err(io::Error::other).and_then(|()| {
        let mut stdout = io::stdout();
        stdout.write_all(format!("{ANSWER}\n").as_bytes()).and_then(|()| stdout.flush())
    });
    Some(said.map(|()| Ended::Code(0)).map_err(cannot))
}

fn cannot(error: io::Error) -> Error {
    Error::io(Kind::Serve, "cannot take over from the program before", error)
}

/// The memory of a program before this one, if it is to take that one's place.
pub(super) fn memory() -> Result<Option<&'static Memory>, Error> {
    match FOUND.get_or_init(find) {
        None => Ok(None),
        Some(Ok(memory)) => Ok(Some(memory)),
        Some(Err(cause)) => Err(cannot(io::Error::other(cause.clone()))),
    }
}

fn find() -> Option<Result<Memory, String>> {
    let number = env::var_os(MEMORY)?;
    let number = number.to_str().and_then(|number| number.parse::<RawFd>().ok()).filter(|number| *number > 2);
    let found =
        number.and_then(descriptors::take).ok_or_else(|| format!("{MEMORY} names no open descriptor"));
    Some(found.and_then(|descriptor| {
        let memory = Memory::take_over(descriptor).map_err(|error| error.to_string())?;
        memory.header().check().map_err(|error| error.to_string())?;
        let decision = memory.decision();
        if decision.heir.load(Acquire) == own_id() {
            return Ok(memory);
        }
        match decision.starting_now().filter(|_| decision.is_candidate(own_id())) {
            Some(number) => UPGRADE.store(number, Relaxed),
            None => return Err("another process was to, or it is too late".to_owned()),
        }
        Ok(memory)
    }))
}

/// Nothing that this process starts is to think that it was meant.
pub(super) fn forget() -> io::Result<()> {
    exec::forget(&[MEMORY, CHECK])
}

/// Whether this program came by an upgrade and has not committed: it may neither accept nor answer. One that was too
/// late never has, whatever became of other upgrades since.
pub(super) fn must_commit() -> bool {
    let is_keeper = |memory: &Memory| {
        let keeper = Kept::this().map_or_else(getpid, |kept| kept.keeper);
        memory.decision().is_keeper(keeper)
    };
    is_by_upgrade() && !memory().ok().flatten().is_none_or(is_keeper)
}

/// Whether this program came by an upgrade.
pub(super) fn is_by_upgrade() -> bool {
    UPGRADE.load(Relaxed) > 0
}

/// Takes over, if that is still to be done. It does not return if it is too late: the program before goes on.
pub(super) fn commit(worker: Worker) {
    if must_commit() {
        let decision = worker.kept.memory.decision();
        decision.after.store(worker.number, Relaxed);
        if !decision.commit(UPGRADE.load(Relaxed)) {
            clone::leave(1);
        }
        decision.program.set(worker.kept.program.as_os_str().as_encoded_bytes());
    }
}

/// Lets all threads serve.
pub(super) fn open() {
    *GATE.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    GATE.1.notify_all();
}

/// Waits on a thread that has all it needs to serve until it may; false if it is not wanted any more. Those
/// of the server that is kept wait for [`open`]; `is_beside` is another.
pub(crate) fn may_serve(is_beside: bool, is_wanted: impl Fn() -> bool) -> bool {
    let mut gate = GATE.0.lock().unwrap_or_else(PoisonError::into_inner);
    while if is_beside { must_commit() } else { !*gate } {
        if !is_wanted() {
            return false;
        }
        gate = GATE.1.wait_timeout(gate, LOOK).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}
