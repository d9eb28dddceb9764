//! A server that runs: on its own until a signal ends it, or within somebody's program.

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Config;
use super::drain::{DrainReport, Watch};
use super::fleet::Fleet;
use super::listen::ListenAddr;
use super::listener::Listener;
use super::local::Share;
use super::monitor::{Asked, Monitor};
use super::plan::{Plan, TABLE_MAX, max_connections};
use super::reload::{Reload, Reloader};
use super::signals::{Ask, Signals};
use super::table::Table;
use crate::error::{Error, Kind, Outcome};
use crate::event::{Event, Subscriber};
use crate::sys::{limits, socket};
use crate::takeover;

/// A server that knows what will serve its connections.
pub struct Serving {
    pub(super) listeners: Vec<Arc<Listener>>,
    pub(super) config: Config,
    pub(super) subscriber: Option<Box<dyn Subscriber>>,
    pub(super) monitor: Monitor,
    pub(super) reload: Option<Reload>,
    /// What does not fit together, to be told when it is to run.
    pub(super) misfit: Option<Error>,
}

impl Serving {
    /// Listens where `other` does too, and serves those who call there as `other` would: one server, with the
    /// same threads and the same `max_connections` for all.
    ///
    /// ```no_run
    /// use landline::{Echo, Framing, Outcome, Server, Upper, framed};
    ///
    /// fn main() -> Outcome {
    ///     let upper = Server::bind("127.0.0.1:8081")?.serve(framed(Framing::Line, Upper));
    ///     let echo = Server::bind("unix:/run/echo.sock")?.unix_mode(0o660).serve(framed(Framing::Raw, Echo));
    ///     let _ = upper.and(echo).run()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// What holds for a whole server ([`Config`], [`events`](crate::Server::events),
    /// [`on_reload`](Self::on_reload)) is said on the first of them: if `other` says something else,
    /// running is an error ([`is_config`](Error::is_config)).
    #[must_use]
    pub fn and(mut self, other: Serving) -> Self {
        let said = (other.config != Config::default() && other.config != self.config)
            || other.subscriber.is_some()
            || other.reload.is_some();
        if said {
            let cause = "what holds for the whole server has to be said on the first of them";
            self.misfit = Some(Error::new(Kind::Config, "cannot serve two listeners as one server", cause));
        }
        self.misfit = self.misfit.or(other.misfit);
        self.listeners.extend(other.listeners);
        self
    }

    /// How to begin anew: called by [`run`](Self::run), on its thread, upon SIGHUP and
    /// [`Monitor::reload`]. What it returns takes the place of this server's listeners and limits; addresses
    /// that it [binds through the monitor](Monitor::bind) and that are listened on already go on without
    /// a gap. Live connections stay as they are, with the limits that they began with. An error changes
    /// nothing and is told in an [event](Event::ReloadFailed).
    #[must_use]
    pub fn on_reload(mut self, reload: impl FnMut(&Monitor) -> Outcome<Serving> + 'static) -> Self {
        self.reload = Some(Box::new(reload));
        self
    }

