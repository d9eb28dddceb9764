//! A server as an operator sees it, from any thread, while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::Server;
use super::crew::{Crew, Errand};
use super::listen::ListenAddr;
use super::local::{Clock, Share};
use super::plan::Plan;
use super::probe::Probes;
use super::table::{Phase, Slot, Table};
use super::thread::Stage;
use super::totals::{AcceptQueue, Totals};
use crate::address::Address;
use crate::error::{Error, Kind};
use crate::event::PeerAddr;
use crate::sys::socket;

/// A handle to look at a running server and to steer it: cheap to clone, and good on any thread.
///
/// It reads the connection table that the threads write, without stopping them: two figures of a connection
/// can be of two different moments. Before the server runs, and after, there is nothing to see.
#[derive(Clone, Default)]
pub struct Monitor(Arc<Shared>);

struct Shared {
    running: OnceLock<Watched>,
    drain: Notify,
    reload: mpsc::Sender<Asked>,
    /// Until somebody serves who can reload.
    asked: Mutex<Option<mpsc::Receiver<Asked>>>,
}

/// How many may wait for a reload at a time.
const RELOADS: usize = 16;

/// Somebody who asked for a reload and waits to be told how it went.
pub(super) type Asked = oneshot::Sender<Result<(), Error>>;

/// Nothing in it leads to the server's subscriber, which may hold a monitor.
struct Watched {
    table: Arc<Table>,
    clock: Clock,
    probes: Arc<Probes>,
    crew: Arc<Crew>,
    stage: watch::Receiver<Stage>,
}

impl Default for Shared {
    fn default() -> Self {
        let (reload, asked) = mpsc::channel(RELOADS);
        Self { running: OnceLock::new(), drain: Notify::new(), reload, asked: Mutex::new(Some(asked)) }
    }
}

/// One connection, as it was a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "log", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its number.
    pub id: u64,
    /// Who called.
    pub peer: PeerAddr,
    /// What it is doing.
    pub state: State,
    /// Since it was accepted, to the nearest second or so.
    #[cfg_attr(feature = "log", serde(rename = "age_ms", serialize_with = "crate::event::milliseconds"))]
    pub age: Duration,
    /// Since its state began or last made progress, to the nearest second or so.
    #[cfg_attr(
        feature = "log",
        serde(rename = "in_state_ms", serialize_with = "crate::event::milliseconds")
    )]
    pub in_state: Duration,
    /// How many messages were answered.
    pub messages: u64,
    /// How many bytes came in.
    pub bytes_in: u64,
    /// How many bytes went out.
    pub bytes_out: u64,
    /// How many bytes of replies wait for the peer to take them.
    pub unsent: u32,
    /// The thread it lives on, from 0.
    pub thread: u16,
    /// How long a segment takes to the peer and back, as the kernel has measured it; Linux only.
    #[cfg_attr(
        feature = "log",
        serde(rename = "round_trip_ms", serialize_with = "crate::event::milliseconds_if_known")
    )]
    pub round_trip: Option<Duration>,
    /// How many segments were sent again; Linux only.
    pub retransmits: Option<u32>,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "log", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// It is between two messages.
    Idle,
    /// A message has begun and is not complete.
    Receiving,
    /// The handler or the service has something to do.
    Answering,
    /// Replies wait for the peer to take them.
    Sending,
    /// Our side has ended; what the peer still sends is read away.
    Closing,
    /// What comes before the first message is going on: a handshake.
    Opening,
}

/// Why a connection could not be told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseError {
    /// There is no connection with this number, or no longer.
    Unknown,
    /// Its thread has very many orders waiting: try again.
    Busy,
}

impl Monitor {
    pub(super) fn watch(&self, share: &Share, crew: Arc<Crew>, stage: watch::Receiver<Stage>) {
        // A server runs once.
        let (table, clock, probes) = (Arc::clone(&share.table), share.clock, Arc::clone(&share.probes));
        let _ = self.0.running.set(Watched { table, clock, probes, crew, stage });
    }

    /// The plan by which the server serves, while it does.
    pub(super) fn plan(&self) -> Option<Arc<Plan>> {
        let watched = self.0.running.get()?;
        watched.stage.borrow().plan().map(Arc::clone)
    }

    pub(super) fn probes(&self) -> Option<&Probes> {
        self.0.running.get().map(|watched| &*watched.probes)
    }

    pub(super) fn crew(&self) -> Option<&Crew> {
        self.0.running.get().map(|watched| &*watched.crew)
    }

    /// Where it listens, while it does.
    pub fn addresses(&self) -> Vec<ListenAddr> {
        let plan = self.plan();
        let listeners = plan.iter().flat_map(|plan| &plan.listeners);
        listeners.map(|listener| listener.bound.address.clone()).collect()
    }

