//! What the connections of one thread share, and nobody else sees.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checkpoint::Left;
use super::config::Policy;
use super::limits::{self, Due};
use super::link::Link;
use super::plan::Plan;
use super::probe::Probes;
use super::reclaim::Idlest;
#[cfg(all(target_os = "linux", feature = "takeover"))]
use super::recover::Recovered;
use super::sampler::Sampler;
use super::seldom::OnceASecond;
use super::table::{Entry, Table};
use crate::buffer::{Buffer, Pool};
use crate::close::CloseReason;
use crate::error::describe;
use crate::event::{Event, Subscriber};
use crate::service::Batches;
use crate::sys::clock;
use crate::takeover::{self, Beating, Pulse};

/// What every connection of a server, on whichever thread, has in common.
#[derive(Clone)]
pub(crate) struct Share {
    pub(crate) table: Arc<Table>,
    pub(crate) events: Arc<dyn Subscriber>,
    pub(crate) clock: Clock,
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) recovered: Arc<Recovered>,
    pub(crate) probes: Arc<Probes>,
    exhaustion: Arc<OnceASecond>,
    /// For each thread, since when its idlest connection has been idle; [`NOBODY`] if none could make room.
    idlest: Arc<[AtomicU64]>,
}

/// The longest session that is put down, in bytes.
const SAVED_MAX: usize = 64 << 10;

/// How many connections are told to end before others get their turn.
const FAREWELLS: usize = 32;

/// The server's clock: time since it began, in whichever process that was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// When this process began to look at it, and what it said then.
    looked: Instant,
    said: Duration,
}

impl Clock {
    fn new(table: &Table) -> Self {
        let now = clock::microseconds();
        let said = Duration::from_micros(now.saturating_sub(table.epoch(now)));
        Self { looked: Instant::now(), said }
    }

    fn elapsed(self) -> Duration {
        self.said + self.looked.elapsed()
    }

