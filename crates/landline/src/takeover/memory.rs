//! What keeper and workers have in common, and where in it everything lies. Atomics only, and no pointers:
//! whoever reads it may be another process than the one that wrote.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{
    AtomicI32, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use super::blame::{SUSPECTS_MAX, Suspect};
use super::draining::{DRAINING_MAX, Draining};
use super::header::Header;
use super::pulse::{THREADS_MAX, Thread};
use super::upgrade::Decision;
#[cfg(feature = "metrics")]
use crate::event::metrics::Counts;
use crate::server::TABLE_MAX;
use crate::server::checkpoint::Checkpoints;
use crate::server::table::{Head, Phase, Slot};
use crate::sys::arena::{self, Handle};
use crate::sys::shared::Shared;

const PAGE: usize = 4096;
/// What another program has to know before it reads on: one page.
const HEADER: usize = 0;
/// The control words: one page.
const CONTROL: usize = HEADER + PAGE;
/// What is decided about upgrades.
const DECISION: usize = CONTROL + PAGE;
const DECISION_PAGES: usize = 4;
/// The listeners on record.
const LISTENERS: usize = DECISION + DECISION_PAGES * PAGE;
/// How many listeners can be on record. What comes beyond is listened on anew by another worker.
pub(crate) const LISTENERS_MAX: usize = 1024;
/// The words of an address, in bytes: more than any host name or path has.
pub(crate) const WORDS_MAX: usize = 408;
/// The address that came of them, in bytes: more than any of the network has.
const ADDRESS_MAX: usize = 64;
/// What is [remembered](super::remember): a page that says which of two copies holds, and those.
const REMEMBERED: usize = LISTENERS + LISTENERS_MAX * size_of::<Record>();
/// The most that is remembered, in bytes.
pub const REMEMBERED_MAX: usize = 1 << 20;
/// What the metrics have counted.
#[cfg(feature = "metrics")]
const COUNTS: usize = TABLE - 2 * PAGE;
/// How long they are; nothing, where nobody counts.
#[cfg(feature = "metrics")]
const COUNTS_LEN: usize = size_of::<Counts>();
#[cfg(not(feature = "metrics"))]
const COUNTS_LEN: usize = 0;
/// What each thread tells the keeper.
const THREADS: usize = REMEMBERED + PAGE + 2 * REMEMBERED_MAX;
/// Who was served when a worker died.
const SUSPECTS: usize = THREADS + THREADS_MAX * size_of::<Thread>();
/// Who drains.
const DRAINING: usize = TABLE - 3 * PAGE;
/// What follows is for the connections and their bytes.
const TABLE: usize = 4 << 20;
const SLOTS: usize = TABLE + PAGE;
const CHECKPOINTS: usize = SLOTS + TABLE_MAX * size_of::<Slot>();
const ARENA: usize = CHECKPOINTS + TABLE_MAX * size_of::<Checkpoints>();
/// All of it. Pages that nobody touches take up nothing.
const LEN: usize = ARENA + arena::LEN;

/// Where things lie and how large they are: a program whose own list is another can't read it.
pub(super) const LAYOUT: [(&str, usize); 19] = [
    ("length", LEN),
    ("control words", size_of::<Control>()),
    ("words of upgrades", size_of::<Decision>()),
    ("listeners", LISTENERS),
    ("listener", size_of::<Record>()),
    ("configuration", REMEMBERED),
    ("table", TABLE),
    ("head of the table", size_of::<Head>()),
    ("connection", size_of::<Slot>()),
    // Plain, by way of a proxy, with TLS: slots of one size can say more than they did.
    ("kinds of connections", 3),
    ("checkpoint", size_of::<Checkpoints>()),
    ("connections", TABLE_MAX),
    ("buffers", ARENA),
    ("counts", COUNTS_LEN),
    ("threads", THREADS),
    ("thread", size_of::<Thread>()),
    ("suspects", SUSPECTS),
    ("suspect", size_of::<Suspect>()),
    ("draining", size_of::<Draining>()),
];

const _: () = assert!(size_of::<Header>() <= PAGE);
const _: () = assert!(size_of::<Control>() <= PAGE);
const _: () = assert!(size_of::<Head>() <= PAGE);
const _: () = assert!(size_of::<Decision>() <= DECISION_PAGES * PAGE);
const _: () = assert!(size_of::<Record>() == 512);
#[cfg(feature = "metrics")]
const _: () = assert!(size_of::<Counts>() <= 2 * PAGE);
const _: () = assert!(REMEMBERED.is_multiple_of(PAGE));
const _: () = assert!(SUSPECTS + SUSPECTS_MAX * size_of::<Suspect>() <= DRAINING);
const _: () = assert!(DRAINING_MAX * size_of::<Draining>() <= PAGE);
const _: () = assert!(THREADS.is_multiple_of(PAGE));

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Memory(Shared);

