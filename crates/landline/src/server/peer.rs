//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Weak;

use super::link::Link;
use super::push::{Outbox, Sender};

/// Who is at the other end of a connection.
pub struct Peer {
    link: Weak<Link>,
    id: u64,
    addr: Option<SocketAddr>,
}

impl Peer {
    pub(crate) fn new(link: Weak<Link>, id: u64, addr: Option<SocketAddr>) -> Self {
        Self { link, id, addr }
    }

    /// The connection's number: unique while the server runs, counted from 1.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its address; an IPv4 address that came through an IPv6 socket is given as IPv4. `None` where there is none, as in tests.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// A handle to push messages to this peer, from any thread and at any time. Every call returns a handle to the same queue, which
    /// holds up to `max_unsent` bytes.
    ///
    /// It is served by [`framed`](crate::framed), between two batches of replies. A handler of the first level writes to its
    /// connection itself, and what is pushed to one is never sent.
    pub fn sender(&self) -> Sender {
        let Some(link) = self.link.upgrade() else {
            return Sender::closed();
        };
        let outbox =
            link.outbox.get_or_init(|| Outbox::new(link.framing.get(), link.local().config.max_unsent));
        Sender::new(outbox.clone())
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(addr) => write!(f, "Peer(#{}, {addr})", self.id),
            None => write!(f, "Peer(#{})", self.id),
        }
    }
}