    /// Read now, in milliseconds: for what happens rarely.
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Read now, in microseconds.
    pub(crate) fn precise(self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// No connection could make room.
const NOBODY: u64 = u64::MAX;

impl Share {
    pub(crate) fn new(threads: usize, table: Arc<Table>, events: Arc<dyn Subscriber>) -> Self {
        let idlest = (0..threads).map(|_| AtomicU64::new(NOBODY)).collect();
        let clock = Clock::new(&table);
        Self {
            table,
            events,
            clock,
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            recovered: Arc::default(),
            probes: Arc::default(),
            exhaustion: Arc::default(),
            idlest,
        }
    }
}

/// What the connections of one thread have in common.
pub(crate) struct Local {
    pub(crate) thread: usize,
    share: Share,
    /// Whether the subscriber wants to see what is said.
    pub(crate) shows_messages: bool,
    /// Whether it wants to know each step of a socket.
    pub(crate) shows_steps: bool,
    /// Which answers are timed.
    pub(crate) sampler: Sampler,
    pub(crate) pool: Rc<Pool>,
    pub(crate) batches: Batches,
    /// What connections had in hand that another process began, by their descriptors, until they go on.
    left: RefCell<HashMap<usize, Option<Box<Left>>>>,
    /// Where sessions are put down, one at a time.
    scratch: RefCell<Vec<u8>>,
    /// The server's clock, in milliseconds, as of the last sweep: no message reads a clock.
    now: Cell<u64>,
    links: RefCell<Slab<Weak<Link>>>,
    draining: Cell<bool>,
    pub(crate) drain: CancellationToken,
    /// Who makes room when the server is full, and after how long a silence somebody does.
    idle: RefCell<Idlest>,
    idle_reclaim: Cell<Option<Duration>>,
    sweep_interval: Cell<Duration>,
    /// Why every connection has to end, once every one has to.
    cut: Cell<Option<CloseReason>>,
    /// Whether another process has whomever it could go on with.
    has_parted: Cell<bool>,
    /// Whether another process is about to take over, and who goes on if it does not.
    hands_on: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    /// What it tells the keeper, if its connections are to outlive the process.
    pulse: Option<Pulse>,
    /// What the operating system last said when it had no more to give.
    shortage: RefCell<Box<str>>,
}

impl Deref for Local {
    type Target = Share;

    fn deref(&self) -> &Share {
        &self.share
    }
}

impl Local {
    pub(crate) fn new(thread: usize, share: Share) -> Rc<Self> {
        let arena = share.table.arena();
        let pulse = arena.and_then(|_| takeover::pulse(thread));
        let pool = Pool::new(arena);
        let local = Self {
            thread,
            pulse,
            shows_messages: share.events.wants_messages(),
            shows_steps: share.events.wants_steps(),
            sampler: Sampler::new(share.events.wants_answer_times()),
            share,
            pool,
            batches: Batches::default(),
            left: RefCell::default(),
            scratch: RefCell::default(),
            now: Cell::new(0),
            links: RefCell::default(),
            draining: Cell::new(false),
            drain: CancellationToken::new(),
            idle: RefCell::default(),
            idle_reclaim: Cell::new(None),
            sweep_interval: Cell::new(limits::sweep_interval(None)),
            cut: Cell::new(None),
            has_parted: Cell::new(false),
            hands_on: Cell::new(false),
            waiting: RefCell::default(),
            shortage: RefCell::default(),
        };
        local.look_at_clock();
        Rc::new(local)
    }

    /// What `save` puts down, in memory that outlives the process; none if that is nothing, or too much.
    #[inline]
    pub(crate) fn saved(&self, save: impl FnOnce(&mut Vec<u8>)) -> Option<Buffer> {
        let mut bytes = self.scratch.borrow_mut();
        bytes.clear();
        save(&mut bytes);
        (1..=SAVED_MAX).contains(&bytes.len()).then(|| {
            let mut saved = self.pool.take(bytes.len());
            saved.append(&bytes);
            saved
        })
    }

    /// Keeps what a connection had in hand until it goes on.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn keep_left(&self, descriptor: usize, left: Left) {
        // Most had nothing, and there may be very many.
        let left = (!left.is_nothing()).then(|| Box::new(left));
        self.left.borrow_mut().insert(descriptor, left);
    }

    /// What a connection had in hand, if another process began it.
    pub(crate) fn take_left(&self, descriptor: usize) -> Option<Left> {
        let mut all = self.left.borrow_mut();
        let left = all.remove(&descriptor)?;
        if all.is_empty() {
            // What it takes to know of all of them was needed once.
            *all = HashMap::new();
        }
        Some(left.map_or_else(Left::default, |left| *left))
    }

    /// The server's clock, in milliseconds; up to one sweep behind.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// What a connection that begins now begins with.
    pub(crate) fn entry(&self) -> Entry {
        Entry { thread: self.thread, now: self.now(), accepted: self.clock.precise() }
    }

    fn look_at_clock(&self) {
        self.now.set(self.clock.now());
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.events.event(event);
    }

    /// Resources have run out, and callers were turned away; said once a second by all threads together.
    pub(crate) fn exhausted(&self, cause: &io::Error, refused: u64) {
        *self.shortage.borrow_mut() = describe(cause).into();
        self.say_exhausted(self.exhaustion.count(refused, self.clock.now()));
    }

    fn say_exhausted(&self, refused: Option<u64>) {
        if let Some(refused) = refused {
            self.emit(&Event::ResourcesExhausted { cause: self.shortage.borrow().clone(), refused });
        }
    }

    /// Makes a connection known to the sweep and to drain; the key is for [`forget`](Self::forget).
    pub(crate) fn remember(&self, link: &Weak<Link>) -> usize {
        self.links.borrow_mut().insert(Weak::clone(link))
    }

    pub(crate) fn forget(&self, key: usize) {
        self.links.borrow_mut().remove(key);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Asks every connection to end at its next message boundary.
    pub(crate) fn start_drain(&self) {
        self.draining.set(true);
        self.drain.cancel();
        self.for_each(|link| link.wake());
    }

    /// Tells one connection to end; it may have done so already.
    pub(crate) fn close(&self, id: u64) {
        self.for_each(|link| {
            if link.slot().id() == id {
                link.order(CloseReason::Operator);
            }
        });
    }

    /// Ends every connection now.
    pub(crate) fn cut(&self, reason: CloseReason) {
        self.cut.set(Some(reason));
        self.for_each(|link| link.order(reason));
    }

    /// Why a connection that comes now has to end at once, if it has to.
    pub(crate) fn is_cut(&self) -> Option<CloseReason> {
        self.cut.get()
    }

    /// From here on nothing is done to callers who are no connections yet: another process finds them.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn hand_on(&self) {
        self.hands_on.set(true);
    }

    /// Nobody took over.
    pub(crate) fn take_back(&self) {
        self.hands_on.set(false);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Runs what has to do with a caller who is no connection yet, but for when another process is about to
    /// take over: then nothing happens to it, not even that it is dropped.
    pub(crate) async fn unless_handed_on(&self, future: impl Future<Output = ()>) {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.hands_on.get() {
                self.waiting.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            future.as_mut().poll(cx)
        })
        .await;
    }

    /// Lets go of whom another process has, and asks the others to end.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn part(&self) {
        self.has_parted.set(true);
        self.start_drain();
    }

