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
mod signals;
mod socket_file;
pub(crate) mod stream;
pub(crate) mod table;
mod thread;
mod totals;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

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

/// What holds for the whole server; [`Config`] gives each one's default and the reason for it.
impl Server {
    /// How many connections may be open at a time.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.config.max_connections = Some(count);
        self
    }

    /// How many connections may be open from one IPv4 address or one IPv6 /64.
    #[must_use]
    pub fn max_connections_per_ip(mut self, count: usize) -> Self {
        self.config.max_connections_per_ip = Some(count);
        self
    }

    /// How many new connections may come per second.
    #[must_use]
    pub fn max_accept_rate(mut self, per_second: NonZeroU32) -> Self {
        self.config.max_accept_rate = Some(per_second);
        self
    }

    /// How long a connection must have been idle to make room when the server is full; `None`: nobody does.
    #[must_use]
    pub fn idle_reclaim(mut self, idle: Option<Duration>) -> Self {
        self.config.idle_reclaim = idle;
        self
    }

    /// How many callers may be at what comes before the first message, a PROXY header or a TLS handshake.
    #[must_use]
    pub fn max_handshakes(mut self, count: usize) -> Self {
        self.config.max_handshakes = count;
        self
    }

    /// How long callers are still taken once a drain has begun and the server says that it is not ready, so
    /// that balancers have time to notice.
    #[must_use]
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.config.drain_delay = delay;
        self
    }

    /// How long a drain waits.
    #[must_use]
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.config.drain_timeout = limit;
        self
    }

    /// How many threads serve; at least one does.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.config.threads = count.max(1);
        self
    }
}

/// What holds for the connections of this listener; [`Policy`] gives each one's default and the reason for
/// it.
impl Server {
    /// Lets callers from this network in, and, unless another rule allows them, nobody else. Of the rules
    /// that match an address the one with the longest prefix decides; of two alike the one that denies.
    #[must_use]
    pub fn allow(mut self, network: Network) -> Self {
        self.policy.allow.push(network);
        self
    }

    /// Refuses callers from this network; see [`allow`](Self::allow).
    #[must_use]
    pub fn deny(mut self, network: Network) -> Self {
        self.policy.deny.push(network);
        self
    }

    /// Takes callers only by way of proxies of this network, each with a PROXY header that says for whom it
    /// calls.
    #[must_use]
    pub fn proxy_from(mut self, network: Network) -> Self {
        self.policy.proxy_from.push(network);
        self
    }

    /// What happens to callers who are not let in.
    #[must_use]
    pub fn excess(mut self, excess: Excess) -> Self {
        self.policy.excess = excess;
        self
    }

    /// How long a caller may take for its PROXY header, and for its TLS handshake; `None` is for ever.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.handshake_timeout = limit;
        self
    }

    /// How long a connection may be silent between two messages; `None` is for ever.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.idle_timeout = limit;
        self
    }

    /// How long a connection may last; `None` is for ever.
    #[must_use]
    pub fn max_connection_time(mut self, limit: Option<Duration>) -> Self {
        self.policy.max_connection_time = limit;
        self
    }

    /// After how long a connection ends at its next message boundary; `None` is never.
    #[must_use]
    pub fn max_connection_age(mut self, age: Option<Duration>) -> Self {
        self.policy.max_connection_age = age;
        self
    }

    /// How many bytes per second have to come while a message is unfinished; `None`: any number.
    #[must_use]
    pub fn min_receive_rate(mut self, bytes_per_second: Option<NonZeroU32>) -> Self {
        self.policy.min_receive_rate = bytes_per_second;
        self
    }

    /// How long a message may stay unfinished; `None` is for ever.
    #[must_use]
    pub fn message_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.message_timeout = limit;
        self
    }

    /// How long replies may wait while the peer takes nothing; `None` is for ever.
    #[must_use]
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.write_timeout = limit;
        self
    }

    /// The longest message, in bytes.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.policy.max_message = bytes;
        self
    }

    /// How many bytes of replies are gathered before they are sent.
    #[must_use]
    pub fn max_unsent(mut self, bytes: usize) -> Self {
        self.policy.max_unsent = bytes;
        self
    }

    /// How many connections may wait to be accepted.
    #[must_use]
    pub fn backlog(mut self, count: u32) -> Self {
        self.policy.backlog = count;
        self
    }

    /// How long a connection may be silent before the kernel asks whether the peer is alive.
    #[must_use]
    pub fn keepalive_idle(mut self, silence: Duration) -> Self {
        self.policy.keepalive_idle = silence;
        self
    }

    /// How long the kernel waits between two such questions.
    #[must_use]
    pub fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.policy.keepalive_interval = interval;
        self
    }

    /// After how many unanswered questions the peer counts as dead.
    #[must_use]
    pub fn keepalive_probes(mut self, count: u32) -> Self {
        self.policy.keepalive_probes = count;
        self
    }

    /// How long sent bytes may stay unacknowledged before the peer counts as dead.
    #[must_use]
    pub fn user_timeout(mut self, limit: Duration) -> Self {
        self.policy.user_timeout = limit;
        self
    }

    /// Who may connect to a Unix socket, as the mode of its file.
    #[must_use]
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.policy.unix_mode = mode;
        self
    }

    /// The user and the group, by their numbers, that a Unix socket's file is given; `None` leaves it as it
    /// is.
    #[must_use]
    pub fn unix_owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        self.policy.unix_owner = (user, group);
        self
    }
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
