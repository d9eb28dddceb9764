//! One thread of a server: its runtime, its share of the callers, its end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use socket2::Socket;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::accept::Acceptor;
use super::handler::Handler;
use super::host::{Crew, Errand, Host};
use super::local::{Local, Share};
use crate::close::CloseReason;
use crate::sys::socket;

/// How far a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Serving,
    /// No more callers; connections end at their next message boundary.
    Draining,
    /// Whoever is left is cut, for this reason.
    Cut(CloseReason),
}

/// What the threads of a server have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) share: Share,
    pub(crate) crew: Arc<Crew>,
    pub(crate) stage: watch::Receiver<Stage>,
}

/// What one thread is made of.
pub(crate) struct Thread<H: Handler> {
    pub(crate) index: usize,
    pub(crate) common: Common,
    pub(crate) handler: Arc<H>,
    pub(crate) listeners: Arc<Vec<Socket>>,
    pub(crate) inbox: mpsc::Receiver<Errand>,
}

impl<H: Handler> Thread<H> {
    /// Serves until the server has drained or was cut, or a listener is broken. `up` is told, and let go of,
    /// once it has all it needs to serve.
    pub(crate) fn run(self, up: &mut Option<SyncSender<()>>) -> io::Result<()> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
        runtime.block_on(self.serve(up))
    }

    async fn serve(self, up: &mut Option<SyncSender<()>>) -> io::Result<()> {
        let Self { index, common, handler, listeners, mut inbox } = self;
        let Common { share, crew, mut stage } = common;
        let local = Local::new(index, share);
        let host = Host::new(Rc::clone(&local), Arc::clone(&crew), handler);
        let mut accepting = JoinSet::new();
        for listener in &*listeners {
            accepting.spawn_local(Acceptor::new(Rc::clone(&host)).run(socket::register(listener)?));
        }
        drop(listeners);
        let sweeper = Rc::clone(&local);
        let sweeping = tokio::task::spawn_local(async move { sweeper.sweep().await });
        if let Some(up) = up.take() {
            // Whoever started the server waits for it, or has given up.
            let _ = up.send(());
        }
        let mut abandoned = false;
        loop {
            if local.is_draining() && accepting.is_empty() && crew.open_on(index) == 0 {
                sweeping.abort();
                return Ok(());
            }
            tokio::select! {
                Some(ended) = accepting.join_next() => ended.map_err(io::Error::other)??,
                Some(errand) = inbox.recv() => host.run_errand(errand),
                () = host.departed.notified(), if local.is_draining() => {}
                changed = stage.changed(), if !abandoned => {
                    // Whoever ran the server may be gone without a word.
                    abandoned = changed.is_err();
                    let stage = if abandoned { Stage::Cut(CloseReason::Cut) } else { *stage.borrow_and_update() };
                    obey(&local, stage);
                }
            }
        }
    }
}

fn obey(local: &Local, stage: Stage) {
    match stage {
        Stage::Serving => {}
        Stage::Draining => local.start_drain(),
        Stage::Cut(reason) => {
            local.start_drain();
            local.cut(reason);
        }
    }
}

/// A thread's descriptors beyond its connections: epoll, wake-up, timer, reserve, and one for each listener.
pub(crate) const DESCRIPTORS: usize = 8;