impl Memory {
    pub(crate) fn new() -> io::Result<Self> {
        Shared::new(LEN).map(Self)
    }

    /// The memory of a program before this one. What lies in it, that one has written: it is to be looked at
    /// before it is believed.
    pub(super) fn take_over(descriptor: OwnedFd) -> io::Result<Self> {
        Shared::take_over(descriptor, LEN).map(Self)
    }

    pub(crate) fn number(&self) -> RawFd {
        self.0.descriptor().as_raw_fd()
    }

    pub(super) fn header(&self) -> &Header {
        &self.0.records(HEADER, 1)[0]
    }

    pub(super) fn decision(&self) -> &Decision {
        &self.0.records(DECISION, 1)[0]
    }

    pub(crate) fn control(&self) -> &Control {
        &self.0.records(CONTROL, 1)[0]
    }

    pub(crate) fn listeners(&self) -> &[Record] {
        self.0.records(LISTENERS, LISTENERS_MAX)
    }

    /// What each thread of the worker tells the keeper.
    pub(crate) fn threads(&self) -> &[Thread] {
        self.0.records(THREADS, THREADS_MAX)
    }

    /// Who was served when a worker died.
    pub(crate) fn suspects(&self) -> &[Suspect] {
        self.0.records(SUSPECTS, SUSPECTS_MAX)
    }

    /// Who drains.
    pub(super) fn draining(&self) -> &[Draining] {
        self.0.records(DRAINING, DRAINING_MAX)
    }

    /// Another mapping of the same memory.
    pub(super) fn mapped_again(&self) -> io::Result<Self> {
        self.0.mapped_again().map(Self)
    }

    /// Makes all that connections and threads are made of this process's own: from here on nobody sees what
    /// it writes there, nor it what others do. Of the blocks only those are to be used on that are
    /// `in_hands`, as of a moment after that.
    pub(super) fn make_own(&self, in_hands: impl FnOnce() -> Vec<Range<usize>>) -> io::Result<()> {
        self.0.make_own(TABLE..LEN)?;
        self.0.make_own(THREADS..DRAINING)?;
        let used = self.table(1).0[0].used().clamp(1, TABLE_MAX);
        self.0.touch(TABLE..SLOTS + used * size_of::<Slot>());
        self.0.touch(CHECKPOINTS..CHECKPOINTS + used * size_of::<Checkpoints>());
        for block in in_hands() {
            self.0.touch(ARENA + block.start..ARENA + block.end);
        }
        Ok(())
    }

    /// The connection table, for descriptors below `capacity`.
    pub(crate) fn table(&self, capacity: usize) -> (&[Head], &[Slot]) {
        let capacity = capacity.clamp(1, TABLE_MAX);
        (self.0.records(TABLE, 1), self.0.records(SLOTS, capacity))
    }

    /// How far the connections are that have descriptors below `capacity`.
    pub(crate) fn checkpoints(&self, capacity: usize) -> &[Checkpoints] {
        self.0.records(CHECKPOINTS, capacity.clamp(1, TABLE_MAX))
    }

    /// Where their buffers lie.
    pub(crate) fn arena(&self) -> &[AtomicU8] {
        self.0.records(ARENA, arena::LEN)
    }

