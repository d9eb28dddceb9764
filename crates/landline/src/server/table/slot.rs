//! One connection, as plain data.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use crate::event::PeerAddr;
use crate::server::limits::View;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The slot belongs to no connection.
    Free = 0,
    /// Between two messages.
    Idle = 1,
    /// A message has begun and is not complete.
    Receiving = 2,
    /// The handler or the service has something to do.
    Answering = 3,
    /// Replies wait for the peer to take them.
    Sending = 4,
    /// Our side has ended; what the peer still sends is read away.
    Closing = 5,
    /// What comes before the first message: the two sides agree on how to talk in secret.
    Opening = 6,
}

impl Phase {
    /// Whether a drain has to wait for it.
    pub(crate) fn is_busy(self) -> bool {
        matches!(self, Phase::Receiving | Phase::Answering | Phase::Sending)
    }
}

/// One connection, as plain data. What changes with every message shares a cache line.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// When the phase began, or last made progress: milliseconds of the server's clock.
    since: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Up to which offset of the input every message is answered.
    answered: AtomicU64,
    messages: AtomicU64,
    unsent: AtomicU32,
    phase: AtomicU8,
    framing: AtomicU8,
    thread: AtomicU16,
    _hot: [u64; 2],

    id: AtomicU64,
    /// When it was accepted: microseconds of the server's clock, read then.
    accepted: AtomicU64,
    peer_high: AtomicU64,
    peer_low: AtomicU64,
    peer_port: AtomicU16,
    /// What the peer's fields say: 0 nothing, 1 an address, 2 a process and its user.
    peer_kind: AtomicU8,
    /// Whether TLS is spoken: what was read and sent then means nothing without keys that nobody else has.
    is_tls: AtomicU8,
    _cold: [u8; 2],
    /// How long the PROXY header is with which its stream begins, in bytes: no part of any message.
    header_len: AtomicU16,
    /// The kernel's name for the socket, which no other ever has: a descriptor can be another's by the time
    /// that somebody looks. 0 while nobody asked.
    cookie: AtomicU64,
}

const _: () = assert!(size_of::<Slot>() == 128, "a slot is two cache lines");

/// Who is connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub(crate) peer: PeerAddr,
    /// How long the PROXY header is that named them, in bytes.
    pub(crate) header_len: u16,
    pub(crate) is_tls: bool,
}

impl From<PeerAddr> for Who {
    fn from(peer: PeerAddr) -> Self {
        Self { peer, header_len: 0, is_tls: false }
    }
}

/// Where and when a connection begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    pub(crate) thread: usize,
    /// Milliseconds of the server's clock, as of the thread's last sweep.
    pub(crate) now: u64,
    /// Microseconds of the server's clock, read now.
    pub(crate) accepted: u64,
}

impl Slot {
    pub(super) fn begin(&self, id: u64, who: Who, entry: Entry, cookie: u64) {
        let Who { peer, header_len, is_tls } = who;
        self.is_tls.store(is_tls.into(), Relaxed);
        self.cookie.store(cookie, Relaxed);
        self.header_len.store(header_len, Relaxed);
        for counter in [&self.bytes_in, &self.answered] {
            counter.store(header_len.into(), Relaxed);
        }
        for counter in [&self.bytes_out, &self.messages] {
            counter.store(0, Relaxed);
        }
        self.unsent.store(0, Relaxed);
        self.framing.store(0, Relaxed);
        self.set_thread(entry.thread);
        self.id.store(id, Relaxed);
        self.accepted.store(entry.accepted, Relaxed);
        let (kind, high, low, port) = match peer {
            PeerAddr::Ip(address) => {
                let bits = match address.ip() {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
                    IpAddr::V6(v6) => v6.to_bits(),
                };
                #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
                let halves = ((bits >> 64) as u64, bits as u64);
                (1, halves.0, halves.1, address.port())
            }
            PeerAddr::Local { pid, uid } => (2, u64::from(pid), u64::from(uid), 0),
            PeerAddr::Unnamed => (0, 0, 0, 0),
        };
        self.peer_high.store(high, Relaxed);
        self.peer_low.store(low, Relaxed);
        self.peer_port.store(port, Relaxed);
        self.peer_kind.store(kind, Relaxed);
        self.set_phase(Phase::Idle, entry.now);
    }

