//! Whom a run calls: found once, before it begins.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use landline::Address;
use landline::client::Connector;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::call::unreachable;
use crate::exit::{Exit, Failure};

/// An address that somebody answered at.
#[derive(Debug)]
pub(crate) struct Target {
    place: SockAddr,
    /// Which address of this machine connections come from: 0 is the one that the system chooses, the others
    /// are those after it. One has no more ports than connections to one place, and closed ones count
    /// for a minute.
    source: AtomicU32,
}

/// How many more source addresses are used for a target on this machine: 127.0.0.2 and those after it.
const SOURCES_MAX: u32 = 250;

impl Target {
    /// Calls once, to find out where, and whether anybody is there.
    pub(crate) fn find(address: &Address, patience: Duration) -> Result<Self, Failure> {
        let place = match address.path() {
            Some(path) => probe_path(address, path)?,
            None => probe(address, patience)?.into(),
        };
        Ok(Self { place, source: AtomicU32::new(0) })
    }

    /// Begins to connect. When the ports of one source address have run out, the next is taken, and after the
    /// last the first again.
    pub(crate) fn connect(&self) -> io::Result<Socket> {
        let mut left = if self.is_local_v4() { SOURCES_MAX } else { 0 };
        loop {
            let source = self.source.load(Relaxed);
            match self.connect_from(source) {
                Err(error) if ports_ran_out(&error) && left > 0 => {
                    left -= 1;
                    let next = (source + 1) % (SOURCES_MAX + 1);
                    // Another thread may have been faster, which is as good.
                    let _ = self.source.compare_exchange(source, next, Relaxed, Relaxed);
                }
                outcome => return outcome,
            }
        }
    }

    fn connect_from(&self, source: u32) -> io::Result<Socket> {
        let socket = Socket::new(Domain::from(i32::from(self.place.family())), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if self.place.as_socket().is_some() {
            socket.set_tcp_nodelay(true)?;
        }
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
    let connected = runtime.block_on(Connector::new().timeout(Some(patience)).connect(address));
    runtime.shutdown_background();
    let stream = connected.map_err(|error| unreachable(error, address))?;
    stream.peer_addr().ok_or_else(|| {
        Failure::new(Exit::Lost, format!("lost the connection to {address} as soon as it was made"))
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