    /// The connections in the table, as it says: the number and the cookie of each.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (usize, u64)> {
        self.live().map(|(number, slot)| (number, slot.cookie()))
    }

    /// The blocks that the connections in the table have.
    pub(crate) fn blocks_in_use(&self) -> impl Iterator<Item = Handle> {
        let live = self.live().map(|(number, _)| number);
        let current = live.filter_map(|number| self.checkpoints(number + 1)[number].current());
        current.flat_map(|checkpoint| checkpoint.handles())
    }

    fn live(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let used = self.table(1).0[0].used();
        let slots = self.table(used).1.iter().enumerate();
        slots.filter(|(_, slot)| slot.phase() != Phase::Free && slot.cookie() != 0)
    }

    /// What the metrics have counted.
    #[cfg(feature = "metrics")]
    pub(crate) fn counts(&self) -> &[Counts] {
        self.0.records(COUNTS, 1)
    }

    /// The bytes of all but the buffers, so that a test can write what no worker would.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        self.0.records(0, ARENA)
    }

    /// Where the highest descriptor in use lies among the bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) const HIGHEST: usize = TABLE + 8;

    /// Where the connection with this descriptor lies among the bytes, and where its checkpoints do.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn places(number: usize) -> [usize; 2] {
        [SLOTS + number * size_of::<Slot>(), CHECKPOINTS + number * size_of::<Checkpoints>()]
    }

    fn remembered(&self) -> &Remembered {
        &self.0.records(REMEMBERED, 1)[0]
    }

    fn copy(&self, index: u32) -> &[AtomicU8] {
        self.0.records(REMEMBERED + PAGE + index as usize * REMEMBERED_MAX, REMEMBERED_MAX)
    }

    /// Puts these bytes in the place of those remembered before. Killed at any moment, it leaves the ones or
    /// the others. False if they are too many.
    pub(crate) fn remember(&self, bytes: &[u8]) -> bool {
        if bytes.len() > REMEMBERED_MAX {
            return false;
        }
        let header = self.remembered();
        let next = u32::from(header.current.load(Acquire) == 1);
        store(self.copy(next), bytes);
        header.lens[next as usize].store(as_u32(bytes.len()), Relaxed);
        header.current.store(next + 1, Release);
        true
    }

    /// The bytes that were remembered last.
    pub(crate) fn recall(&self) -> Option<Vec<u8>> {
        let header = self.remembered();
        let current = header.current.load(Acquire).checked_sub(1).filter(|current| *current < 2)?;
        let len = header.lens[current as usize].load(Relaxed) as usize;
        self.copy(current).get(..len).map(load)
    }
}

/// What keeper and worker tell one another. A worker is known by its number, from 1.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Control {
    /// Which worker is there.
    pub(crate) worker: AtomicU32,
    /// Which worker last looked for orders: before it does, a signal has to be obeyed by the keeper.
    pub(crate) obeys: AtomicU32,
    /// Which worker last served: that is progress. [`HEIR`] once one that has made way is to be keeper.
    pub(crate) served: AtomicU32,
    /// 1 once a worker has begun to end the server.
    pub(crate) ending: AtomicU32,
    /// When it did, in microseconds of the machine's clock.
    pub(crate) ending_since: AtomicU64,
    /// SIGINT and SIGTERM.
    pub(crate) end: Order,
    /// SIGHUP.
    pub(crate) hang_up: Order,
    /// Which worker is to make way for another program.
    pub(crate) make_way: AtomicU32,
    /// Which worker serves nobody any more with whom another can go on.
    pub(crate) makes_way: AtomicU32,
    /// Which worker has its descriptors to itself, and which has its connections so.
    pub(crate) may_part: AtomicU32,
    pub(crate) has_parted: AtomicU32,
    /// How many workers took the place of another.
    pub(crate) restarts: AtomicU32,
    /// The signal that ended the worker before; 0 if it ended by itself.
    pub(crate) killed_by: AtomicI32,
    /// 1 if it was the watchdog that ended it.
    pub(crate) was_still: AtomicU32,
    /// How many threads were ever there to be watched.
    pub(crate) threads: AtomicU32,
    /// When nobody served any more, in microseconds of the machine's clock.
    pub(crate) ended_at: AtomicU64,
}

impl Control {
    /// The number of the worker that begins now.
    pub(super) fn begin_worker(&self) -> u32 {
        let before = self.worker.fetch_update(AcqRel, Acquire, |number| Some(worker_after(number)));
        worker_after(before.unwrap_or_else(|number| number))
    }
}

/// In the place of the worker that last served: nobody else may, because one that has made way becomes
/// keeper.
pub(super) const HEIR: u32 = u32::MAX;

/// The number of the worker after this one. 0 is none and 1 the first of all, so neither ever comes again.
pub(super) fn worker_after(number: u32) -> u32 {
    number.checked_add(1).filter(|number| *number != HEIR).unwrap_or(2)
}

/// An order as two counts, so that none is lost with the worker that was to obey it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Order {
    given: AtomicU32,
    taken: AtomicU32,
}

impl Order {
    pub(crate) fn give(&self) {
        self.given.fetch_add(1, Release);
    }

    /// Takes one of those that were given and not taken, if there is one.
    pub(crate) fn take(&self) -> bool {
        let given = self.given.load(Acquire);
        self.taken
            .fetch_update(AcqRel, Acquire, |taken| (taken != given).then(|| taken.wrapping_add(1)))
            .is_ok()
    }

    pub(crate) fn was_given(&self) -> bool {
        self.given.load(Acquire) > 0
    }
}

