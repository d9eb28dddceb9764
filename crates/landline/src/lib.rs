//! Client/server over TCP, done once and done right.

pub mod address;
mod buffer;
mod close;
mod error;
pub mod event;
pub mod frame;
mod server;
mod service;
mod sys;
pub mod testing;

pub use address::Address;
pub use close::CloseReason;
pub use error::{BoxError, Error, Outcome, describe};
pub use event::{Event, Subscriber};
pub use frame::Framing;
pub use server::{
    AnyHandler, Config, Connection, CutConnection, DrainReport, Handler, MAX_CONNECTIONS, Peer, PushError,
    Running, Sender, Server, Serving, WaitForDrain,
};
pub use service::{Echo, Framed, Reply, Service, Upper, framed, service, session};
