//! The connection table: one fixed-size slot of plain data for every connection, indexed by descriptor
//! number.
//!
//! It holds the truth about every connection. Admission counts on it, drain reads it, and nothing in it is a
//! pointer, so that it could lie in memory that outlives the process. A slot is written by the thread that
//! owns the connection, between accept and close, and may be read by any: each field is an atomic, and a
//! reader can see two fields of different moments.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};

use tokio::sync::Notify;

use super::checkpoint::Checkpoints;
use super::limits::View;
use crate::event::PeerAddr;
use crate::sys::arena::Arena;
use crate::sys::region::Region;
use crate::sys::socket;

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

/// What a table knows beside its connections.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Head {
    last_id: AtomicU64,
    /// The highest descriptor that ever had a connection: a table can have far more slots than are ever
    /// used.
    highest: AtomicUsize,
    /// When the server's clock began, in microseconds of the machine's; 0 before it did.
    epoch: AtomicU64,
}

impl Head {
    /// How many slots were ever used, from the first on.
    pub(crate) fn used(&self) -> usize {
        self.highest.load(Relaxed).saturating_add(1)
    }
}

/// Memory that outlives the process: with it another process can go on with connections.
#[derive(Debug)]
pub(crate) struct Lasting {
    /// How far each connection is.
    pub(crate) checkpoints: Region<Checkpoints>,
    /// Where what it has received and has to send lies.
    pub(crate) arena: &'static Arena,
}

/// The table of all connections of a server.
#[derive(Debug)]
pub(crate) struct Table {
    head: Region<Head>,
    slots: Region<Slot>,
    /// What it takes for connections to outlive the process, if they are to.
    lasting: Option<Lasting>,
    /// How many connections are admitted. This, not a count of slots, is what the limit is held against: a
    /// connection counts from the moment it is let in.
    open: AtomicUsize,
    /// Whether somebody waits for a place, and how to tell them.
    wanted: AtomicBool,
    freed: Notify,
}

impl Table {
    /// A table for descriptors below `capacity`, in memory of its own.
    pub(crate) fn new(capacity: usize) -> io::Result<Arc<Self>> {
        Ok(Self::over(Region::new(1)?, Region::new(capacity)?, None))
    }

