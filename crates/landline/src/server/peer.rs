//! Who is at the other end of a connection.

use std::cell::OnceCell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::checkpoint::Checkpoints;
use super::config::Policy;
use super::push::{Outbox, Sender};
use super::table::{Seat, Slot};
use crate::event::PeerAddr;
use crate::frame::Framing;

/// Who is at the other end of a connection.
pub struct Peer {
    /// Where all that is known of it is kept.
    seat: Seat,
    policy: Arc<Policy>,
    /// What is to be pushed to it; made when somebody asks for a sender.
    outbox: OnceCell<Arc<Outbox>>,
}

impl Peer {
    pub(crate) fn new(seat: Seat, policy: Arc<Policy>) -> Self {
        Self { seat, policy, outbox: OnceCell::new() }
    }

    /// The limits that its connection began with.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.seat.slot()
    }

    /// How far its connection is, if that is kept.
    #[inline]
    pub(crate) fn checkpoints(&self) -> Option<&Checkpoints> {
        self.seat.checkpoints()
    }

    /// The number of its connection's descriptor, which is also that of its slot.
    pub(crate) fn descriptor(&self) -> usize {
        self.seat.descriptor()
    }

    /// Clears the slot: of this peer nothing is known any more.
    pub(crate) fn vacate(&mut self) {
        self.seat.vacate();
    }

    /// The connection's number: unique while the server runs, counted from 1.
    pub fn id(&self) -> u64 {
        self.slot().id()
    }

    /// Its address; an IPv4 address that came through an IPv6 socket is given as IPv4. `None` where there is
    /// none, as on Unix sockets and in tests.
    pub fn addr(&self) -> Option<SocketAddr> {
        match self.name() {
            PeerAddr::Ip(address) => Some(address),
            _ => None,
        }
    }

    /// Who it is, by whatever is known of it.
    pub fn name(&self) -> PeerAddr {
        self.slot().peer()
    }

    /// A handle to push messages to this peer, from any thread and at any time. Every call returns a handle
    /// to the same queue, which holds up to `max_unsent` bytes.
    ///
    /// It is served by [`framed`](crate::framed), between two batches of replies. A handler of the first
    /// level writes to its connection itself, and what is pushed to one is never sent.
    pub fn sender(&self) -> Sender {
        let outbox = self.outbox.get_or_init(|| Outbox::new(self.framing(), self.policy.max_unsent));
        Sender::new(Arc::clone(outbox))
    }

    /// Messages to this peer are delimited like this from now on.
    pub(crate) fn set_framing(&self, framing: Framing) {
        self.slot().set_framing(1 + framing as u8);
    }

    /// How messages to it are delimited; `raw` while nobody said.
    pub(crate) fn framing(&self) -> Framing {
        let number = usize::from(self.slot().framing());
        number.checked_sub(1).and_then(|index| Framing::ALL.get(index)).copied().unwrap_or(Framing::Raw)
    }

    pub(crate) fn outbox(&self) -> Option<&Outbox> {
        self.outbox.get().map(Arc::as_ref)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            PeerAddr::Unnamed => write!(f, "Peer(#{})", self.id()),
            name => write!(f, "Peer(#{}, {name})", self.id()),
        }
    }
}