/// A listener on record.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    /// 0: free; 1: being written, or left so by a worker that was killed; 2: on record; 3: on record and
    /// closed, because the server is ending.
    pub(crate) state: AtomicU32,
    pub(crate) number: AtomicI32,
    pub(crate) cookie: AtomicU64,
    /// Listeners of one address have the same group, in the order in which they were asked for.
    pub(crate) group: AtomicU32,
    /// How many listeners the group has: one with fewer was left half written.
    pub(crate) group_len: AtomicU32,
    /// Which worker has it.
    pub(crate) worker: AtomicU32,
    words_len: AtomicU32,
    words: [AtomicU8; WORDS_MAX],
    address: [AtomicU8; ADDRESS_MAX],
    address_len: AtomicU32,
    _unused: AtomicU32,
}

impl Record {
    pub(crate) const FREE: u32 = 0;
    pub(crate) const BEGUN: u32 = 1;
    pub(crate) const LIVE: u32 = 2;
    pub(crate) const CLOSED: u32 = 3;

    pub(crate) fn is_live(&self) -> bool {
        self.state.load(Acquire) == Self::LIVE
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Acquire) == Self::CLOSED
    }

    /// Says where it listens, if that is an address of the network.
    pub(crate) fn set_address(&self, address: Option<SocketAddr>) {
        let text = address.map(|address| address.to_string()).unwrap_or_default();
        let len = text.len().min(ADDRESS_MAX);
        store(&self.address, &text.as_bytes()[..len]);
        self.address_len.store(as_u32(len), Relaxed);
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let len = self.address_len.load(Relaxed) as usize;
        String::from_utf8(self.address.get(..len).map(load)?).ok()?.parse().ok()
    }

    pub(crate) fn set_words(&self, words: &str) {
        store(&self.words, words.as_bytes());
        self.words_len.store(as_u32(words.len()), Relaxed);
    }

    pub(crate) fn words(&self) -> Vec<u8> {
        let len = self.words_len.load(Relaxed) as usize;
        self.words.get(..len).map(load).unwrap_or_default()
    }
}

/// Which of the two copies holds, from 1 (0: none yet), and how long each is.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Remembered {
    current: AtomicU32,
    lens: [AtomicU32; 2],
}

/// Words of up to `N` bytes; what is longer is cut.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Words<const N: usize> {
    len: AtomicU32,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Words<N> {
    pub(crate) fn set(&self, words: &[u8]) {
        let words = words.get(..N).unwrap_or(words);
        store(&self.bytes, words);
        self.len.store(as_u32(words.len()), Release);
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        let len = self.len.load(Acquire) as usize;
        self.bytes.get(..len).map(load).unwrap_or_default()
    }
}

fn store(place: &[AtomicU8], bytes: &[u8]) {
    for (place, byte) in place.iter().zip(bytes) {
        place.store(*byte, Relaxed);
    }
}

fn load(place: &[AtomicU8]) -> Vec<u8> {
    place.iter().map(|byte| byte.load(Relaxed)).collect()
}

fn as_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_last_is_recalled_and_what_is_too_long_changes_nothing() {
        let memory = Memory::new().unwrap();
        assert_eq!(memory.recall(), None);
        for text in [b"one".to_vec(), Vec::new(), vec![7; REMEMBERED_MAX]] {
            assert!(memory.remember(&text));
            assert!(memory.recall().is_some_and(|recalled| recalled == text));
        }
        assert!(!memory.remember(&vec![8; REMEMBERED_MAX + 1]));
        assert!(memory.recall().is_some_and(|recalled| recalled[..1] == [7]));
    }

    #[test]
    fn each_order_that_was_given_is_taken_once() {
        let memory = Memory::new().unwrap();
        let order = &memory.control().end;
        assert!(!order.take() && !order.was_given());
        order.give();
        order.give();
        assert_eq!([(); 3].map(|()| order.take()), [true, true, false]);
        assert!(order.was_given());
    }

    #[test]
    fn a_worker_is_never_taken_for_none_or_for_the_first_one() {
        let memory = Memory::new().unwrap();
        let control = memory.control();
        assert_eq!([(); 2].map(|()| control.begin_worker()), [1, 2]);
        control.worker.store(HEIR - 2, Relaxed);
        assert_eq!([(); 3].map(|()| control.begin_worker()), [HEIR - 1, 2, 3]);
    }

    #[test]
    fn a_record_knows_every_address_of_the_network_and_none_where_there_is_none() {
        let memory = Memory::new().unwrap();
        let record = &memory.listeners()[0];
        let longest = "[fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        for address in [longest, "127.0.0.1:1"].map(|text| text.parse().ok()).into_iter().chain([None]) {
            record.set_address(address);
            assert_eq!(record.address(), address);
        }
    }
}
