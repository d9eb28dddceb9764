//! What the connections of one thread share, and nobody else sees.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::limits::{self, Due};
use super::link::Link;
use super::reclaim::Idlest;
use super::seldom::OnceASecond;
use super::table::Table;
use crate::buffer::Pool;
use crate::close::CloseReason;
use crate::error::describe;
use crate::event::{Event, Subscriber};

/// The sweep looks at every connection of its thread this often at most, and at least.
const SWEEP_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What every connection of a server, on whichever thread, has in common.
#[derive(Clone)]
pub(crate) struct Share {
    pub(crate) config: Arc<Config>,
    pub(crate) table: Arc<Table>,
    pub(crate) events: Arc<dyn Subscriber>,
    /// What the server's clock counts from.
    epoch: Instant,
    exhaustion: Arc<OnceASecond>,
}

impl Share {
    pub(crate) fn new(config: Config, table: Arc<Table>, events: Arc<dyn Subscriber>) -> Self {
        Self { config: Arc::new(config), table, events, epoch: Instant::now(), exhaustion: Arc::default() }
    }

    /// The server's clock, in milliseconds, read now: for what happens rarely.
    pub(crate) fn clock(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the connections of one thread have in common.
pub(crate) struct Local {
    pub(crate) thread: usize,
    share: Share,
    /// Whether the subscriber wants to see what is said.
    pub(crate) shows_messages: bool,
    pub(crate) pool: Rc<Pool>,
    /// The server's clock, in milliseconds, as of the last sweep: no message reads a clock.
    now: Cell<u64>,
    links: RefCell<Slab<Weak<Link>>>,
    draining: Cell<bool>,
    pub(crate) drain: CancellationToken,
    /// Who makes room when the server is full.
    idlest: RefCell<Idlest>,
    /// Why every connection has to end, once every one has to.
    cut: Cell<Option<CloseReason>>,
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
        let local = Self {
            thread,
            shows_messages: share.events.wants_messages(),
            share,
            pool: Pool::new(),
            now: Cell::new(0),
            links: RefCell::default(),
            draining: Cell::new(false),
            drain: CancellationToken::new(),
            idlest: RefCell::default(),
            cut: Cell::new(None),
            shortage: RefCell::default(),
        };
        local.look_at_clock();
        Rc::new(local)
    }

    /// The server's clock, in milliseconds; up to one sweep behind.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    fn look_at_clock(&self) {
        self.now.set(self.clock());
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.events.event(event);
    }

    /// Resources have run out, and callers were turned away; said once a second by all threads together.
    pub(crate) fn exhausted(&self, cause: &io::Error, refused: u64) {
        *self.shortage.borrow_mut() = describe(cause).into();
        self.say_exhausted(self.exhaustion.count(refused, self.clock()));
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

    /// Ends the connection that has been idle for longest, if one has been for long enough; false if none
    /// has.
    pub(crate) fn reclaim(&self) -> bool {
        let idlest = self.idlest.borrow_mut().take();
        idlest.inspect(|link| link.order(CloseReason::Reclaimed)).is_some()
    }

    fn for_each(&self, mut act: impl FnMut(&Rc<Link>)) {
        for (_, link) in &*self.links.borrow() {
            if let Some(link) = link.upgrade() {
                act(&link);
            }
        }
    }

    /// Ends connections whose time is up, until it is dropped. Time limits are held to within two rounds, and
    /// never cut early.
    pub(crate) async fn sweep(&self) {
        let every = limits::sweep_interval(&self.config, SWEEP_EVERY.0, SWEEP_EVERY.1);
        let mut rounds = tokio::time::interval(every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            // What happened since the last round was stamped with that round's time, so that is the time to
            // hold stamps against: a round that comes late cuts nobody early.
            let now = self.now();
            self.look_at_clock();
            let mut idlest = self.idlest.borrow_mut();
            self.for_each(|link| {
                let view = link.slot().view();
                match limits::due(&view, now, &self.config) {
                    Some(Due::Cut(reason)) => link.order(reason),
                    Some(Due::Retire) => link.retire(),
                    None => {}
                }
                if let Some(since) = limits::reclaimable(&view, now, &self.config) {
                    idlest.gather(since, Rc::downgrade(link));
                }
            });
            idlest.settle();
            drop(idlest);
            if !self.shortage.borrow().is_empty() {
                self.say_exhausted(self.exhaustion.rest(self.now()));
            }
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local(thread {}, {} connections)", self.thread, self.links.borrow().len())
    }
}