    /// A listener for a [reload](crate::Running::reload): the one that the running server has for this
    /// address, or a new one if it has none. An address is known again by its words: `localhost:8081` is
    /// not `127.0.0.1:8081`.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind<A>(&self, address: A) -> Result<Server, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        let plan = self.plan();
        let bound = plan.iter().flat_map(|plan| &plan.listeners).map(|listener| &listener.bound);
        let bound: Vec<_> = bound.filter(|bound| bound.asked == address).map(Arc::clone).collect();
        if bound.is_empty() { Server::listen(&address) } else { Ok(Server::on(bound)) }
    }

    /// Every open connection, in the order of their numbers.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let Some(watched) = self.0.running.get() else {
            return Vec::new();
        };
        let now = watched.clock.now();
        let live = watched.table.live_with_descriptors();
        let mut connections: Vec<_> =
            live.filter_map(|(descriptor, slot)| info(descriptor, slot, now)).collect();
        connections.sort_unstable_by_key(|connection| connection.id);
        connections
    }

    /// The connection with this number.
    pub fn connection(&self, id: u64) -> Option<ConnectionInfo> {
        let watched = self.0.running.get()?;
        let (descriptor, slot) = watched.table.live_with_descriptors().find(|(_, slot)| slot.id() == id)?;
        info(descriptor, slot, watched.clock.now())
    }

    /// What all open connections together are doing and have done. It costs one look at each of them and no
    /// system call.
    pub fn totals(&self) -> Totals {
        self.0.running.get().map_or_else(Totals::default, |watched| Totals::of(&watched.table))
    }

    /// Who waits to be accepted, for each TCP listener; Linux only.
    pub fn accept_queues(&self) -> Vec<AcceptQueue> {
        let plan = self.plan();
        let bound = plan.iter().flat_map(|plan| &plan.listeners).map(|listener| &listener.bound);
        let queues = bound.filter_map(|bound| {
            let backlog = socket::backlog(&bound.socket)?;
            let listener = bound.address.clone();
            Some(AcceptQueue { listener, waiting: backlog.waiting, max: backlog.max })
        });
        queues.collect()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.0.running.get().map_or(0, |watched| watched.table.open())
    }

    /// How many connections may be open; 0 while nobody is let in.
    pub fn max_connections(&self) -> usize {
        self.plan().map_or(0, |plan| plan.admission.max_connections())
    }

    /// For how long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.0.running.get().map_or(Duration::ZERO, |watched| Duration::from_millis(watched.clock.now()))
    }

    /// Tells one connection to end, with [`CloseReason::Operator`](crate::CloseReason::Operator). No other is
    /// disturbed.
    ///
    /// # Errors
    /// When there is no such connection, or its thread can't take the order now.
    pub fn close(&self, id: u64) -> Result<(), CloseError> {
        let watched = self.0.running.get().ok_or(CloseError::Unknown)?;
        let connection = self.connection(id).ok_or(CloseError::Unknown)?;
        let asked = watched.crew.ask(usize::from(connection.thread), Errand::Close(id));
        asked.map_err(|_| CloseError::Busy)
    }

    /// Asks the server to drain, as a signal would. It has an effect on [`Serving::run`](crate::Serving::run)
    /// only: whoever starts a server drains it.
    pub fn drain(&self) {
        self.0.drain.notify_one();
    }

    /// Asks the server to [reload](crate::Serving::on_reload), as SIGHUP would, and completes when it has, or
    /// has not because something was wrong. Cancel-safe: the reload goes on.
    ///
    /// # Errors
    /// What was wrong; nothing has changed then. Also when the server does not run or has no way to reload.
    pub async fn reload(&self) -> Result<(), Error> {
        let cannot = |cause| Error::new(Kind::Config, "cannot reload", cause);
        let (asked, outcome) = oneshot::channel();
        let asking = self.0.reload.try_send(asked);
        asking.map_err(|error| match error {
            TrySendError::Full(_) => cannot("too many wait for a reload already"),
            TrySendError::Closed(_) => cannot("the server does not run, or has nothing to read anew"),
        })?;
        outcome.await.unwrap_or_else(|_| Err(cannot("the server ended")))
    }

    /// Who asks for reloads; only the first gets to know. Whoever does not listen lets go of it, so that
    /// nobody waits in vain.
    pub(super) fn reloads(&self) -> Option<mpsc::Receiver<Asked>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Completes when somebody asked for a drain. Cancel-safe.
    pub(super) async fn asked_to_drain(&self) {
        self.0.drain.notified().await;
    }
}

/// What a slot says, unless its connection ended while it was read.
fn info(descriptor: usize, slot: &Slot, now: u64) -> Option<ConnectionInfo> {
    let view = slot.view();
    let state = State::of(view.phase)?;
    let way = crate::sys::way::way(descriptor);
    let connection = ConnectionInfo {
        id: view.id,
        peer: slot.peer(),
        state,
        age: Duration::from_millis(now.saturating_sub(view.accepted)),
        in_state: Duration::from_millis(now.saturating_sub(view.since)),
        messages: slot.messages(),
        bytes_in: slot.bytes_in(),
        bytes_out: slot.bytes_out(),
        unsent: slot.unsent(),
        thread: slot.thread(),
        round_trip: way.map(|way| way.round_trip),
        retransmits: way.map(|way| way.retransmits),
    };
    (slot.id() == view.id && slot.phase() != Phase::Free).then_some(connection)
}

impl State {
    /// Every state, in the order the docs list them.
    pub const ALL: [State; 6] =
        [Self::Idle, Self::Receiving, Self::Answering, Self::Sending, Self::Closing, Self::Opening];

    /// The state that a phase is, if the slot is somebody's.
    pub(super) fn of(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Free => None,
            Phase::Idle => Some(State::Idle),
            Phase::Receiving => Some(State::Receiving),
            Phase::Answering => Some(State::Answering),
            Phase::Sending => Some(State::Sending),
            Phase::Closing => Some(State::Closing),
            Phase::Opening => Some(State::Opening),
        }
    }

    /// Its name, as JSON and the program have it.
    pub const fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Receiving => "receiving",
            State::Answering => "answering",
            State::Sending => "sending",
            State::Closing => "closing",
            State::Opening => "opening",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseError::Unknown => "there is no such connection",
            CloseError::Busy => "its thread has too many orders waiting",
        })
    }
}

impl std::error::Error for CloseError {}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monitor({} open)", self.open())
    }
}