    pub(crate) fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    pub(crate) fn peer(&self) -> PeerAddr {
        let (high, low) = (self.peer_high.load(Relaxed), self.peer_low.load(Relaxed));
        let half = |word: u64| u32::try_from(word).unwrap_or(0);
        match self.peer_kind.load(Relaxed) {
            1 => {
                let ip = IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)));
                PeerAddr::Ip(SocketAddr::new(ip.to_canonical(), self.peer_port.load(Relaxed)))
            }
            2 => PeerAddr::Local { pid: half(high), uid: half(low) },
            _ => PeerAddr::Unnamed,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            1 => Phase::Idle,
            2 => Phase::Receiving,
            3 => Phase::Answering,
            4 => Phase::Sending,
            5 => Phase::Closing,
            6 => Phase::Opening,
            _ => Phase::Free,
        }
    }

    /// It is no other process's to go on with.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn keep_to_oneself(&self) {
        self.cookie.store(0, Relaxed);
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn cookie(&self) -> u64 {
        self.cookie.load(Relaxed)
    }

    /// The framing's number, 0 for a handler of the first level.
    pub(crate) fn framing(&self) -> u8 {
        self.framing.load(Relaxed)
    }

    /// Up to which offset of the input every message is answered.
    pub(crate) fn answered_to(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Where it stands, by the counts of others.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn set_position(&self, answered: u64, received: u64, sent: u64) {
        self.answered.store(answered, Relaxed);
        self.bytes_in.store(received, Relaxed);
        self.bytes_out.store(sent, Relaxed);
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    /// Whether nothing was received or sent beyond its header, by what its worker has counted.
    pub(crate) fn is_untouched(&self) -> bool {
        (self.bytes_in(), self.bytes_out()) == (u64::from(self.header_len()), 0)
    }

    /// Whether TLS is spoken.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls.load(Relaxed) != 0
    }

    /// Says whether TLS is spoken; only of a connection on which nothing was.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn set_tls(&self, is_tls: bool) {
        self.is_tls.store(is_tls.into(), Relaxed);
    }

    /// How long the PROXY header is with which its stream begins.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn header_len(&self) -> u16 {
        self.header_len.load(Relaxed)
    }

    /// Belongs to no connection any more.
    pub(crate) fn clear(&self) {
        self.set_phase(Phase::Free, 0);
    }

    /// When it was accepted: microseconds of the server's clock.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// What the time limits have to know.
    pub(crate) fn view(&self) -> View {
        View {
            id: self.id(),
            phase: self.phase(),
            since: self.since.load(Relaxed),
            accepted: self.accepted() / 1000,
            unfinished: self.bytes_in().saturating_sub(self.answered.load(Relaxed)),
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase, now: u64) {
        self.since.store(now, Relaxed);
        // Whoever finds a connection in the slot finds all of it.
        self.phase.store(phase as u8, Release);
    }

    pub(crate) fn set_framing(&self, framing: u8) {
        self.framing.store(framing, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.bytes_in, bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.bytes_out, bytes as u64);
    }

    /// One more message is answered.
    pub(crate) fn answered(&self) {
        add(&self.messages, 1);
    }

    /// Every message up to this many bytes further in the input is answered.
    pub(crate) fn consumed(&self, bytes: usize) {
        add(&self.answered, bytes as u64);
    }

    pub(crate) fn set_unsent(&self, bytes: usize) {
        self.unsent.store(u32::try_from(bytes).unwrap_or(u32::MAX), Relaxed);
    }

    pub(crate) fn unsent(&self) -> u32 {
        self.unsent.load(Relaxed)
    }

    pub(super) fn set_thread(&self, thread: usize) {
        self.thread.store(u16::try_from(thread).unwrap_or(u16::MAX), Relaxed);
    }

    pub(crate) fn thread(&self) -> u16 {
        self.thread.load(Relaxed)
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }
}

/// Adds to a counter that only this thread writes: an ordinary addition, which others may read.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}
