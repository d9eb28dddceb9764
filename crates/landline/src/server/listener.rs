//! A listener: a socket that listens, its policy, and who serves those who call there.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use super::access::Access;
use super::admission::Handshake;
use super::config::{Config, Excess, Policy};
use super::drive::drive;
use super::handler::Handler;
use super::link::Link;
use super::listen::Bound;
#[cfg(all(target_os = "linux", feature = "takeover"))]
use super::peer::Peer;
use super::stream::Stream;
use crate::buffer::Pool;
use crate::error::{Error, Kind};
use crate::event::{Event, PeerAddr, Subscriber};
use crate::tls::Terms;

/// A listening socket with its policy.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) bound: Arc<Bound>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) access: Arc<Access>,
    pub(crate) server: Arc<dyn Serve>,
    /// The terms on which it speaks TLS, if it does.
    pub(crate) tls: Option<Arc<Terms>>,
}

/// Any handler. It is chosen once for each connection and then runs as what it is, so that a connection costs
/// no more for there being several kinds.
pub(crate) trait Serve: Send + Sync {
    /// Serves one connection on this thread, from now on.
    fn serve(self: Arc<Self>, link: Rc<Link>);

    /// Whether it can go on with connections that another process began.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    fn resumes(&self) -> bool;

    /// Whether another process could go on with a connection whose session was put down so.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool;
}

impl<H: Handler> Serve for H {
    fn serve(self: Arc<Self>, link: Rc<Link>) {
        tokio::task::spawn_local(drive(self, link));
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    fn resumes(&self) -> bool {
        Handler::resumes(self)
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    fn can_resume(&self, peer: &Peer, saved: &[u8]) -> bool {
        Handler::can_resume(self, peer, saved)
    }
}

impl Listener {
    pub(crate) fn new(bound: Arc<Bound>, policy: &Arc<Policy>, server: &Arc<dyn Serve>) -> Self {
        let access = Arc::new(Access::new(&policy.allow, &policy.deny));
        Self { bound, policy: Arc::clone(policy), access, server: Arc::clone(server), tls: None }
    }

    /// What a connection's bytes go through that came by it, and counts as being at its handshake if it has
    /// one before it.
    pub(crate) fn stream(
        &self,
        socket: OwnedFd,
        pool: &Rc<Pool>,
        handshake: Option<Handshake>,
    ) -> io::Result<Stream> {
        match &self.tls {
            Some(terms) => Stream::tls(socket, terms, pool, handshake),
            None => Stream::socket(socket),
        }
    }

    /// Says that it takes callers.
    pub(crate) fn tell(&self, events: &dyn Subscriber) {
        if events.wants_steps() {
            self.bound.tell_steps(self.policy.backlog, events);
        }
        events.event(&Event::Listening { address: self.bound.address.clone() });
    }

    /// Begins to renew what it speaks TLS with, if that can be renewed.
    pub(crate) fn renew(&self, events: &Arc<dyn Subscriber>) {
        if let Some(terms) = &self.tls {
            terms.renew(&self.bound.address, events);
        }
    }

    /// Whether TLS is spoken there.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What it does for callers who are not let in: in plain text nobody is told anything who speaks TLS.
    pub(crate) fn excess(&self) -> Excess {
        match self.policy.excess {
            Excess::Say if self.is_tls() => Excess::Close,
            excess => excess,
        }
    }

    /// Whether something comes before the first message.
    pub(crate) fn has_handshakes(&self) -> bool {
        self.has_proxies() || self.is_tls()
    }

    /// Whether callers come by way of proxies.
    pub(crate) fn has_proxies(&self) -> bool {
        !self.policy.proxy_from.is_empty()
    }

    /// Whether this is one of the proxies that may call. Who opens the file of a Unix socket may.
    pub(crate) fn is_proxy(&self, peer: PeerAddr) -> bool {
        match peer {
            PeerAddr::Ip(address) => {
                let ip = address.ip().to_canonical();
                self.policy.proxy_from.iter().any(|network| network.contains(ip))
            }
            PeerAddr::Local { .. } | PeerAddr::Unnamed => true,
        }
    }

    /// Callers can't be left waiting for a verdict that needs to know who they are.
    pub(crate) fn check(&self, config: &Config) -> Result<(), Error> {
        let knows_callers = config.max_connections_per_ip.is_some()
            || config.max_accept_rate.is_some()
            || !(self.policy.allow.is_empty() && self.policy.deny.is_empty());
        if self.policy.excess == Excess::Wait && knows_callers {
            let cause = "limits by address or rate have to accept callers before they can refuse them";
            return Err(Error::new(Kind::Config, "cannot leave callers waiting", cause));
        }
        Ok(())
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.bound.address)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