    pub(crate) fn has_parted(&self) -> bool {
        self.has_parted.get()
    }

    /// Goes by a plan from now on.
    pub(crate) fn adopt(&self, plan: &Plan) {
        self.idle_reclaim.set(plan.config.idle_reclaim);
        self.look_at_least_every(plan.sweep_interval());
    }

    /// Holds connections to the limits of this policy, too.
    pub(crate) fn look_after(&self, policy: &Policy) {
        self.look_at_least_every(limits::sweep_interval(limits::shortest(policy)));
    }

    /// Connections keep the policy they began with, so looking more seldom than before would not do.
    fn look_at_least_every(&self, interval: Duration) {
        self.sweep_interval.set(self.sweep_interval.get().min(interval));
    }

    /// The thread whose connection has been idle for longest of all, if one has been for long enough.
    pub(crate) fn idlest_thread(&self) -> Option<usize> {
        let since = self.idlest.iter().map(|since| since.load(Relaxed)).enumerate();
        since.filter(|(_, since)| *since != NOBODY).min_by_key(|(_, since)| *since).map(|(thread, _)| thread)
    }

    /// Ends the connection of this thread that has been idle for longest, if one has been for long enough;
    /// false if none has.
    pub(crate) fn reclaim(&self) -> bool {
        let idlest = self.idle.borrow_mut().take();
        self.publish_idlest();
        idlest.inspect(|link| link.order(CloseReason::Reclaimed)).is_some()
    }

    fn publish_idlest(&self) {
        let since = self.idle.borrow().first().unwrap_or(NOBODY);
        self.idlest[self.thread].store(since, Relaxed);
    }

    pub(super) fn for_each(&self, mut act: impl FnMut(&Rc<Link>)) {
        for (_, link) in &*self.links.borrow() {
            if let Some(link) = link.upgrade() {
                act(&link);
            }
        }
    }

    /// What it tells the keeper of the connections that it serves, if there is one.
    #[inline]
    pub(crate) fn pulse(&self) -> Option<&Pulse> {
        self.pulse.as_ref()
    }

    /// From here on the keeper takes it for stuck if it does not [sweep](Self::sweep), until what this
    /// returns is dropped.
    pub(crate) fn begin_to_beat(&self) -> Option<Beating> {
        self.pulse.as_ref().map(Pulse::begin)
    }

    /// Ends connections whose time is up, until it is dropped. Time limits are held to within two rounds, and
    /// never cut early.
    pub(crate) async fn sweep(&self, _beating: Option<Beating>) {
        loop {
            self.pulse.iter().for_each(Pulse::beat);
            tokio::time::sleep(self.sweep_interval.get()).await;
            // What happened since the last round was stamped with that round's time, so that is the time to
            // hold stamps against: a round that comes late cuts nobody early.
            let now = self.now();
            self.look_at_clock();
            self.end_overdue(self.look_at_connections(now), now).await;
            if !self.shortage.borrow().is_empty() {
                self.say_exhausted(self.exhaustion.rest(self.now()));
            }
        }
    }

    /// Notes who could make room, and returns the keys of those whose time is up.
    fn look_at_connections(&self, now: u64) -> Vec<usize> {
        let idle_reclaim = self.idle_reclaim.get();
        let mut idle = self.idle.borrow_mut();
        let mut overdue = Vec::new();
        for (key, link) in &*self.links.borrow() {
            let Some(link) = link.upgrade() else { continue };
            let view = link.slot().view();
            if limits::due(&view, now, link.policy()).is_some() {
                overdue.push(key);
            }
            if let Some(since) = limits::reclaimable(&view, now, idle_reclaim) {
                idle.gather(since, Rc::downgrade(&link));
            }
        }
        idle.settle();
        drop(idle);
        self.publish_idlest();
        overdue
    }

    /// Ends those whose time is up, some at a time: a thousand farewells in a row would keep everybody else
    /// waiting.
    async fn end_overdue(&self, overdue: Vec<usize>, now: u64) {
        for some in overdue.chunks(FAREWELLS) {
            for key in some {
                let link = self.links.borrow().get(*key).and_then(Weak::upgrade);
                // Somebody else may have its place by now, or it may have gone on.
                let due = link.as_ref().and_then(|link| limits::due(&link.slot().view(), now, link.policy()));
                match (link, due) {
                    (Some(link), Some(Due::Cut(reason))) => link.order(reason),
                    (Some(link), Some(Due::Retire)) => link.retire(),
                    _ => {}
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local(thread {}, {} connections)", self.thread, self.links.borrow().len())
    }
}
