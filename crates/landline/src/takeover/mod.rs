//! A server that is killed and goes on: a keeper and its workers.
//!
//! [`keep`] makes the calling process the *keeper*. It does nothing but watch a child process, the *worker*,
//! which serves. The two share one descriptor table, so that whatever listens stays open when the worker is
//! killed; another one takes its place within milliseconds and finds the listeners under their numbers.
//! Whoever calls in between waits for it, and is not refused. Connections of [`framed`](crate::framed)
//! services go on where they were, if the service [can](crate::Service::resume); the others of the worker
//! that was killed are closed. What a worker [starts](crate::Serving::start) beside the server
//! that it [runs](crate::Serving::run) is its own, and ends with it; so are the connections of all servers
//! that it runs but the first.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use landline::{Framing, Outcome, Server, Upper, framed, takeover};
//!
//! fn main() -> Result<ExitCode, landline::Error> {
//!     let ended = takeover::keep(|| match serve() {
//!         Ok(()) => 0,
//!         Err(error) => {
//!             eprintln!("{error}");
//!             1
//!         }
//!     })?;
//!     Ok(ExitCode::from(ended.code()))
//! }
//!
//! fn serve() -> Outcome {
//!     let _ = Server::bind("127.0.0.1:8081")?.serve(framed(Framing::Line, Upper)).run()?;
//!     Ok(())
//! }
//! ```
//!
//! [`Server::bind`](crate::Server::bind) takes over what a worker before this one listened on, known again by
//! the words of its address; two listeners with the same words (port 0) by their order too. What nobody has
//! taken over when [`run`](crate::Serving::run) begins to serve is closed.
//!
//! **Faults.** A worker one of whose event loops stands still is killed, after
//! [a while](Keeping::watchdog_timeout). Who was being served when a worker died so, or of a fault in the
//! program, is blamed; a connection that is blamed twice, with no answer in between, is closed as
//! [poison](crate::CloseReason::Poison), so that one message can't end worker after worker.
//!
//! **Signals** are for the keeper, whose process number is that of the server. It passes SIGINT, SIGTERM and
//! SIGHUP on to `run`, which does what it always does. A worker's own are blocked. If the keeper is killed,
//! its worker becomes this program anew, from `main`, and is the keeper of another worker; if it can't, it
//! serves on alone and obeys signals itself.
//!
//! **Privileges** that only listening takes are given up before there is a worker, in what
//! [prepares](Keeping::prepare) for it; a sandbox is entered [in each worker](Keeping::in_each_worker).
//!
//! **Another program** takes over upon [`upgrade`] or SIGUSR2: it is started from its `main`, and by `keep`
//! it finds everything, through `LANDLINE_TAKEOVER` in its environment, and goes on with it. Before
//! that it is started once with `LANDLINE_TAKEOVER_CHECK`, only so that its `keep` says whether it could;
//! what a program checks before it calls `keep` is thereby checked before anything stops. Connections with
//! which it can't go on stay with the worker before: its `run` drains them as at an end, and says in its
//! [report](crate::DrainReport::replaced) that another process serves; without any, it does not return. The
//! first process stays: in it `keep` returns when the last program has ended, with all descriptors closed but
//! the standard streams. In those in between it does not return.

mod arrival;
pub(crate) mod blame;
mod candidate;
mod check;
pub(crate) mod draining;
mod found;
pub(crate) mod header;
mod heir;
mod keeper;
mod keeping;
mod kept;
mod listeners;
pub(crate) mod memory;
mod origin;
mod parting;
pub(crate) mod pulse;
mod stub;
mod sweep;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod untrusted;
pub(crate) mod upgrade;
mod watchdog;
mod worker;

pub use arrival::is_check;
pub(crate) use arrival::may_serve;
pub(crate) use blame::poison;
pub use draining::DrainingProcess;
pub(crate) use draining::Place;
pub(crate) use found::{adopt, take_accepted};
pub(crate) use heir::become_keeper;
pub use keeper::Ended;
pub use keeping::{Keeping, keep};
pub(crate) use listeners::{OnRecord, on_record, publish};
pub use memory::REMEMBERED_MAX;
pub(crate) use parting::{inherit, is_replaced, leave, makes_way, may_part, part, parted};
pub(crate) use pulse::{Beating, Pulse, pulse};
pub use upgrade::{UPGRADE_PATIENCE, UpgradeState, upgrade, upgrade_state, upgrades};
#[cfg(feature = "metrics")]
pub(crate) use worker::counts;
pub(crate) use worker::{
    Orders, ending, ending_for, obey_signals_oneself, orders, serving, table, tell, tell_of_upgrade,
};

use worker::Worker;

/// Keeps these bytes for whichever worker comes next, in the place of those before: the configuration by
/// which it serves, for one. False if they are more than [`REMEMBERED_MAX`], or this is no worker.
pub fn remember(bytes: &[u8]) -> bool {
    // One that has made way would write where another does.
    !parted().is_cancelled() && Worker::this().is_some_and(|worker| worker.kept.memory.remember(bytes))
}

/// What was remembered last, by this worker or one before it. A program that takes another's place by an
/// upgrade finds nothing until it has remembered something itself: it is to read what is there now.
pub fn recall() -> Option<Vec<u8>> {
    let memory = match Worker::this() {
        Some(worker) => worker.kept.memory,
        None => arrival::memory().ok().flatten()?,
    };
    memory.recall().filter(|_| !arrival::must_commit())
}

/// Whether this program goes on with what another has left: it was started to take that one's place, or is the
/// same one anew, because its keeper was killed. It finds all that listens, and is what that one was by then: no
/// root any more, if it has ceased to be.
pub fn takes_over() -> bool {
    arrival::memory().is_ok_and(|memory| memory.is_some())
}

/// Whether another worker served before this one, be it of this program or of one before it.
pub fn is_another() -> bool {
    Worker::this().is_some_and(|worker| worker.is_another())
}

/// Whether connections can survive on this system: its kernel has to count what they received and sent.
/// It is tried on connections of this process to itself, which takes well below a millisecond.
pub fn is_supported() -> bool {
    crate::sys::positions::are_counted()
}

/// The processes of this server that another has replaced and that still have connections with which nobody
/// else can go on: each ends with the last of those, or after
/// [`drain_timeout`](crate::Config::drain_timeout). At most 16 are told of.
pub fn draining() -> Vec<DrainingProcess> {
    Worker::this().map(|worker| draining::all(worker.kept.memory)).unwrap_or_default()
}

/// How many workers took the place of another so far, this one included; 0 in the first, and in what is no
/// worker.
pub fn restarts() -> u32 {
    Worker::this().map_or(0, |worker| worker.restarts())
}

/// The process to which signals for this server are sent: the keeper, or this one if it has none.
pub fn process_id() -> u32 {
    Worker::this().map_or_else(std::process::id, |worker| worker.kept.process_id())
}