    /// Serves until a signal ends it, on threads of its own. SIGINT, SIGTERM and, unless it can
    /// [reload](Self::on_reload), SIGHUP drain; the second of them cuts. SIGINT and SIGHUP are left alone if
    /// they were ignored at the start, as under `nohup`.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) when `max_connections` can't be held or the settings contradict each
    /// other, and otherwise when threads can't start or a listener breaks.
    pub fn run(mut self) -> Result<DrainReport, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io(Kind::Serve, "cannot start", error))?;
        runtime.block_on(async {
            let signals = Signals::new();
            let mut signals =
                signals.map_err(|error| Error::io(Kind::Serve, "cannot wait for signals", error))?;
            let (monitor, reload) = (self.monitor.clone(), self.reload.take());
            let mut asked = monitor.reloads().filter(|_| reload.is_some());
            let mut reloader = Reloader { monitor: monitor.clone(), reload };
            // Before anybody hears that it serves: whoever kills it from then on is to find it has.
            let mut fleet = self.launch(takeover::table, takeover::serving)?;
            takeover::tell(&*fleet.share().events);
            // One that takes the place of another may have to go on with its end.
            let begun = takeover::ending_for();
            while begun.is_none() {
                tokio::select! {
                    ask = signals.next() => match ask {
                        Ask::HangUp if reloader.can() => drop(reloader.reload(&fleet).await),
                        Ask::End | Ask::HangUp => break,
                        Ask::TellOfUpgrade => takeover::tell_of_upgrade(&*fleet.share().events),
                        #[cfg(all(target_os = "linux", feature = "takeover"))]
                        Ask::MakeWay => if let Some(report) = fleet.part(&mut signals).await {
                            return Ok(report);
                        },
                        #[cfg(all(target_os = "linux", feature = "takeover"))]
                        Ask::KeeperIsGone => {
                            // If it can, it does not come back.
                            fleet.become_keeper().await;
                            signals.obey_oneself();
                        }
                    },
                    Some(asked) = next(&mut asked) => {
                        // Whoever asked may have stopped waiting.
                        let _ = asked.send(reloader.reload(&fleet).await);
                    }
                    () = monitor.asked_to_drain() => break,
                    failure = fleet.failure() => return Err(failure),
                }
            }
            takeover::ending();
            // Who asks now is told that it is too late.
            drop(asked);
            Ok(fleet.drain(begun.unwrap_or_default(), signals.end(!reloader.can())).await)
        })
    }

    /// Serves on threads of its own, from within a program that goes on; no signal is handled. The
    /// process's limit on open files is raised to its maximum. Dropping what
    /// it returns cuts every connection.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn start(self) -> Result<Running, Error> {
        drop(self.monitor.reloads());
        let addresses = self.listeners.iter().map(|listener| listener.bound.address.clone()).collect();
        Ok(Running { fleet: self.launch(|_| None, || {})?, addresses })
    }

    /// `shared` is a table that outlives the process, if there is to be one; `serving` is told once it
    /// serves.
    fn launch(
        self,
        shared: impl FnOnce(usize) -> Option<Arc<Table>>,
        serving: impl FnOnce(),
    ) -> Result<Fleet, Error> {
        if let Some(misfit) = self.misfit {
            return Err(misfit);
        }
        let open_files = limits::raise_open_files().map_err(cannot_raise)?;
        let (max_connections, lowered) = max_connections(&self.config, self.listeners.len(), open_files)?;
        let capacity = open_files.min(TABLE_MAX);
        let table = shared(capacity).map_or_else(|| Table::new(capacity), Ok);
        let table =
            table.map_err(|error| Error::io(Kind::Serve, "cannot make the connection table", error))?;
        let watch = Watch::new(self.subscriber.unwrap_or_else(|| Box::new(())));
        let plan = Plan::new(&table, self.config, self.listeners, max_connections, None)?;
        plan.listeners.iter().for_each(|listener| tell_of_backlog(listener, &*watch));
        let threads = plan.config.threads;
        let share = Share::new(threads, table, watch.clone());
        let fleet = Fleet::start(&share, watch.clone(), plan, &self.monitor)?;
        if let Some(arena) = fleet.share().table.arena() {
            arena.free_left();
        }
        serving();
        let plan = fleet.plan();
        let listeners = plan.iter().flat_map(|plan| &plan.listeners);
        for listener in listeners.filter(|listener| !listener.bound.is_closed()) {
            listener.tell(&*watch);
            listener.renew(&fleet.share().events);
        }
        watch.event(&Event::Started { max_connections, lowered, threads });
        Ok(fleet)
    }
}

async fn next(asked: &mut Option<mpsc::Receiver<Asked>>) -> Option<Asked> {
    match asked {
        Some(asked) => asked.recv().await,
        None => pending().await,
    }
}

pub(super) fn cannot_raise(error: std::io::Error) -> Error {
    Error::io(Kind::Serve, "cannot raise the limit on open files", error)
}

/// Says so if the kernel holds fewer waiting callers than were asked for.
pub(super) fn tell_of_backlog(listener: &Listener, events: &dyn Subscriber) {
    let asked = listener.policy.backlog;
    if let Some(allowed) = socket::backlog_max().and_then(|max| u32::try_from(max).ok())
        && allowed < asked
    {
        events.event(&Event::BacklogLowered { asked, allowed });
    }
}

/// A server that runs within a program; what [`Serving::start`] returns. Dropping it cuts every connection.
pub struct Running {
    fleet: Fleet,
    addresses: Vec<ListenAddr>,
}

impl Running {
    /// The first address of the network that it began to listen on; `0.0.0.0:0` if it has only Unix sockets.
    pub fn local_addr(&self) -> SocketAddr {
        super::first_ip(&self.addresses)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.fleet.open()
    }

    /// Completes when the server can't go on, with the reason; never while all is well. Cancel-safe.
    pub async fn failure(&mut self) -> Error {
        self.fleet.failure().await
    }

    /// Puts the listeners and limits of `anew` in the place of those it has. Addresses that `anew` took over
    /// by [`Monitor::bind`] go on without a gap; those that it lacks are no longer listened on. Live
    /// connections stay as they are, with the limits that they began with. Not cancel-safe: the change
    /// may or may not have happened.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) for what can't be changed while it runs (the number of threads) or
    /// can't be held, [`is_listen`](Error::is_listen) when a listener can't be set up. Nothing has
    /// changed then.
    pub async fn reload(&self, anew: Serving) -> Result<(), Error> {
        super::reload::reload(&self.fleet, anew).await
    }

    /// Drains: stops accepting, lets connections end at their next message boundary, cuts what is left after
    /// `drain_timeout`. Needs a tokio runtime with time. If it is dropped half-way, every connection is cut.
    pub async fn drain(self) -> DrainReport {
        self.fleet.drain(Duration::ZERO, pending()).await
    }

    /// Cuts every connection now. Needs a tokio runtime with time.
    pub async fn cut(self) -> DrainReport {
        self.fleet.cut().await
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("listeners", &self.listeners)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
