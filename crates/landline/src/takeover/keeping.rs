//! How a worker is kept.

use std::fmt;
use std::time::Duration;

use super::keeper::{self, Ended};
use super::watchdog::PATIENCE;
use crate::error::{Error, Outcome};
use crate::server::Server;

pub(super) type Prepare<'a> = Box<dyn FnOnce() -> Outcome<Vec<Server>> + 'a>;
pub(super) type InEachWorker<'a> = Box<dyn FnMut() -> Result<(), u8> + 'a>;

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
#[must_use = "nothing is kept before `keep` is called"]
pub struct Keeping<'a> {
    pub(super) watchdog_timeout: Option<Duration>,
    pub(super) core_dumps: bool,
    pub(super) prepare: Option<Prepare<'a>>,
    pub(super) in_each_worker: Option<InEachWorker<'a>>,
}

impl<'a> Keeping<'a> {
    /// As [`keep`](super::keep) does it.
    pub fn new() -> Self {
        Self { watchdog_timeout: Some(PATIENCE), core_dumps: false, prepare: None, in_each_worker: None }
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

    /// What the calling process does before there is any worker, once: for what only root may do, and for
    /// ceasing to be root, so that no worker ever was. The servers that it returns only listen: each worker
    /// finds their sockets when it [binds](Server::bind) the same words, as it finds those of a worker before
    /// it. All else that a server is told, such as the mode of a Unix socket's file, is for the worker to say.
    /// It may start no thread, and what it leaves open besides is closed by the second worker. It is not
    /// called in a program that [takes over](super::takes_over). Default: nothing.
    ///
    /// An error is what [`keep`](Self::keep) returns.
    pub fn prepare(self, prepare: impl FnOnce() -> Outcome<Vec<Server>> + 'a) -> Self {
        Self { prepare: Some(Box::new(prepare)), ..self }
    }

    /// What each worker does on its first thread before it has another, so that it holds for all of them and
    /// not for the calling process: a sandbox, for one. It may make system calls and allocate, and has to keep
    /// away from all that asks libc who this thread is: signals to itself, changes of user or group, what ends
    /// it. Descriptors that it needs are open before `keep` is called. Default: nothing.
    ///
    /// An error is the code with which the worker ends instead of working; whoever returns it has said why.
    pub fn in_each_worker(self, enter: impl FnMut() -> Result<(), u8> + 'a) -> Self {
        Self { in_each_worker: Some(Box::new(enter)), ..self }
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
    /// already, can't [prepare](Self::prepare), or the system lacks what it takes.
    pub fn keep(self, work: impl FnMut() -> u8 + Send) -> Result<Ended, Error> {
        keeper::keep(self, work)
    }
}

impl Default for Keeping<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Keeping<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping")
            .field("watchdog_timeout", &self.watchdog_timeout)
            .field("core_dumps", &self.core_dumps)
            .finish_non_exhaustive()
    }
}

/// [`Keeping::keep`] with the defaults.
///
/// # Errors
/// As there.
pub fn keep(work: impl FnMut() -> u8 + Send) -> Result<Ended, Error> {
    Keeping::new().keep(work)
}
