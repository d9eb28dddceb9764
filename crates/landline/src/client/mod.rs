//! The other end: connect, ask, get answers.
//!
//! A [`Connector`] gives a bare [`Stream`], by whichever address of a name answers first. A [`Conversation`] holds a
//! conversation over one: a message out, its answer back, cut out of the stream by a [`Framing`].
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use landline::client::Conversation;
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
//! let mut client = Conversation::connect(address).await?;
//! assert_eq!(client.ask(b"hello").await?, "HELLO");
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! With the feature `tls`, `Connector::tls` has either speak TLS.
//!
//! A client does not connect again by itself, and it asks one thing at a time.

mod connect;
mod connector;
mod conversation;
mod failure;
mod options;
mod race;
mod socket;
mod stream;

use std::os::fd::{AsFd, AsRawFd};

pub use connector::{Connector, Family, Step};
pub use conversation::Conversation;
pub use failure::{TLS_ALERTS_LEN_MAX, lost, speaks_tls};
pub use options::Options;
pub use stream::{ReadHalf, Stream, WriteHalf};

pub use crate::sys::way::{TcpState, Way};
#[cfg(feature = "tls")]
pub use crate::tls::client::ClientTls;

#[cfg(feature = "tls")]
pub(crate) use self::connector::Limit;
#[cfg(feature = "tls")]
pub(crate) use self::failure::{TlsFailure, cannot_speak};
#[cfg(feature = "tls")]
use crate::tls::client::TlsStream;

/// What the kernel has measured on the way to the peer of a TCP connection; `None` for other sockets and
/// where the system does not tell, which is everywhere but on Linux.
pub fn way(socket: &impl AsFd) -> Option<Way> {
    crate::sys::way::way(usize::try_from(socket.as_fd().as_raw_fd()).ok()?)
}
