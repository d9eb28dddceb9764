//! A server that is killed and goes on: a keeper and its workers.
//!
//! [`keep`] makes the calling process the *keeper*. It does nothing but watch a child process, the *worker*,
//! which serves. The two share one descriptor table, so that whatever listens stays open when the worker is
//! killed; another one takes its place within milliseconds and finds the listeners under their numbers.
//! Whoever calls in between waits for it, and is not refused. Connections of [`framed`](crate::framed)
//! services go on where they were, if the service [can](crate::Service::resume); the others of the worker
//! that was killed are closed. What a worker [starts](crate::Serving::start) beside the server
//! services that are between two messages go on, if the service [can](crate::Service::resume); the others of
//! the worker that was killed are closed. What a worker [starts](crate::Serving::start) beside the server
//! that it [runs](crate::Serving::run) is its own, and ends with it.
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
//! SIGHUP on to `run`, which does what it always does. A worker's own are blocked; if the keeper is killed,
//! the worker serves on and obeys them itself.

pub(crate) mod blame;
mod keeper;
mod keeping;
mod listeners;
pub(crate) mod memory;
pub(crate) mod pulse;
mod sweep;
mod watchdog;
mod worker;

pub(crate) use blame::poison;
pub use keeper::Ended;
pub use keeping::{Keeping, keep};
pub(crate) use listeners::{OnRecord, on_record, publish};
pub use memory::REMEMBERED_MAX;
pub(crate) use pulse::{Beating, Pulse, pulse};
#[cfg(feature = "metrics")]
pub(crate) use worker::counts;
pub(crate) use worker::{
    Orders, ending, ending_for, obey_signals_oneself, orders, serving, table, take_accepted, tell,
};

use worker::Worker;

/// Keeps these bytes for whichever worker comes next, in the place of those before: the configuration by
/// which it serves, for one. False if they are more than [`REMEMBERED_MAX`], or this is no worker.
pub fn remember(bytes: &[u8]) -> bool {
    Worker::this().is_some_and(|worker| worker.kept.memory.remember(bytes))
}

/// What was remembered last, by this worker or one before it.
pub fn recall() -> Option<Vec<u8>> {
    Worker::this().and_then(|worker| worker.kept.memory.recall())
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
