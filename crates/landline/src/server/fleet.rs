//! All threads of a server, as whoever runs it sees them: started together, watched, drained, cut.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::crew::Crew;
use super::drain::{DrainReport, Watch};
use super::local::Share;
use super::monitor::Monitor;
use super::plan::Plan;
use super::thread::{Stage, Thread};
use crate::close::CloseReason;
use crate::error::{Error, Kind};
use crate::event::Event;

/// How long threads have to end once every connection was told to. One that is in the middle of a computation
/// may not.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// How long the accept loops of the plan before have to take those who called by then.
const RETIRE_TIME: Duration = Duration::from_secs(1);

/// The threads of one server.
pub(crate) struct Fleet {
    share: Share,
    watch: Arc<Watch>,
    stage: watch::Sender<Stage>,
    ends: mpsc::Receiver<io::Result<()>>,
    running: Vec<JoinHandle<()>>,
    alive: usize,
}

impl Fleet {
    /// Starts the threads and waits until each of them serves. `share.events` must be the watch.
    pub(crate) fn start(
        share: &Share,
        watch: Arc<Watch>,
        plan: Plan,
        monitor: &Monitor,
    ) -> Result<Self, Error> {
        let threads = plan.config.threads;
        let (crew, inboxes) = Crew::new(threads);
        let (stage, stages) = watch::channel(Stage::Serving(Arc::new(plan)));
        monitor.watch(share, Arc::clone(&crew), stages.clone());
        let (ended, ends) = mpsc::channel(threads);
        let (up, ups) = sync_channel(threads);
        let mut fleet = Self { share: share.clone(), watch, stage, ends, running: Vec::new(), alive: 0 };
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let (share, crew, stage) = (share.clone(), Arc::clone(&crew), stages.clone());
            let thread = Thread { index, share, crew, stage, inbox };
            let (ended, mut up) = (ended.clone(), Some(up.clone()));
            let body = move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| thread.run(&mut up)));
                let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")));
                // There is room for each thread's end, and nobody to tell if nobody listens.
                let _ = ended.try_send(outcome);
                // Only now, so that whoever misses this thread finds out why.
                drop(up);
            };
            let spawned = Builder::new().name(format!("landline-{index}")).spawn(body);
            fleet.running.push(spawned.map_err(cannot_start)?);
            fleet.alive += 1;
        }
        drop(up);
        // Each thread says that it is up, or ends without having said so.
        if ups.iter().count() < threads {
            let outcome = fleet.ends.try_recv().unwrap_or(Ok(()));
            return Err(cannot_start(outcome.err().unwrap_or_else(|| io::Error::other("a thread ended"))));
        }
        #[cfg(all(target_os = "linux", feature = "takeover"))]
        super::recover::tell(share);
        Ok(fleet)
    }

    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// The plan it serves by.
    pub(crate) fn plan(&self) -> Option<Arc<Plan>> {
        self.stage.borrow().plan().map(Arc::clone)
    }

    /// Serves by another plan from now on. Live connections stay as they are.
    pub(crate) async fn follow(&self, plan: Arc<Plan>) {
        let stage = self.stage.send_replace(Stage::Serving(plan));
        if let Stage::Serving(before) = stage {
            before.accepting.close();
            // One that takes longer goes on until it is done; nobody is lost.
            let _ = tokio::time::timeout(RETIRE_TIME, before.accepting.wait()).await;
        }
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    pub(crate) fn open(&self) -> usize {
        self.share.table.open()
    }

    /// Waits until a thread ends that nobody told to: the server can't go on. Cancel-safe.
    pub(crate) async fn failure(&mut self) -> Error {
        let outcome = self.ends.recv().await.unwrap_or(Ok(()));
        self.alive -= 1;
        let cause = outcome.err().unwrap_or_else(|| io::Error::other("a thread ended"));
        Error::io(Kind::Serve, "cannot go on serving", cause)
    }

    /// Says that it is not ready, closes the listeners, lets connections end at their next message boundary,
    /// cuts what is left at the deadline or when `hurry` completes, and reports. Another process may have
    /// `begun` so long ago.
    pub(crate) async fn drain(mut self, begun: Duration, hurry: impl Future<Output = ()>) -> DrainReport {
        let config = self.plan().map(|plan| plan.config.clone()).unwrap_or_default();
        let delay = config.drain_delay.saturating_sub(begun);
        let timeout = config.drain_timeout.saturating_sub(begun.saturating_sub(config.drain_delay));
        let started = self.begin_end(timeout);
        let mut hurry = pin!(hurry);
        let is_cut = tokio::select! {
            biased;
            () = hurry.as_mut() => true,
            () = tokio::time::sleep(delay) => false,
        };
        if is_cut {
            self.end_by_cut(CloseReason::Cut).await;
            return self.report(started);
        }
        // Nobody is asked to end before nobody can come in their place.
        if let Some(closed) = self.plan().map(|plan| Arc::new(plan.closed())) {
            self.follow(closed).await;
        }
        self.stage.send_replace(Stage::Draining);
        tokio::select! {
            biased;
            () = Self::ended(&mut self.ends, &mut self.alive) => {}
            () = hurry => self.end_by_cut(CloseReason::Cut).await,
            () = tokio::time::sleep(timeout) => self.end_by_cut(CloseReason::DrainDeadline).await,
        }
        self.report(started)
    }

    /// Stops accepting, cuts every connection, and reports.
    pub(crate) async fn cut(mut self) -> DrainReport {
        let started = self.begin_end(Duration::ZERO);
        self.end_by_cut(CloseReason::Cut).await;
        self.report(started)
    }

    fn begin_end(&self, timeout: Duration) -> Instant {
        let busy = self.share.table.live().filter(|slot| slot.phase().is_busy()).count();
        self.watch.begin();
        self.share.events.event(&Event::DrainStarted { open: self.open(), busy, timeout });
        Instant::now()
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(super) fn begin_report(&self) {
        self.watch.begin();
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    /// What became of those that another process could not go on with.
    pub(super) fn report_replaced(&self, started: Instant) -> DrainReport {
        DrainReport { replaced: true, ..self.watch.report(&self.share.table, started.elapsed()) }
    }

    #[cfg(all(target_os = "linux", feature = "takeover"))]
    /// Waits until every thread has ended. Cancel-safe.
    pub(super) async fn all_ended(&mut self) {
        Self::ended(&mut self.ends, &mut self.alive).await;
    }

    pub(super) async fn end_by_cut(&mut self, reason: CloseReason) {
        self.stage.send_replace(Stage::Cut(reason));
        let _ = tokio::time::timeout(CUT_GRACE, Self::ended(&mut self.ends, &mut self.alive)).await;
    }

    fn report(&self, started: Instant) -> DrainReport {
        let report = self.watch.report(&self.share.table, started.elapsed());
        let (finished, cut, took) = (report.finished, report.cut.len(), report.took);
        self.share.events.event(&Event::Drained { finished, cut, took });
        report
    }

    /// Waits until every thread has ended.
    async fn ended(ends: &mut mpsc::Receiver<io::Result<()>>, alive: &mut usize) {
        while *alive > 0 && ends.recv().await.is_some() {
            *alive -= 1;
        }
    }
}

fn cannot_start(cause: io::Error) -> Error {
    Error::io(Kind::Serve, "cannot start a thread", cause)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // A monitor may live on: what it shows, and the sockets that listen, end here.
        if self.plan().is_some() {
            self.stage.send_replace(Stage::Cut(CloseReason::Cut));
        }
        // Threads that are still there are told by the end of the channel that nobody wants them any more;
        // those that ended are joined, so that their sockets are closed for sure.
        for thread in self.running.drain(..).filter(JoinHandle::is_finished) {
            let _ = thread.join();
        }
    }
}
