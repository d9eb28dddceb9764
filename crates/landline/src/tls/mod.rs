//! TLS for listeners: who a server says it is, whom it lets in, and what of that can change while it runs.
//!
//! ```no_run
//! use landline::tls::Tls;
//! use landline::{Echo, Framing, Outcome, Server, framed};
//!
//! fn main() -> Outcome {
//!     let (chain, key) = (std::fs::read("chain.pem")?, std::fs::read("key.pem")?);
//!     let tls = Tls::builder().identity(&chain, &key).build()?;
//!     let _ = Server::bind(":8443")?.tls(tls).serve(framed(Framing::Line, Echo)).run()?;
//!     Ok(())
//! }
//! ```
//!
//! A connection begins with a handshake, which has to be over within
//! [`handshake_timeout`](crate::Policy::handshake_timeout). What serves it sees plain bytes, and is not asked
//! before.
//!
//! **The end of a stream.** A peer ends its side with a `close_notify`. One that closes its socket without it
//! may have been cut short by somebody else on the way: all complete messages are answered, but what is left
//! is no message, and a handler of the first level gets an error
//! ([`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof)) where the end would be. Our side ends with a
//! `close_notify`.
//!
//! **Sessions** can be resumed where they began and nowhere else: every [`Tls`] has keys of its own for that,
//! so that nobody who was let in by one set of rules gets in by another.

mod builder;
pub(crate) mod client;
mod clients;
mod engine;
mod files;
mod identity;
mod pem;
mod renewal;
mod secured;
mod self_signed;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod untrusted;
mod words;

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;

pub use builder::{TlsBuilder, TlsVersion};
pub use files::TlsFiles;
pub use self_signed::{SelfSigned, self_signed};

pub(crate) use renewal::{Source, Terms};
pub(crate) use secured::{HandshakeFault, Secured};

/// What a listener needs to speak TLS, checked and complete. It is used for one listener, and never changes;
/// a running server can be [given another](crate::Server::tls_source).
pub struct Tls {
    rules: Arc<ServerConfig>,
    fingerprint: String,
}

impl Tls {
    /// Where to begin: with no identity, TLS 1.2 or later, and no questions to clients.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// The SHA-256 of the first identity's certificate, in hexadecimal with colons, as other tools show it:
    /// what somebody compares who is to trust a certificate that nobody else vouches for.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn rules(&self) -> &Arc<ServerConfig> {
        &self.rules
    }
}

/// Nothing of its keys.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.fingerprint)
    }
}
