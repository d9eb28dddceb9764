//! The other end: connect, ask, get answers.
//!
//! There are three levels, each made of the one before it. A [`Connector`] gives a bare [`Stream`], by
//! whichever address of a name answers first. A [`Conversation`] takes turns on one connection: a message
//! out, its answer back, cut out of the stream by a [`Framing`](crate::Framing). A [`Client`] is asked by
//! many tasks at once, and connects again when it has to.
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use landline::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any server will do; this one answers a single line in upper case.
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! std::thread::spawn(move || -> std::io::Result<()> {
//!     let (mut stream, _) = listener.accept()?;
//!     let mut line = String::new();
//!     BufReader::new(&stream).read_line(&mut line)?;
//!     stream.write_all(line.to_uppercase().as_bytes())
//! });
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let client = Client::connect(address).await?;
//! assert_eq!(client.ask("hello").await?, "HELLO");
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # The life of an ask
//!
//! [`Client::ask`] frames the message and waits for room: no more than
//! [`in_flight_max`](Options::in_flight_max) are under way. If there is no connection, one is made, after a
//! [`Backoff`] when earlier attempts have failed; whoever waits for an attempt that fails has its error.
//!
//! All asks that are ready leave in one write, and each waits for its turn among the answers. An ask that
//! is given up ([timed out](Options::ask_timeout), or dropped) keeps its place if it was sent, so that its
//! answer goes to nobody rather than to somebody else.
//!
//! It ends in one of three ways: with its answer; with an error of its own, which says whether the server may
//! have seen the message ([`Error::is_unsent`](crate::Error::is_unsent)); or, if it may be sent again
//! ([`Client::ask_idempotent`]), on the next connection.
//!
//! A [`Pool`] spreads asks over several clients. With the feature `tls`, `Connector::tls` has any of these
//! speak TLS.

mod backoff;
mod connect;
mod connector;
mod conversation;
mod delimiting;
mod driver;
mod failure;
mod flight;
mod handle;
mod link;
mod options;
mod pool;
mod race;
mod socket;
mod stream;

use std::os::fd::{AsFd, AsRawFd};

pub use backoff::Backoff;
pub use connector::{Connector, Family, Step};
pub use conversation::Conversation;
pub use delimiting::{Cutter, Delimiting};
pub use failure::{TLS_ALERTS_LEN_MAX, lost, speaks_tls};
pub use handle::Client;
pub use options::Options;
pub use pool::Pool;
pub use stream::{ReadHalf, Stream, WriteHalf};

pub use crate::sys::way::{TcpState, Way};
#[cfg(feature = "tls")]
pub use crate::tls::client::ClientTls;

#[cfg(feature = "tls")]
pub(crate) use self::connector::Limit;
#[cfg(feature = "tls")]
pub(crate) use self::failure::{TlsFailure, cannot_speak};
use self::handle::Ask;
#[cfg(feature = "tls")]
use crate::tls::client::TlsStream;

/// What the kernel has measured on the way to the peer of a TCP connection; `None` for other sockets and
/// where the system does not tell, which is everywhere but on Linux.
pub fn way(socket: &impl AsFd) -> Option<Way> {
    crate::sys::way::way(usize::try_from(socket.as_fd().as_raw_fd()).ok()?)
}
