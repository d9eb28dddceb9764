//! The connection table: one fixed-size slot of plain data for every connection, indexed by descriptor
//! number.
//!
//! It holds the truth about every connection. Admission counts on it, drain reads it, and nothing in it is a
//! pointer, so that it could lie in memory that outlives the process. A slot is written by the thread that
//! owns the connection, between accept and close, and may be read by any: each field is an atomic, and a
//! reader can see two fields of different moments.

mod slot;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use tokio::sync::Notify;

pub(crate) use slot::{Entry, Phase, Slot, Who};

use super::checkpoint::Checkpoints;
use crate::sys::arena::Arena;
use crate::sys::region::Region;
use crate::sys::socket;

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
        seat.slot().set_thread(thread);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PeerAddr;

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
