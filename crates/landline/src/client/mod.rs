//! The other end: connect, ask, get answers.
//!
//! [`connect`] gives a bare stream by whichever address of a name answers first. [`Conversation`] holds a
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
//! With the feature `tls`, `Options::tls` has a client speak TLS, and `ClientTls::connect` gives a bare
//! stream that does.
//!
//! A client does not connect again by itself, and it asks one thing at a time.

mod connect;
mod conversation;
mod failure;
mod race;
mod stream;

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

pub use connect::connect;
pub use conversation::Conversation;
pub use failure::{TLS_ALERTS_LEN_MAX, lost, speaks_tls};

pub use crate::sys::socket::Way;
#[cfg(feature = "tls")]
pub use crate::tls::client::{ClientTls, TlsStream};

#[cfg(feature = "tls")]
pub(crate) use self::failure::{TlsFailure, cannot_speak};
use self::stream::Stream;
use crate::address::Address;
use crate::error::Error;
use crate::frame::{Ending, Framing};

/// How a [`Conversation`] connects and talks.
#[derive(Debug, Clone)]
#[must_use = "options do nothing until converse is called"]
pub struct Options {
    framing: Framing,
    ending: Ending,
    max_message: usize,
    connect_timeout: Option<Duration>,
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
}

impl Options {
    /// The defaults: `line` framing ended by LF, answers up to 1 MiB, 10 s to connect.
    pub fn new() -> Self {
        Self {
            framing: Framing::Line,
            ending: Ending::Lf,
            // What a landline server takes by default, so that an echo of the longest message fits.
            max_message: 1 << 20,
            // Long enough for three lost packets on a slow link, short enough to wait for at a prompt.
            connect_timeout: Some(Duration::from_secs(10)),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// How messages are delimited, both ways. With [`Framing::Raw`] an answer is what one read brings, so it
    /// may be a part of what the server meant, or more.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What ends a message on its way out; only the `line` framing has endings. An answer may end in either.
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// The longest answer, in bytes, delimiters not counted. It bounds the memory that a server can make this
    /// client use; `raw` framing is bound by what arrives before a message is sent. The default is 1 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How long [`connect`](Self::connect) may take, name lookup and TLS handshake included; `None` leaves it
    /// to the operating system. The default is 10 s.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Speaks TLS, in this way. The default is plain text.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Connects; see [`connect`] for how, for the errors and for cancel safety.
    ///
    /// # Errors
    /// As [`connect`], and whatever is wrong with the address itself ([`is_config`](Error::is_config)). With
    /// TLS, those of `ClientTls::connect`.
    pub async fn converse<A>(self, address: A) -> Result<Conversation, Error>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let stream = self.reach(&address).await?;
        Ok(Conversation::new(stream, address, &self))
    }

    async fn reach(&self, address: &Address) -> Result<Stream, Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = tls.connect(address, self.connect_timeout).await?;
            return Ok(Stream::Tls(Box::new(stream)));
        }
        Ok(Stream::Plain(connect(address, self.connect_timeout).await?))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// What the kernel has measured on the way to the peer of a TCP connection; `None` for other sockets and
/// where the system does not tell, which is everywhere but on Linux.
pub fn way(socket: &impl AsFd) -> Option<Way> {
    crate::sys::socket::way(usize::try_from(socket.as_fd().as_raw_fd()).ok()?)
}
