//! Servers: listen, let callers in, serve them, end in order.

mod accept;
mod access;
mod activation;
mod admission;
pub(crate) mod checkpoint;
mod config;
mod connection;
mod crew;
mod door;
mod drain;
mod drive;
mod fleet;
mod handler;
mod host;
mod limits;
pub(crate) mod link;
mod listen;
mod listener;
mod local;
mod monitor;
#[cfg(all(target_os = "linux", feature = "takeover"))]
mod parting;
mod peer;
mod plan;
mod probe;
mod proxied;
mod push;
mod reclaim;
#[cfg(all(target_os = "linux", feature = "takeover"))]
mod recover;
mod reload;
mod run;
pub(crate) mod sampler;
mod seldom;
mod settings;
mod signals;
mod socket_file;
pub(crate) mod stream;
pub(crate) mod table;
mod thread;
mod totals;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::address::Address;
use crate::error::Error;
#[cfg(feature = "tls")]
use crate::error::{Kind, Outcome};
use crate::event::Subscriber;
#[cfg(feature = "tls")]
use crate::tls::{self, Tls};

use listener::{Listener, Serve};

pub use access::Network;
pub(crate) use admission::Handshake;
pub use config::{Config, Excess, MAX_CONNECTIONS, Policy};
pub use connection::{Connection, WaitForDrain};
pub use drain::{CutConnection, DrainReport};
pub(crate) use drive::drive;
pub use handler::{AnyHandler, Handler};
pub(crate) use listen::Bound;
pub use listen::ListenAddr;
pub use monitor::{CloseError, ConnectionInfo, Monitor, State};
pub use peer::Peer;
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) use plan::TABLE_MAX;
pub use push::{PushError, Sender};
pub use run::{Running, Serving};
#[cfg(feature = "metrics")]
pub(crate) use sampler::MESSAGES_PER_SAMPLE;
pub(crate) use signals::Ask;
pub use totals::{AcceptQueue, Totals};

/// A server that listens already and does not serve yet.
///
/// ```no_run
/// use landline::{Framing, Reply, Server, framed, service};
///
/// fn main() -> Result<(), landline::Error> {
///     let upper = service(async |message: &[u8], reply: &mut Reply| {
///         reply.send(&message.to_ascii_uppercase());
///         Ok(())
///     });
///     Server::bind("127.0.0.1:8081")?.serve(framed(Framing::Line, upper)).run()?;
///     Ok(())
/// }
/// ```
pub struct Server {
    bound: Vec<Arc<Bound>>,
    config: Config,
    policy: Policy,
    subscriber: Option<Box<dyn Subscriber>>,
    monitor: Monitor,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    #[cfg(feature = "tls")]
    tls_source: Option<tls::Source>,
}

impl Server {
    /// Listens on an address, at once: callers can connect from here on, and are served once the server runs.
    /// A name listens on each of its addresses; `:PORT` on all of this machine, IPv6 and IPv4; port 0 on a
    /// free one. The file of a Unix socket can be opened by its owner only until the server runs; one that a
    /// server which is gone has left is replaced, one at which somebody listens is not. A descriptor is
    /// the server's from then on.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) for what is no address, [`is_resolve`](Error::is_resolve) for a name
    /// that nobody knows, [`is_listen`](Error::is_listen) when the address can't be had.
    pub fn bind<A>(address: A) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        Self::listen(&address.try_into()?)
    }

    fn listen(address: &Address) -> Result<Self, Error> {
        Ok(Self::on(listen::listen(address, Policy::default().backlog)?))
    }

    /// A server on sockets that listen already.
    fn on(bound: Vec<Arc<Bound>>) -> Self {
        Self {
            bound,
            config: Config::default(),
            policy: Policy::default(),
            subscriber: None,
            monitor: Monitor::default(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            tls_source: None,
        }
    }

    /// What it listens on.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn into_bound(self) -> Vec<Arc<Bound>> {
        self.bound
    }

    /// The first address of the network that it listens on; `0.0.0.0:0` if it has only Unix sockets. The port
    /// is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        first_ip(&self.local_addrs())
    }

    /// Every address it listens on, at least one.
    pub fn local_addrs(&self) -> Vec<ListenAddr> {
        self.bound.iter().map(|bound| bound.address.clone()).collect()
    }

    /// A handle to look at the server while it runs, and to steer it.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Who is told what happens. Default: nobody.
    #[must_use]
    pub fn events(mut self, subscriber: impl Subscriber) -> Self {
        self.subscriber = Some(Box::new(subscriber));
        self
    }

    /// What will serve the connections: a closure, a [`Handler`], or a service made into one by
    /// [`framed`](crate::framed).
    pub fn serve<H: Handler>(self, handler: H) -> Serving {
        let (policy, server): (_, Arc<dyn Serve>) = (Arc::new(self.policy), Arc::new(handler));
        #[cfg(feature = "tls")]
        let misfit = (self.tls.is_none() && self.tls_source.is_some()).then(|| {
            let cause = "there is nothing to begin with; give it what it is to speak TLS with at first";
            Error::new(Kind::Config, "cannot renew the certificates of a listener", cause)
        });
        #[cfg(not(feature = "tls"))]
        let misfit = None;
        #[cfg(feature = "tls")]
        let tls = self.tls.map(|tls| tls::Terms::new(&tls, self.tls_source));
        #[cfg(not(feature = "tls"))]
        let tls = None;
        let listener = |bound| Listener { tls: tls.clone(), ..Listener::new(bound, &policy, &server) };
        Serving {
            listeners: self.bound.into_iter().map(|bound| Arc::new(listener(bound))).collect(),
            config: self.config,
            subscriber: self.subscriber,
            monitor: self.monitor,
            reload: None,
            misfit,
        }
    }

    /// Speaks TLS with whoever calls here. Callers who are not let in are closed without a word, whatever
    /// [`excess`](Self::excess) says of words: in plain text they would not be understood.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Has `source` asked about every two seconds whether there is another [`Tls`] to go by, for as long as
    /// the listener is there: on a thread of its own, so that it may take its time. Handshakes that begin
    /// after it has given one go by it; live connections keep theirs. Both that and an error, which changes
    /// nothing, is told in an event ([`CertificatesReloaded`](crate::Event::CertificatesReloaded),
    /// [`CertificatesRefused`](crate::Event::CertificatesRefused)). [`TlsFiles`](crate::tls::TlsFiles) makes
    /// such a source. Without [`tls`](Self::tls) to begin with, running is an error
    /// ([`is_config`](Error::is_config)).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_source(mut self, source: impl FnMut() -> Outcome<Option<Tls>> + Send + 'static) -> Self {
        self.tls_source = Some(Box::new(source));
        self
    }
}

/// The first address of the network among these, or none.
fn first_ip(addresses: &[ListenAddr]) -> SocketAddr {
    addresses.iter().find_map(ListenAddr::ip).unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.local_addrs())
            .field("config", &self.config)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
