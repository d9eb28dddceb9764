//! When the steps of a connection were taken, for those who want numbers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landline::client::{Step, Stream, Way};

use super::{Seen, Watcher};

/// What a connection has taken so far, each counted from the start of the program.
#[derive(Debug, Default, Clone)]
pub(in crate::call) struct Times {
    resolving: Option<Duration>,
    resolved: Option<Duration>,
    connected: Option<Duration>,
    secured: Option<Duration>,
    /// The first byte of what was sent last, and the first that came after it.
    sent: Option<Duration>,
    received: Option<Duration>,
    pub(in crate::call) bytes_sent: u64,
    pub(in crate::call) bytes_received: u64,
    pub(in crate::call) peer: Option<SocketAddr>,
    pub(in crate::call) local: Option<SocketAddr>,
    pub(in crate::call) tls: Option<&'static str>,
    pub(in crate::call) alpn: Option<Vec<u8>>,
    /// What the kernel said when something passed last.
    pub(in crate::call) way: Option<Way>,
}

impl Times {
    /// What looking the name up took; of an IP address, next to nothing.
    pub(in crate::call) fn resolve(&self) -> Option<Duration> {
        self.resolved?.checked_sub(self.resolving?)
    }

    /// What TCP took, from the first attempt to the one that succeeded.
    pub(in crate::call) fn connect(&self) -> Option<Duration> {
        self.connected?.checked_sub(self.resolved?)
    }

    pub(in crate::call) fn tls(&self) -> Option<Duration> {
        self.secured?.checked_sub(self.connected?)
    }

    pub(in crate::call) fn first_byte(&self) -> Option<Duration> {
        self.received?.checked_sub(self.sent?)
    }
}

/// Times that are kept while somebody else reads them.
pub(in crate::call) type Shared = Arc<Mutex<Times>>;

pub(super) struct Clock(pub(super) Shared);

impl Watcher for Clock {
    fn see(&mut self, at: Duration, seen: &Seen<'_>, stream: Option<&Stream>) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen {
            Seen::Step(Step::Resolving { .. }) => *times = Times { resolving: Some(at), ..Times::default() },
            Seen::Step(Step::Resolved { .. }) => times.resolved = Some(at),
            // A Unix socket has no name to look up.
            Seen::Step(Step::Trying { .. }) if times.resolving.is_none() || times.connected.is_some() => {
                *times = Times { resolved: Some(at), ..Times::default() };
            }
            Seen::Step(Step::Connected { stream }) => {
                times.connected = Some(at);
                (times.peer, times.local) = (stream.peer_addr(), stream.local_addr());
            }
            Seen::Step(Step::Secured { stream }) => {
                times.secured = Some(at);
                (times.tls, times.alpn) = (stream.tls_version(), stream.alpn().map(<[u8]>::to_vec));
            }
            Seen::Sent(bytes) => {
                times.bytes_sent += bytes.len() as u64;
                times.way = stream.and_then(Stream::way);
                (times.sent, times.received) = (Some(at), None);
            }
            Seen::Received(bytes) => {
                times.bytes_received += bytes.len() as u64;
                times.way = stream.and_then(Stream::way);
                times.received.get_or_insert(at);
            }
            _ => {}
        }
    }
}