    /// A table in memory that outlives the process. It begins with the connections that are in it.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn within(head: &'static [Head], slots: &'static [Slot], lasting: Lasting) -> Arc<Self> {
        Self::over(Region::shared(head), Region::shared(slots), Some(lasting))
    }

    fn over(head: Region<Head>, slots: Region<Slot>, lasting: Option<Lasting>) -> Arc<Self> {
        Arc::new(Self {
            head,
            slots,
            lasting,
            open: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    /// When the server's clock began, in microseconds of the machine's, of which it is `now`.
    pub(crate) fn epoch(&self, now: u64) -> u64 {
        let began = self.head[0].epoch.compare_exchange(0, now, SeqCst, SeqCst);
        began.map_or_else(|earlier| earlier, |_| now)
    }

    /// Where buffers come from that outlive the process, if there are such.
    pub(crate) fn arena(&self) -> Option<&'static Arena> {
        self.lasting.as_ref().map(|lasting| lasting.arena)
    }

    /// How far the connection with this descriptor is, if that is kept.
    #[inline]
    pub(crate) fn checkpoints(&self, descriptor: usize) -> Option<&Checkpoints> {
        self.lasting.as_ref().map(|lasting| &lasting.checkpoints[descriptor])
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    /// Counts a connection that is in the table already, whatever the limit.
    pub(crate) fn readmit(self: &Arc<Self>) -> Admitted {
        self.open.fetch_add(1, SeqCst);
        Admitted { table: Arc::clone(self), counts: true }
    }

    /// Whether another process can go on with what is in it.
    pub(crate) fn outlives_the_process(&self) -> bool {
        self.lasting.is_some()
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn holds(&self, descriptor: usize) -> bool {
        descriptor < self.slots.len()
    }

    /// Counts one more connection, unless `max` are open.
    pub(crate) fn admit(self: &Arc<Self>, max: usize) -> Option<Admitted> {
        let more = |open| (open < max).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Admitted { table: Arc::clone(self), counts: true })
    }

    /// Completes when a place may have become free since this was called. Cancel-safe.
    pub(crate) fn room(&self) -> impl Future<Output = ()> {
        let freed = self.freed.notified();
        self.wanted.store(true, SeqCst);
        freed
    }

    /// One connection less, if it still counts.
    fn give_up(&self, counts: &mut bool) {
        if std::mem::take(counts) {
            self.open.fetch_sub(1, SeqCst);
            // Both sides look at the other's word after they have said theirs, so one of them sees it.
            if self.wanted.load(SeqCst) && self.wanted.swap(false, SeqCst) {
                self.freed.notify_waiters();
            }
        }
    }

    /// Every connection there is.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Slot> {
        self.live_with_descriptors().map(|(_, slot)| slot)
    }

    /// Every connection there is, in the order of their descriptors.
    pub(crate) fn live_with_descriptors(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let used = self.head[0].used().min(self.slots.len());
        self.slots[..used].iter().enumerate().filter(|(_, slot)| slot.phase() != Phase::Free)
    }
}

/// The right to one connection: it counts as open for as long as this exists.
#[derive(Debug)]
pub(crate) struct Admitted {
    table: Arc<Table>,
    counts: bool,
}

impl Admitted {
    /// Takes the slot of a descriptor. The caller has just accepted it, so nobody else has the slot.
    pub(crate) fn seat(self, descriptor: usize, who: Who, entry: Entry) -> Seat {
        let id = self.table.head[0].last_id.fetch_add(1, Relaxed).wrapping_add(1);
        self.table.head[0].highest.fetch_max(descriptor, Relaxed);
        let cookie = self.table.checkpoints(descriptor).map_or(0, |checkpoints| {
            checkpoints.clear();
            socket::cookie_of(descriptor)
        });
        self.table.slots[descriptor].begin(id, who, entry, cookie);
        self.sit(descriptor)
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    /// Takes the slot of a descriptor as it is.
    pub(crate) fn resume(self, descriptor: usize, thread: usize) -> Seat {
        let seat = self.sit(descriptor);
        seat.slot().thread.store(u16::try_from(thread).unwrap_or(u16::MAX), Relaxed);
        seat
    }

    fn sit(mut self, descriptor: usize) -> Seat {
        Seat {
            table: Arc::clone(&self.table),
            descriptor: u32::try_from(descriptor).unwrap_or(u32::MAX),
            counts: std::mem::take(&mut self.counts),
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.table.give_up(&mut self.counts);
    }
}

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

/// A connection's hold on its slot. Dropping it clears the slot; the descriptor must be closed only after
/// that.
#[derive(Debug)]
pub(crate) struct Seat {
    table: Arc<Table>,
    /// Of four bytes, as descriptors are: every connection has one of these.
    descriptor: u32,
    counts: bool,
}

impl Seat {
    pub(crate) fn slot(&self) -> &Slot {
        &self.table.slots[self.descriptor as usize]
    }

    /// How far the connection is, if that is kept.
    #[inline]
    pub(crate) fn checkpoints(&self) -> Option<&Checkpoints> {
        self.table.checkpoints(self.descriptor as usize)
    }

    pub(crate) fn descriptor(&self) -> usize {
        self.descriptor as usize
    }
}

impl Seat {
    /// Clears the slot; the connection counts as open no more.
    pub(crate) fn vacate(&mut self) {
        self.slot().clear();
        self.table.give_up(&mut self.counts);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.vacate();
    }
}

impl Slot {
    fn begin(&self, id: u64, who: Who, entry: Entry, cookie: u64) {
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
        self.thread.store(u16::try_from(entry.thread).unwrap_or(u16::MAX), Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_admitted_than_the_limit_and_a_place_is_free_again_when_one_leaves() {
        let table = Table::new(8).unwrap();
        let first = table.admit(2).unwrap();
        let second = table.admit(2).unwrap();
        assert!(table.admit(2).is_none());
        drop(first);
        let third = table.admit(2).unwrap();
        assert_eq!(table.open(), 2);
        drop((second, third));
        assert_eq!(table.open(), 0);
    }

    #[test]
    fn a_slot_says_who_is_connected_and_is_free_again_when_its_seat_is_given_up() {
        let table = Table::new(8).unwrap();
        let callers =
            ["127.0.0.1:8081", "[2001:db8::1]:65535"].map(|text| PeerAddr::Ip(text.parse().unwrap()));
        let others = [PeerAddr::Local { pid: u32::MAX, uid: 1000 }, PeerAddr::Unnamed];
        for peer in callers.into_iter().chain(others) {
            let seat = table.admit(1).unwrap().seat(5, peer.into(), Entry::default());
            assert_eq!((seat.slot().peer(), seat.slot().phase()), (peer, Phase::Idle));
            assert_eq!(table.live().count(), 1);
        }
        assert_eq!((table.live().count(), table.open()), (0, 0));
    }
}
