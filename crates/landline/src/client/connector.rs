//! How a server is reached.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "tls")]
use super::ClientTls;
use super::connect::reach;
use super::stream::Stream;
use crate::address::Address;
use crate::error::{Error, Kind};
use crate::server::ListenAddr;

/// How to reach a server: in what time, from where, with TLS or without.
///
/// ```no_run
/// use landline::client::{Connector, Family};
/// use tokio::io::AsyncWriteExt;
///
/// # async fn call() -> Result<(), Box<dyn std::error::Error>> {
/// let mut stream = Connector::new().family(Family::V6).connect(&"example.com:7".parse()?).await?;
/// stream.write_all(b"hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it connects"]
pub struct Connector {
    timeout: Option<Duration>,
    pub(super) family: Option<Family>,
    pub(super) source: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
    observer: Option<Arc<Observer>>,
}

type Observer = dyn Fn(&Step<'_>) + Send + Sync;

/// A family of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A step on the way to a server, as it is taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The addresses of a name are asked for.
    Resolving {
        /// The name; an IP address is its own name.
        host: &'a str,
    },
    /// The name has these addresses, in the order in which the system gave them.
    Resolved {
        /// They are not empty.
        addresses: &'a [SocketAddr],
    },
    /// An attempt begins. Others may be under way.
    Trying {
        /// Where.
        listener: &'a ListenAddr,
    },
    /// An attempt has failed.
    Failed {
        /// Where.
        listener: &'a ListenAddr,
        /// Why.
        cause: &'a io::Error,
    },
    /// The first attempt has succeeded; the others are given up.
    Connected {
        /// The connection, in plain text so far.
        stream: &'a Stream,
    },
    /// The TLS handshake is done.
    Secured {
        /// The connection.
        stream: &'a Stream,
    },
}

impl Connector {
    /// The defaults: plain text, 10 s, either family, and from wherever the system chooses.
    pub fn new() -> Self {
        Self {
            // Long enough for three lost packets on a slow link, short enough to wait for at a prompt.
            timeout: Some(Duration::from_secs(10)),
            family: None,
            source: None,
            #[cfg(feature = "tls")]
            tls: None,
            observer: None,
        }
    }

    /// How long all of it may take, from the name lookup to the end of a TLS handshake; `None` leaves it to
    /// the operating system, which on Linux takes about two minutes for an address that never answers. The
    /// default is 10 s.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Uses addresses of this family only. It has no meaning for a Unix socket.
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Calls from this address of this machine, and from this port unless it is 0; only addresses of its
    /// family are then used. It has no meaning for a Unix socket.
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Speaks TLS, in this way. The default is plain text.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Tells `observer` of each step as it is taken. It is called in the task that connects, so it should be
    /// quick.
    pub fn observe(mut self, observer: impl Fn(&Step<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Connects to `address`, by whichever of its IP addresses answers first, then speaks TLS there if that
    /// is wanted.
    ///
    /// A name is resolved; its addresses are tried in the manner of RFC 8305 ("happy eyeballs"): IPv6 and
    /// IPv4 take turns, an attempt that has not ended after 250 ms gets the next one beside it, the first
    /// that succeeds is used and the others are dropped. So a dead IPv6 address costs a quarter of a second.
    /// `:PORT` means this machine, under `::1` or `127.0.0.1`. The connection has `TCP_NODELAY` set: small
    /// messages leave at once.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) for an inherited descriptor, and for a source that is no address of
    /// this machine or a port that is taken. [`is_resolve`](Error::is_resolve) when the name has no address,
    /// or none of the family. [`is_connect`](Error::is_connect) when every address refused or can't be
    /// reached (the error tells of the one that came nearest to an answer), [`is_lost`](Error::is_lost) when
    /// the peer took the connection and reset it at once, and [`is_timeout`](Error::is_timeout) when there
    /// was no answer in time.
    ///
    /// With TLS, [`is_tls`](Error::is_tls) when the handshake failed, be it that the server is not who it has
    /// to be, that it refuses, or that it does not speak TLS, and when the system names nobody to trust;
    /// [`tls_trouble`](Error::tls_trouble) says which. [`is_config`](Error::is_config) also when the host
    /// can't be a name in a certificate. A server with TLS 1.3 may refuse our certificate, or the lack of
    /// one, only after this has returned: then reading says so.
    ///
    /// # Cancel safety
    /// Dropping the future drops every attempt and closes what was connected. A name lookup that has begun
    /// goes on in a background thread until the system's resolver gives up; its result is thrown away.
    pub async fn connect(&self, address: &Address) -> Result<Stream, Error> {
        let limit = Limit::new(self.timeout);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            // What is wrong with our own side is said before anybody is called.
            let terms = tls.terms(address)?;
            let stream = Stream::tls(terms.secure(reach(self, address, &limit).await?, &limit).await?);
            self.tell(&Step::Secured { stream: &stream });
            return Ok(stream);
        }
        reach(self, address, &limit).await
    }

    pub(super) fn tell(&self, step: &Step<'_>) {
        if let Some(observer) = &self.observer {
            observer(step);
        }
    }

    /// Whether an address is of a family that may be used.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        let of_source = self.source.is_none_or(|source| source.is_ipv4() == ip.is_ipv4());
        of_source
            && match self.family {
                None => true,
                Some(Family::V4) => ip.is_ipv4(),
                Some(Family::V6) => ip.is_ipv6(),
            }
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut form = f.debug_struct("Connector");
        form.field("timeout", &self.timeout).field("family", &self.family).field("source", &self.source);
        #[cfg(feature = "tls")]
        form.field("tls", &self.tls);
        form.field("observed", &self.observer.is_some()).finish()
    }
}

/// Until when it all has to be done.
#[derive(Debug)]
pub(crate) struct Limit(Option<(Duration, Instant)>);

impl Limit {
    fn new(timeout: Option<Duration>) -> Self {
        Self(timeout.map(|limit| (limit, Instant::now() + limit)))
    }

    /// Runs `work`; `late` is its error when it is not done in time, given how long that was.
    pub(crate) async fn bound<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
        late: impl FnOnce(Duration) -> Error,
    ) -> Result<T, Error> {
        match self.0 {
            None => work.await,
            Some((limit, deadline)) => {
                tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late(limit)))
            }
        }
    }
}

/// The error for a connection that can't be made because of what was asked for.
pub(super) fn impossible(address: &Address, cause: impl Into<String>) -> Error {
    Error::new(Kind::Config, format!("cannot connect to {address}"), cause)
}
