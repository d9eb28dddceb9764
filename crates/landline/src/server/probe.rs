//! A server that calls itself, to see whether anybody who calls is let in: what a watchdog is to go by.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::config::Excess;
use super::crew::Errand;
use super::listen::ListenAddr;
use super::monitor::Monitor;
use super::plan::Plan;
use crate::error::{Error, Kind};
use crate::event::PeerAddr;

/// How many calls that have not come through are remembered.
const EXPECTED_MAX: usize = 16;
/// How often a thread whose inbox is full is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// The calls of a server to itself that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// How many there are: almost always none, and that is all that is looked at then.
    count: AtomicUsize,
    expected: Mutex<Vec<PeerAddr>>,
    came: Condvar,
}

impl Probes {
    /// Whether this caller is one of them. If so, it has come through.
    #[inline]
    pub(crate) fn is_one(&self, peer: PeerAddr) -> bool {
        self.count.load(SeqCst) > 0 && self.has_come(canonical(peer))
    }

    fn has_come(&self, peer: PeerAddr) -> bool {
        let mut expected = self.expected();
        let has_come = self.strike(&mut expected, peer);
        self.came.notify_all();
        has_come
    }

    /// Expects a call from this address, makes it, and waits until it has come through; false if it has not by
    /// then. It is still expected: whoever lets it in late is not to take it for a caller.
    fn expect(
        &self,
        peer: PeerAddr,
        call: impl FnOnce() -> io::Result<()>,
        until: Instant,
    ) -> io::Result<bool> {
        self.add(peer);
        let called = call();
        let mut expected = self.expected();
        if let Err(error) = called {
            self.strike(&mut expected, peer);
            return Err(error);
        }
        while expected.contains(&peer) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            expected = self.came.wait_timeout(expected, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(true)
    }

    fn expected(&self) -> MutexGuard<'_, Vec<PeerAddr>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, peer: PeerAddr) {
        let mut expected = self.expected();
        if expected.len() == EXPECTED_MAX {
            expected.remove(0);
        }
        expected.push(peer);
        self.count.store(expected.len(), SeqCst);
    }

    /// Whether it was expected; it is not any more.
    fn strike(&self, expected: &mut Vec<PeerAddr>, peer: PeerAddr) -> bool {
        let place = expected.iter().position(|other| *other == peer);
        place.map(|place| expected.swap_remove(place));
        self.count.store(expected.len(), SeqCst);
        place.is_some()
    }
}

/// The same address, however the socket that was called writes it.
fn canonical(peer: PeerAddr) -> PeerAddr {
    match peer {
        PeerAddr::Ip(address) => PeerAddr::Ip(SocketAddr::new(address.ip().to_canonical(), address.port())),
        // It has no other name.
        PeerAddr::Local { pid, .. } => PeerAddr::Local { pid, uid: 0 },
        PeerAddr::Unnamed => PeerAddr::Unnamed,
    }
}

impl Monitor {
    /// Calls each of this server's listeners, as a caller would, and has each of its threads say that it has
    /// come to it. Such a call is closed as soon as it was accepted: it is no connection, whatever comes before
    /// the first message there, is not held against any limit, and makes no event. It blocks.
    ///
    /// A listener whose callers are to [wait](Excess::Wait) is not called while the server is full, and none
    /// is while there are no descriptors left, or where a sandbox does not let this process call: a server that
    /// does what it should then is not ill.
    ///
    /// # Errors
    /// [`is_timeout`](Error::is_timeout) when that was not done within `patience`, and any other when a
    /// listener can't be called, or the server does not run.
    pub fn probe(&self, patience: Duration) -> Result<(), Error> {
        let until = Instant::now() + patience;
        let plan = self
            .plan()
            .ok_or_else(|| Error::new(Kind::Serve, "cannot look after the server", "it takes no callers"))?;
        self.ask_threads(until).ok_or_else(|| {
            let cause = format!("one has not come to it within {patience:?}");
            Error::new(Kind::Timeout, "cannot have every thread of the server answer", cause)
        })?;
        for address in self.addresses() {
            let cannot = |error| Error::io(Kind::Connect, format!("cannot call {address} itself"), error);
            if is_full(&plan, &address) {
                continue;
            }
            let came = match self.call_itself(&address, until) {
                Err(error) if can_not_call(&error) => true,
                came => came.map_err(cannot)?,
            };
            // It may have become so while this was waiting.
            if !came && !is_full(&plan, &address) {
                let cause = format!("nobody was let in within {patience:?}");
                return Err(Error::new(Kind::Timeout, format!("cannot call {address} itself"), cause));
            }
        }
        Ok(())
    }

    fn call_itself(&self, address: &ListenAddr, until: Instant) -> io::Result<bool> {
        let Some(probes) = self.probes() else { return Ok(true) };
        let (socket, from, to) = match address {
            ListenAddr::Ip(address) => {
                let to = reachable(*address);
                let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
                socket.bind(&SocketAddr::new(to.ip(), 0).into())?;
                let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
                (socket, PeerAddr::Ip(from), to.into())
            }
            ListenAddr::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                let pid = std::process::id();
                (socket, PeerAddr::Local { pid, uid: 0 }, SockAddr::unix(path)?)
            }
        };
        // It leaves nothing behind at either end.
        socket.set_linger(Some(Duration::ZERO))?;
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        probes.expect(canonical(from), || socket.connect_timeout(&to, left), until)
    }

    /// None if one has not answered by then.
    fn ask_threads(&self, until: Instant) -> Option<()> {
        let Some(crew) = self.crew() else { return Some(()) };
        let threads = crew.len();
        let (told, answers) = sync_channel(threads);
        let left = || until.checked_duration_since(Instant::now());
        for thread in 0..threads {
            while crew.ask(thread, Errand::Answer(told.clone())).is_err() {
                std::thread::park_timeout(left()?.min(AGAIN));
            }
        }
        for _ in 0..threads {
            match answers.recv_timeout(left()?) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
        Some(())
    }
}

/// Where this machine reaches a listener of this address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Whether it had nothing left to call with, or is in a sandbox that does not let it.
fn can_not_call(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let is_shortage = matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM));
    is_shortage || matches!(errno, Some(Errno::ACCESS | Errno::PERM))
}

/// Whether callers wait there, as they are to.
fn is_full(plan: &Plan, address: &ListenAddr) -> bool {
    let listener = plan.listeners.iter().find(|listener| listener.bound.address == *address);
    listener.is_some_and(|listener| listener.policy.excess == Excess::Wait) && plan.admission.is_full()
}
