//! What the service manager is told: the protocol of `sd_notify(3)`. Where there is none, nothing is told.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use landline::{Event, Monitor, Subscriber};

use super::survival::process_id;
use crate::exit::{Exit, Failure};

/// The service manager that started this program, if there is one that wants to be told.
#[derive(Debug)]
pub(super) struct Manager {
    socket: Option<UnixDatagram>,
}

impl Manager {
    /// As the environment says.
    pub(super) fn of_this_program() -> Result<Arc<Self>, Failure> {
        let place = env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty());
        let socket = place.as_ref().map(|place| connect(place.as_bytes())).transpose();
        socket.map(|socket| Arc::new(Self { socket })).map_err(|error| {
            let place = place.unwrap_or_default().into_vec().escape_ascii().to_string();
            let cause = landline::error::describe(&error);
            Failure::new(Exit::Other, format!("cannot tell the service manager at {place}: {cause}"))
                .hint("NOTIFY_SOCKET says where it listens; without it nobody is told")
        })
    }

    /// Tells; one who has gone meanwhile is told nothing.
    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(words.as_bytes());
        }
    }

    /// The server is about to read its configuration anew.
    pub(super) fn reloads(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the configuration anew", now()));
    }

    /// Tells again and again that the server is well, for as long as it is and what this returns lives, if
    /// that is wanted.
    pub(super) fn looks_after(self: &Arc<Self>, monitor: Monitor) -> Result<Option<Watchdog>, Failure> {
        let Some(timeout) = watchdog_timeout().filter(|_| self.socket.is_some()) else { return Ok(None) };
        let (until, ended) = sync_channel(0);
        let manager = Arc::clone(self);
        // Two looks in the time that one may take.
        let every = timeout / 3;
        let look = move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if monitor.probe(every).is_ok() {
                    manager.tell("WATCHDOG=1");
                }
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(look);
        thread.map(|_| Some(Watchdog(until))).map_err(|error| {
            let cause = landline::error::describe(&error);
            Failure::new(Exit::Other, format!("cannot look after the server: {cause}"))
        })
    }
}

/// The server is looked after until this is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "that it is there is all that it says")]
pub(super) struct Watchdog(SyncSender<()>);

fn connect(place: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match place {
        [b'@', name @ ..] => connect_to_name(&socket, name)?,
        path => socket.connect(OsStr::from_bytes(path))?,
    }
    // Whoever does not read keeps nobody from serving.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Subscriber for Manager {
    fn event(&self, event: &Event) {
        let serving = |what: String| format!("READY=1\nMAINPID={}\nSTATUS={what}", process_id());
        match event {
            Event::Started { max_connections, threads, .. } => {
                self.tell(&serving(format!(
                    "serving up to {max_connections} connections on {threads} threads"
                )));
            }
            Event::Reloaded { listeners, .. } => {
                self.tell(&serving(format!("serving by another configuration, {listeners} listeners")));
            }
            Event::ReloadFailed { .. } => {
                self.tell(&serving(
                    "serving on as before: the configuration could not be read anew".to_owned(),
                ));
            }
            Event::DrainStarted { open, timeout, .. } => {
                let more = timeout.as_micros() + GRACE.as_micros();
                self.tell(&format!(
                    "STOPPING=1\nEXTEND_TIMEOUT_USEC={more}\nSTATUS=stopping, {open} connections are open"
                ));
            }
            _ => {}
        }
    }
}

/// What a server needs to end beside the time that connections have.
const GRACE: Duration = Duration::from_secs(5);

/// Whether the server has to say again and again that it is well.
pub(super) fn is_looked_after() -> bool {
    watchdog_timeout().is_some()
}

/// Within which time the service manager wants to hear that the server is well, if it does.
fn watchdog_timeout() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    // It names the process that it has started.
    if number("WATCHDOG_PID").is_some_and(|id| id != u64::from(process_id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|time| *time > 0).map(Duration::from_micros)
}

#[cfg(target_os = "linux")]
fn connect_to_name(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_to_name(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The clock of the machine, in microseconds.
fn now() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
