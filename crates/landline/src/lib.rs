//! Client/server over TCP, done once and done right.
//!
//! landline is the part of a TCP server that is the same in all of them, and that is wrong in most:
//! accepting, admission, time limits, slow readers, framing, draining, reporting. It is not a web framework,
//! a message broker or an RPC system; those can stand on it.
//!
//! ```no_run
//! use landline::{Framing, Outcome, Reply, Server, framed, service};
//!
//! fn main() -> Outcome {
//!     let upper = service(async |message: &[u8], reply: &mut Reply| {
//!         reply.send(&message.to_ascii_uppercase());
//!         Ok(())
//!     });
//!     let report = Server::bind("127.0.0.1:8081")?.serve(framed(Framing::Line, upper)).run()?;
//!     println!("{} connections had to be cut", report.cut.len());
//!     Ok(())
//! }
//! ```
//!
//! # The life of a connection
//!
//! A caller reaches a **listener** that [`Server::bind`] opened. The accept loop of some thread takes it;
//! that loop runs no code of yours and waits for nothing, so it can't be stalled, and no error of accept(2)
//! ends it but one that means the listener is broken.
//!
//! **Admission** counts it against [`max_connections`](Server::max_connections), one exact number for the
//! whole server. The next caller is told `busy` in one line and seen off properly. A caller who is let in
//! gets a slot in the connection table and a thread, and stays there: futures and sessions need not be
//! `Send`.
//!
//! A **[handler](Handler)** owns the whole connection. [`framed`] makes one of a **[service](Service)**,
//! which answers one message at a time: the **[framing](Framing)** cuts what was read into messages, all
//! complete ones are answered, and the replies go out together. While they wait nothing more is read, so a
//! slow reader costs one batch. An idle connection holds no buffer.
//!
//! It ends with exactly one **[close reason](CloseReason)**. Unless it was reset, our side ends first and
//! what the peer still sends is read for a moment, so that the last reply is not lost. A panic, an error, or
//! a limit that is passed costs this one connection.
//!
//! **[Drain](Running::drain)** ends them all: no more callers, idle connections closed at once, unfinished
//! messages and running handlers waited for, the rest cut at a deadline. The [report](DrainReport) names who
//! was cut.
//!
//! # What happens, and who is told
//!
//! Everything that happens is an [`Event`] in one catalogue. A [`Subscriber`] sees them all; the log (feature
//! `log`), the metrics (feature `metrics`) and the bridge to `tracing` (feature `tracing`) are subscribers.
//!
//! # Clients and tests
//!
//! [`client`] connects and asks. [`testing`] drives a handler or a service without a network.
//!
//! # Features
//!
//! None is on by default. `log`: [`event::Log`], one line per event as text or JSON. `metrics`:
//! [`event::Metrics`], counts for Prometheus. `tracing`: [`event::Tracing`]. `takeover` (Linux): the module
//! `takeover`, by which a server goes on when its process is killed. `tls`: the module `tls` for listeners, and
//! clients' connections that nobody else can read, to servers that are who they say they are.

pub mod address;
mod buffer;
pub mod client;
mod close;
pub mod error;
pub mod event;
mod fault;
pub mod frame;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
mod proxy;
mod server;
mod service;
mod sys;
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub mod takeover;
#[cfg(not(all(feature = "takeover", target_os = "linux")))]
#[path = "takeover/absent.rs"]
mod takeover;
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
mod tls;

pub use address::Address;
pub use client::Client;
pub use close::CloseReason;
pub use error::{BoxError, Error, Outcome};
pub use event::{Event, Subscriber};
pub use frame::Framing;
pub use server::{
    AcceptQueue, AnyHandler, CloseError, Config, Connection, ConnectionInfo, CutConnection, DrainReport,
    Excess, Handler, ListenAddr, MAX_CONNECTIONS, Monitor, Network, Peer, Policy, PushError, Running, Sender,
    Server, Serving, State, Totals, WaitForDrain,
};
#[cfg(feature = "takeover")]
pub use service::lasting_session;
pub use service::{Echo, Framed, Reply, Service, Upper, framed, service, session};

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
