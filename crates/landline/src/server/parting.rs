//! Another process takes the place of this one: whomever it can go on with is left to it untouched, and the
//! others stay here until they have ended.

use std::future::pending;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::drain::DrainReport;
use super::fleet::Fleet;
use super::local::Local;
use super::signals::Signals;
use super::thread::Stage;
use crate::close::CloseReason;
use crate::event::Event;
use crate::takeover;

/// How often it is said how many are left.
const SAY_EVERY: Duration = Duration::from_millis(50);

/// What threads say when another process is to go on with their connections.
#[derive(Debug)]
pub(crate) struct Way {
    /// One for each thread that has left them alone.
    ready: Semaphore,
    /// The descriptors of those that stay.
    stay: Mutex<Vec<usize>>,
    /// Whether threads may go on that stand still.
    may_go_on: (Mutex<bool>, Condvar),
}

impl Way {
    fn new() -> Arc<Self> {
        Arc::new(Self { ready: Semaphore::new(0), stay: Mutex::default(), may_go_on: Default::default() })
    }

    /// Has a thread leave alone, from here on, whomever another process can go on with.
    pub(crate) fn hand_on(&self, local: &Local) {
        let mut stay = Vec::new();
        local.hand_on();
        local.for_each(|link| {
            if link.can_be_handed_on() {
                link.hand_on();
            } else {
                stay.push(link.peer.descriptor());
            }
        });
        self.stay.lock().unwrap_or_else(PoisonError::into_inner).extend(stay);
        self.ready.add_permits(1);
    }

    /// Has a thread do nothing at all, until it is told to [go on](Self::go_on).
    pub(crate) fn stand_still(&self) {
        let mut may_go_on = self.may_go_on.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*may_go_on {
            may_go_on = self.may_go_on.1.wait(may_go_on).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn go_on(&self) {
        *self.may_go_on.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.may_go_on.1.notify_all();
    }

    /// Waits until all threads have; those that stay.
    async fn all(&self, threads: usize) -> Vec<usize> {
        // Nobody closes it.
        let _ = self.ready.acquire_many(u32::try_from(threads).unwrap_or(u32::MAX)).await;
        std::mem::take(&mut *self.stay.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fleet {
    /// Leaves to another process whomever that can go on with, and drains the others. None if nobody took the
    /// place of this one, which then serves on. If it keeps nobody, or an event loop stands still, it is
    /// killed here.
    pub(crate) async fn part(&mut self, signals: &mut Signals) -> Option<DrainReport> {
        let plan = self.plan()?;
        let timeout = plan.config.drain_timeout;
        // Callers wait where they have called, and whoever was accepted by now is among the connections.
        self.follow(Arc::new(plan.handed_on())).await;
        let way = Way::new();
        self.enter(Stage::HandingOn(Arc::clone(&way)));
        let stay = way.all(plan.config.threads).await;
        if stay.is_empty() {
            // Nobody is served: what callers say meanwhile is to cost nothing.
            self.enter(Stage::StandingStill(Arc::clone(&way)));
        }
        takeover::makes_way();
        let Some(place) = self.withdraw(&stay, signals).await else {
            way.go_on();
            self.follow(plan).await;
            return None;
        };
        // Before its listeners are closed: those are another's. If nobody stays, that was all.
        takeover::leave(&place, stay.len());
        drop(plan);
        self.share().events.event(&Event::Parted { open: stay.len(), timeout });
        self.enter(Stage::Parted);
        Some(self.drain_who_stays(&place, signals, timeout).await)
    }

    /// Becomes keeper in the place of one that was killed; it returns if it can't. Whoever a thread accepted between
    /// the look at what is open and the exec would be closed by that, with what they have said unread: so
    /// nobody is accepted any more before. Callers wait where they have called.
    pub(crate) async fn become_keeper(&self) {
        let Some(plan) = self.plan() else { return };
        self.follow(Arc::new(plan.handed_on())).await;
        takeover::become_keeper();
        self.follow(plan).await;
    }

    async fn drain_who_stays(
        &mut self,
        place: &takeover::Place,
        signals: &mut Signals,
        timeout: Duration,
    ) -> DrainReport {
        self.begin_report();
        let started = Instant::now();
        signals.obey_oneself();
        // The first is for the process that serves.
        let hurry = async {
            signals.end(true).await;
            signals.end(true).await;
        };
        let table = Arc::clone(&self.share().table);
        let telling = async {
            loop {
                sleep(SAY_EVERY).await;
                place.say(table.open());
            }
        };
        let cut = tokio::select! {
            biased;
            () = self.all_ended() => None,
            () = hurry => Some(CloseReason::Cut),
            () = sleep(timeout) => Some(CloseReason::DrainDeadline),
            () = telling => None,
        };
        if let Some(reason) = cut {
            self.end_by_cut(reason).await;
        }
        self.report_replaced(started)
    }

    /// Waits until another process has all but those that stay; none if it has not come to that.
    async fn withdraw(&self, stay: &[usize], signals: &Signals) -> Option<takeover::Place> {
        tokio::select! {
            () = takeover::may_part() => {}
            () = signals.keeper_is_gone() => {
                takeover::become_keeper();
                return None;
            }
        }
        let place = match self.share().table.arena().map(|arena| takeover::part(stay, arena)) {
            Some(Ok(place)) => place,
            // The keeper kills one that does not go on from here.
            Some(Err(_)) | None => pending().await,
        };
        if takeover::is_replaced(signals.keeper_is_gone()).await {
            return Some(place);
        }
        drop(place);
        takeover::inherit(stay);
        None
    }
}
