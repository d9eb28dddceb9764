//! One thread of a server: its runtime, its share of the callers, its end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::accept::{Acceptor, Retirement};
use super::crew::{Crew, Errand};
use super::door::Door;
use super::host::Host;
use super::listener::Listener;
use super::local::{Local, Share};
#[cfg(all(target_os = "linux", feature = "takeover"))]
use super::parting::Way;
use super::plan::Plan;
use crate::close::CloseReason;

/// How far a server is in its life.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// It serves by this plan.
    Serving(Arc<Plan>),
    /// No more callers; connections end at their next message boundary.
    Draining,
    /// Whoever is left is cut, for this reason.
    Cut(CloseReason),
    /// Another process goes on with whomever it can: they are left alone here.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    HandingOn(Arc<Way>),
    /// There are no others: nothing is done at all.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    StandingStill(Arc<Way>),
    /// It has them; the others end at their next message boundary.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    Parted,
}

/// What one thread is made of.
pub(crate) struct Thread {
    pub(crate) index: usize,
    pub(crate) share: Share,
    pub(crate) crew: Arc<Crew>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) inbox: mpsc::Receiver<Errand>,
}

impl Thread {
    /// Serves until the server has drained or was cut, or a listener is broken. `up` is told, and let go of,
    /// once it has all it needs to serve.
    pub(crate) fn run(self, up: &mut Option<SyncSender<()>>) -> io::Result<()> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve(up))
    }

    async fn serve(self, up: &mut Option<SyncSender<()>>) -> io::Result<()> {
        let Self { index, share, crew, mut stage, mut inbox } = self;
        let local = Local::new(index, share);
        let mut doors = Doors::new(Host::new(Rc::clone(&local), Arc::clone(&crew)));
        if let Some(plan) = stage.borrow_and_update().plan() {
            doors.open(plan, false)?;
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            super::recover::recover(&doors.host, plan);
        }
        let sweeper = Rc::clone(&local);
        // Before anybody is served: the first to be may be the one who stops it all.
        let beating = local.begin_to_beat();
        let sweeping = tokio::task::spawn_local(async move { sweeper.sweep(beating).await });
        if let Some(up) = up.take() {
            // Whoever started the server waits for it, or has given up.
            let _ = up.send(());
            drop(up);
            // Nothing that was begun above has been polled yet: nobody is accepted and nothing answered.
            let is_beside = !local.table.outlives_the_process();
            if !crate::takeover::may_serve(is_beside, || matches!(stage.has_changed(), Ok(false))) {
                // What it has found in the table is not its own: whoever goes on finds it as it was.
                while local.table.outlives_the_process() {
                    std::thread::park();
                }
                return Ok(());
            }
            // Some may have to be told that they are not let in, which is an answer.
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            if let Some(plan) = stage.borrow().plan() {
                super::recover::let_in(&doors.host, plan);
            }
        }
        let mut abandoned = false;
        let parted = crate::takeover::parted();
        loop {
            if local.is_draining() && doors.accepting.is_empty() && crew.open_on(index) == 0 {
                sweeping.abort();
                return Ok(());
            }
            tokio::select! {
                Some(ended) = doors.accepting.join_next() => ended.map_err(io::Error::other)??,
                Some(errand) = inbox.recv() => doors.host.run_errand(errand),
                () = doors.host.departed.notified(), if local.is_draining() => {}
                changed = stage.changed(), if !abandoned => {
                    // Whoever ran the server may be gone without a word.
                    abandoned = changed.is_err();
                    let stage = if abandoned {
                        Stage::Cut(CloseReason::Cut)
                    } else {
                        stage.borrow_and_update().clone()
                    };
                    if stage.is_last_call() {
                        // Nobody accepts any more: these are the last.
                        while let Ok(errand) = inbox.try_recv() {
                            doors.host.run_errand(errand);
                        }
                    }
                    doors.obey(&stage)?;
                }
                // A server beside the one that is kept has nobody who could be handed on.
                () = parted.cancelled(), if !doors.open.is_empty() && !local.table.outlives_the_process() => {
                    doors.leave();
                }
            }
        }
    }
}

/// The accept loops of one thread.
struct Doors {
    host: Rc<Host>,
    accepting: JoinSet<io::Result<()>>,
    /// How to end each of those that go by the plan.
    open: Vec<(Arc<Listener>, Retirement)>,
}

impl Doors {
    fn new(host: Rc<Host>) -> Self {
        Self { host, accepting: JoinSet::new(), open: Vec::new() }
    }

    /// Accepts by a plan from now on, and no longer by the one before it. A listener that can't be had is an
    /// error, or, if `patient`, is tried again until it can.
    fn open(&mut self, plan: &Plan, patient: bool) -> io::Result<()> {
        self.host.local().adopt(plan);
        let before = std::mem::take(&mut self.open);
        for listener in plan.listeners.iter().filter(|listener| !listener.bound.is_closed()) {
            let acceptor = Acceptor::new(Door::new(&self.host, listener, &plan.admission));
            let registered = match acceptor.register() {
                Err(error) if !patient => return Err(error),
                registered => registered.ok(),
            };
            let retirement = Retirement::new(&self.host.local().drain);
            let (accepting, retired) = (plan.accepting.token(), retirement.clone());
            self.accepting.spawn_local(async move {
                let ended = acceptor.run(registered, &retired).await;
                drop(accepting);
                ended
            });
            self.open.push((Arc::clone(listener), retirement));
        }
        for (listener, retirement) in before {
            retirement.retire(plan.leaves_queues || plan.has(&listener));
        }
        Ok(())
    }

    /// Accepts nobody any more: another process does.
    fn leave(&mut self) {
        self.open.drain(..).for_each(|(_, retirement)| retirement.retire(true));
    }

    fn obey(&mut self, stage: &Stage) -> io::Result<()> {
        let local = Rc::clone(self.host.local());
        match stage {
            Stage::Serving(plan) => {
                local.take_back();
                local.for_each(|link| link.take_back());
                self.open(plan, true)?;
            }
            Stage::Draining => local.start_drain(),
            Stage::Cut(reason) => {
                local.start_drain();
                local.cut(*reason);
            }
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            Stage::HandingOn(way) => way.hand_on(&local),
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            Stage::StandingStill(way) => way.stand_still(),
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            Stage::Parted => local.part(),
        }
        Ok(())
    }
}

impl Stage {
    /// Whether nobody accepts any more, and whoever is on the way to a thread has to be seated.
    fn is_last_call(&self) -> bool {
        match self {
            Stage::Serving(_) | Stage::Draining | Stage::Cut(_) => false,
            #[cfg(all(target_os = "linux", feature = "takeover"))]
            Stage::HandingOn(_) | Stage::StandingStill(_) | Stage::Parted => true,
        }
    }

    /// The plan by which it serves, while it does.
    pub(crate) fn plan(&self) -> Option<&Arc<Plan>> {
        match self {
            Stage::Serving(plan) => Some(plan),
            _ => None,
        }
    }
}

/// A thread's descriptors beyond its connections: epoll, wake-up, timer, reserve, and one for each listener.
pub(crate) const DESCRIPTORS: usize = 8;
