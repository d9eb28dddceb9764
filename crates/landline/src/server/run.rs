//! A server that runs: on its own until a signal ends it, or within somebody's program.

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::access::Access;
use super::admission::Admission;
use super::drain::{DrainReport, Watch};
use super::fleet::Fleet;
use super::handler::Handler;
use super::local::Share;
use super::table::Table;
use super::{Config, Excess, MAX_CONNECTIONS, Server, thread};
use crate::error::{Error, Kind};
use crate::event::{Event, Subscriber};
use crate::sys::{limits, signals, socket};

/// Descriptors kept free for what the program itself needs: standard streams, logs, libraries.
const OTHER_DESCRIPTORS: usize = 48;
/// The largest table there is: a descriptor limit can be far larger than any number of connections.
const TABLE_MAX: usize = 1 << 20;

/// A server that knows what will serve its connections.
pub struct Serving<H> {
    pub(super) server: Server,
    pub(super) handler: H,
}

impl<H: Handler> Serving<H> {
    /// Serves until a signal ends it, on threads of its own. SIGINT, SIGTERM and SIGHUP drain, the second of
    /// them cuts; SIGINT and SIGHUP are left alone if they were ignored at the start, as under `nohup`.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) when `max_connections` can't be held, and otherwise when threads can't
    /// start or a listener breaks.
    pub fn run(self) -> Result<DrainReport, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::io(Kind::Serve, "cannot start", error))?;
        runtime.block_on(async {
            let mut stop =
                Stop::new().map_err(|error| Error::io(Kind::Serve, "cannot wait for signals", error))?;
            let monitor = self.server.monitor();
            let mut fleet = self.launch()?;
            tokio::select! {
                () = stop.recv() => {}
                () = monitor.asked_to_drain() => {}
                failure = fleet.failure() => return Err(failure),
            }
            Ok(fleet.drain(stop.recv()).await)
        })
    }

    /// Serves on threads of its own, from within a program that goes on; no signal is handled. The
    /// process's limit on open files is raised to its maximum. Dropping what
    /// it returns cuts every connection.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn start(self) -> Result<Running, Error> {
        let addresses = self.server.local_addrs();
        Ok(Running { fleet: self.launch()?, addresses })
    }

    fn launch(self) -> Result<Fleet, Error> {
        let Server { listeners, config, access, subscriber, monitor } = self.server;
        check_excess(&config, &access)?;
        let open_files = limits::raise_open_files()
            .map_err(|error| Error::io(Kind::Serve, "cannot raise the limit on open files", error))?;
        let (max_connections, lowered) = max_connections(&config, open_files)?;
        let table = Table::new(open_files.min(TABLE_MAX))
            .map_err(|error| Error::io(Kind::Serve, "cannot make the connection table", error))?;
        let watch = Watch::new(subscriber);
        let (addresses, sockets): (Vec<_>, Vec<_>) =
            listeners.into_iter().map(|listener| (listener.address, listener.socket)).unzip();
        for (address, socket) in addresses.iter().zip(&sockets) {
            prepare(socket, &config)
                .map_err(|error| Error::io(Kind::Listen, format!("cannot listen on {address}"), error))?;
        }
        if let Some(allowed) = socket::backlog_max().and_then(|max| u32::try_from(max).ok())
            && allowed < config.backlog
        {
            watch.event(&Event::BacklogLowered { asked: config.backlog, allowed });
        }
        let threads = config.threads;
        let admission = Admission::new(table.clone(), max_connections).with(
            access,
            config.max_accept_rate,
            config.max_connections_per_ip,
        );
        let share = Share::new(config, table, watch.clone());
        let fleet = Fleet::start(&share, watch.clone(), admission, sockets, self.handler, &monitor)?;
        for address in addresses {
            watch.event(&Event::Listening { address });
        }
        watch.event(&Event::Started { max_connections, lowered, threads });
        Ok(fleet)
    }
}

/// Callers can't be left waiting for a verdict that needs to know who they are.
fn check_excess(config: &Config, access: &Access) -> Result<(), Error> {
    let knows_callers =
        config.max_connections_per_ip.is_some() || config.max_accept_rate.is_some() || !access.is_empty();
    if config.excess == Excess::Wait && knows_callers {
        let cause = "limits by address or rate have to accept callers before they can refuse them";
        return Err(Error::new(Kind::Config, "cannot leave callers waiting", cause));
    }
    Ok(())
}

/// Sets on a listener what every connection it accepts is to start with.
fn prepare(listener: &socket2::Socket, config: &Config) -> std::io::Result<()> {
    socket::watch_for_dead_peers(listener, &config.dead_peer())?;
    // On a socket that listens already this only changes its backlog.
    listener.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))
}

/// How many connections to let in, and whether the descriptor limit is what decided it.
fn max_connections(config: &Config, open_files: usize) -> Result<(usize, bool), Error> {
    let own = OTHER_DESCRIPTORS + thread::DESCRIPTORS * config.threads;
    let held = open_files.min(TABLE_MAX).saturating_sub(own);
    match config.max_connections {
        None if held < MAX_CONNECTIONS => Ok((held.max(1), true)),
        None => Ok((MAX_CONNECTIONS, false)),
        Some(asked) if asked > held => Err(Error::new(
            Kind::Config,
            format!("cannot hold {asked} connections"),
            format!("the limit on open files is {open_files}, which is enough for {held}"),
        )),
        Some(asked) => Ok((asked, false)),
    }
}

/// The signals that end a server.
struct Stop {
    interrupt: Option<Signal>,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        let unless_ignored =
            |kind: SignalKind| (!signals::is_ignored(kind.as_raw_value())).then(|| signal(kind)).transpose();
        Ok(Self {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them. Cancel-safe.
    async fn recv(&mut self) {
        async fn next(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => pending().await,
            }
        }
        tokio::select! {
            () = next(&mut self.interrupt) => {}
            _ = self.terminate.recv() => {}
            () = next(&mut self.hangup) => {}
        }
    }
}

/// A server that runs within a program; what [`Serving::start`] returns. Dropping it cuts every connection.
pub struct Running {
    fleet: Fleet,
    addresses: Vec<SocketAddr>,
}

impl Running {
    /// The address it listens on; the first, if there are several.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Every address it listens on, at least one.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.fleet.open()
    }

    /// Completes when the server can't go on, with the reason; never while all is well. Cancel-safe.
    pub async fn failure(&mut self) -> Error {
        self.fleet.failure().await
    }

    /// Drains: stops accepting, lets connections end at their next message boundary, cuts what is left after
    /// `drain_timeout`. Needs a tokio runtime with time. If it is dropped half-way, every connection is cut.
    pub async fn drain(self) -> DrainReport {
        self.fleet.drain(pending()).await
    }

    /// Cuts every connection now. Needs a tokio runtime with time.
    pub async fn cut(self) -> DrainReport {
        self.fleet.cut().await
    }
}

impl<H> fmt::Debug for Serving<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("server", &self.server).finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
