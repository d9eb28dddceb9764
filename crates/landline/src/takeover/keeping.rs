//! How a worker is kept.

use std::time::Duration;

use super::keeper::{self, Ended};
use super::watchdog::PATIENCE;
use crate::error::Error;

/// How a worker is kept, where [`keep`](super::keep) is not to decide.
///
/// ```no_run
/// use std::time::Duration;
///
/// use landline::takeover::Keeping;
///
/// let ended = Keeping::new().watchdog_timeout(Duration::from_secs(30)).keep(|| 0)?;
/// # Ok::<(), landline::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "nothing is kept before `keep` is called"]
pub struct Keeping {
    pub(super) watchdog_timeout: Option<Duration>,
    pub(super) core_dumps: bool,
}

impl Keeping {
    /// As [`keep`](super::keep) does it.
    pub fn new() -> Self {
        Self { watchdog_timeout: Some(PATIENCE), core_dumps: false }
    }

    /// For how long an event loop of the server may stand still until its worker is killed, so that another
    /// takes its place: because a service computes or waits without an await, because of a deadlock, or
    /// because the worker was stopped. Default: 5 s, which no service that yields ever takes; too short a
    /// time kills a worker that merely has much to do. Less than 1 s counts as 1 s. `None`: it may for
    /// ever.
    pub fn watchdog_timeout(self, patience: impl Into<Option<Duration>>) -> Self {
        Self { watchdog_timeout: patience.into(), ..self }
    }

    /// Whether a worker that dies of a fault leaves a core dump, if the limit on those allows it. Default:
    /// no, because nobody serves until it is written, which for a large worker takes seconds.
    pub fn core_dumps(self, wanted: bool) -> Self {
        Self { core_dumps: wanted, ..self }
    }

    /// Runs `work` in a child process, and again in another one whenever that is killed, until it ends by
    /// itself: then with its exit code, which `work` returns. Each has a copy of this process's memory as it
    /// is now. See the [module](super) for what survives.
    ///
    /// A worker that is killed before any has served ends it all: most likely the next would fare no better.
    /// Later, only pauses between workers that do not get to serve become longer.
    ///
    /// It is called once, from a `main` that has started no thread yet. The limit on open files is raised to
    /// its maximum. Not for what an async runtime runs.
    ///
    /// A program that was started to take another's place does so here, and one that was asked whether it
    /// [could](super::is_check) says so and is done.
    ///
    /// # Errors
    /// When it can't take over what it was started for, this process has other threads, keeps a worker
    /// already, or the system lacks what it takes.
    pub fn keep(self, work: impl FnMut() -> u8 + Send) -> Result<Ended, Error> {
        keeper::keep(self, work)
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self::new()
    }
}

/// [`Keeping::keep`] with the defaults.
///
/// # Errors
/// As there.
pub fn keep(work: impl FnMut() -> u8 + Send) -> Result<Ended, Error> {
    Keeping::new().keep(work)
}
