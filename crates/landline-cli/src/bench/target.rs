//! Whom a run calls: found once, before it begins.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use landline::Address;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::call::unreachable;
use crate::exit::{Exit, Failure};

/// An address that somebody answered at.
#[derive(Debug)]
pub(crate) struct Target {
    place: SockAddr,
    /// How many source addresses of this machine are used beside the one that the system chooses: one has no
    /// more ports than connections to one place.
    sources: AtomicU32,
}

/// How many source addresses there are for a target on this machine: 127.0.0.2 and those after it.
const SOURCES_MAX: u32 = 250;

impl Target {
    /// Calls once, to find out where, and whether anybody is there.
    pub(crate) fn find(address: &Address, patience: Duration) -> Result<Self, Failure> {
        let place = match address.path() {
            Some(path) => probe_path(address, path)?,
            None => probe(address, patience)?.into(),
        };
        Ok(Self { place, sources: AtomicU32::new(0) })
    }

    /// Begins to connect. When the ports of one source address have run out, another is taken.
    pub(crate) fn connect(&self, number: u64) -> io::Result<Socket> {
        loop {
            let sources = self.sources.load(Relaxed);
            match self.connect_from(number, sources) {
                Err(error) if ports_ran_out(&error) && self.is_local_v4() && sources < SOURCES_MAX => {
                    // Another thread may have been faster, which is as good.
                    let _ = self.sources.compare_exchange(sources, sources + 1, Relaxed, Relaxed);
                }
                outcome => return outcome,
            }
        }
    }

    fn connect_from(&self, number: u64, sources: u32) -> io::Result<Socket> {
        let socket = Socket::new(Domain::from(i32::from(self.place.family())), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if self.place.as_socket().is_some() {
            socket.set_tcp_nodelay(true)?;
        }
        let source = u32::try_from(number % u64::from(sources + 1)).unwrap_or(0);
        if source > 0 {
            let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + source);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.place) {
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(socket),
            outcome => outcome.map(|()| socket),
        }
    }

    fn is_local_v4(&self) -> bool {
        self.place.as_socket_ipv4().is_some_and(|address| address.ip().is_loopback())
    }
}

fn ports_ran_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

fn probe(address: &Address, patience: Duration) -> Result<SocketAddr, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Other, format!("cannot start: {}", landline::error::describe(&error)))
    })?;
    let connected = runtime.block_on(landline::client::connect(address, Some(patience)));
    runtime.shutdown_background();
    let stream = connected.map_err(|error| unreachable(error, address))?;
    stream.peer_addr().map_err(|error| {
        let cause = landline::error::describe(&error);
        Failure::new(Exit::Lost, format!("lost the connection to {address}: {cause}"))
    })
}

fn probe_path(address: &Address, path: &std::path::Path) -> Result<SockAddr, Failure> {
    let connected = std::os::unix::net::UnixStream::connect(path).and_then(|_| SockAddr::unix(path));
    connected.map_err(|error| {
        let cause = landline::error::describe(&error);
        Failure::new(Exit::Connect, format!("cannot connect to {address}: {cause}"))
            .hint("nobody listens there, or it is not for this user to open")
    })
}
