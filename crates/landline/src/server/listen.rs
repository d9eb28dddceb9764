//! From an address as people write it to sockets that listen.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::Socket;

use super::activation;
use super::config::Policy;
use super::socket_file::SocketFile;
use crate::address::Address;
use crate::error::{Error, Kind};
use crate::event::{Charset, SocketStep, StepKind, Subscriber, escape};
use crate::sys::socket;
use crate::takeover::{self, OnRecord};

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenAddr {
    /// An address of the network; the port is the real one.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A bound, listening socket.
#[derive(Debug)]
pub(crate) struct Bound {
    /// What it was asked for: a listener of the same words takes it over when the server is reloaded.
    pub(crate) asked: Address,
    pub(crate) address: ListenAddr,
    /// Declared before the socket, so dropped before it: whoever finds no file calls nobody.
    file: Option<SocketFile>,
    /// Whether it was made here, and not found.
    is_new: bool,
    /// Dropped before the socket, too: its number can be another's afterwards.
    on_record: Option<OnRecord>,
    pub(crate) socket: Socket,
}

/// How often to look for a free port that is free on every address of a name.
const PORT_TRIES: u32 = 16;

/// Listens on every address that the text stands for, all with the same port. What a worker that was killed
/// has left listening for the same text goes on.
pub(crate) fn listen(address: &Address, backlog: u32) -> Result<Vec<Arc<Bound>>, Error> {
    let left = takeover::on_record(address);
    if !left.is_empty() {
        let bound = left.into_iter().map(|(socket, on_record)| take_over(address, socket, on_record));
        return bound.map(|bound| bound.map(Arc::new)).collect();
    }
    let mut bound = listen_anew(address, backlog)?;
    let sockets: Vec<_> = bound.iter().map(|bound| &bound.socket).collect();
    let on_record = takeover::publish(address, &sockets);
    for (bound, on_record) in bound.iter_mut().zip(on_record) {
        bound.on_record = on_record;
    }
    Ok(bound.into_iter().map(Arc::new).collect())
}

fn listen_anew(address: &Address, backlog: u32) -> Result<Vec<Bound>, Error> {
    if let Some(path) = address.path() {
        return Ok(vec![listen_on_path(address, path, backlog)?]);
    }
    if let Some(number) = address.descriptor() {
        return Ok(vec![inherit(address, socket::inherit(number))?]);
    }
    if let Some(name) = address.systemd() {
        let sockets = activation::sockets(name).map_err(|error| cannot_listen(address, error))?;
        return sockets.into_iter().map(|socket| inherit(address, Ok(socket))).collect();
    }
    let candidates = candidates(address)?;
    let mut tries = 1;
    loop {
        match listen_on_all(address, &candidates, backlog) {
            // Port 0 got one on the first address that is taken on another.
            Err(error) if address.port() == 0 && error.is_address_in_use() && tries < PORT_TRIES => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn listen_on_all(address: &Address, candidates: &[SocketAddr], backlog: u32) -> Result<Vec<Bound>, Error> {
    let mut bound: Vec<Bound> = Vec::new();
    for &candidate in candidates {
        let port = bound.first().map_or(candidate.port(), |first| first.address.port());
        let candidate = SocketAddr::new(candidate.ip(), port);
        match listen_on(address, candidate, backlog) {
            Ok(listener) => bound.push(listener),
            // A host may have no IPv6 although its name has: the other addresses will do.
            Err(error) if is_unavailable(&error) && address.host().is_none_or(|host| !is_ip(host)) => {}
            Err(error) => return Err(cannot_listen(&candidate, error)),
        }
        if address.host().is_none() && !bound.is_empty() {
            break;
        }
    }
    if bound.is_empty() {
        return Err(cannot_listen(address, io::ErrorKind::AddrNotAvailable.into()));
    }
    Ok(bound)
}

/// What to try, in order; for `:PORT`, only the first that this machine has.
fn candidates(address: &Address) -> Result<Vec<SocketAddr>, Error> {
    let port = address.port();
    let Some(host) = address.host() else {
        let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        return Ok(any.map(|ip| SocketAddr::new(ip, port)).to_vec());
    };
    let resolved = (host, port)
        .to_socket_addrs()
        .map_err(|error| Error::io(Kind::Resolve, format!("cannot resolve {host}"), error))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in resolved {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn listen_on(asked: &Address, candidate: SocketAddr, backlog: u32) -> io::Result<Bound> {
    let socket = socket::listen(candidate, asked.host().is_none(), as_int(backlog))?;
    let address = ListenAddr::Ip(socket.local_addr()?.as_socket().unwrap_or(candidate));
    Ok(Bound { asked: asked.clone(), address, file: None, is_new: true, on_record: None, socket })
}

fn listen_on_path(asked: &Address, path: &Path, backlog: u32) -> Result<Bound, Error> {
    let (socket, file) =
        SocketFile::bind(path, as_int(backlog)).map_err(|error| cannot_listen(asked, error))?;
    let address = ListenAddr::Unix(path.into());
    Ok(Bound { asked: asked.clone(), address, file: Some(file), is_new: true, on_record: None, socket })
}

/// Goes on with a socket that a worker before this one has left, and with its file.
fn take_over(asked: &Address, socket: Socket, on_record: OnRecord) -> Result<Bound, Error> {
    let cannot = |error| cannot_listen(asked, error);
    let address = if on_record.is_closed() { on_record.address().map(ListenAddr::Ip) } else { None };
    let address = address.map_or_else(|| local_address(&socket), Ok).map_err(cannot)?;
    // Somebody may have taken the file away, as they may under any server.
    let file = asked.path().filter(|_| !on_record.is_closed()).and_then(|path| SocketFile::of(path).ok());
    let address = asked.path().map_or(address, |path| ListenAddr::Unix(path.into()));
    Ok(Bound { asked: asked.clone(), address, file, is_new: false, on_record: Some(on_record), socket })
}

/// Takes over a socket that listens already.
fn inherit(asked: &Address, socket: io::Result<Socket>) -> Result<Bound, Error> {
    let inherited = socket.and_then(|socket| Ok((local_address(&socket)?, socket)));
    let (address, socket) = inherited.map_err(|error| cannot_listen(asked, error))?;
    // A file belongs to whoever made it.
    Ok(Bound { asked: asked.clone(), address, file: None, is_new: false, on_record: None, socket })
}

fn local_address(socket: &Socket) -> io::Result<ListenAddr> {
    let local = socket.local_addr()?;
    Ok(match (local.as_socket(), local.as_pathname()) {
        (Some(address), _) => ListenAddr::Ip(address),
        (None, path) => ListenAddr::Unix(path.unwrap_or(Path::new("")).into()),
    })
}

impl Bound {
    /// Closes this descriptor of it, and leaves its file to whoever has another.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn leave_file(mut self) {
        self.file.iter_mut().for_each(SocketFile::leave);
    }

    /// Says how it came to listen.
    pub(crate) fn tell_steps(&self, backlog: u32, events: &dyn Subscriber) {
        let way = crate::client::way(&self.socket);
        let tell = |kind, way| events.step(&SocketStep { id: None, kind, way });
        if self.is_new {
            tell(StepKind::Socket { address: self.address.clone() }, None);
            tell(StepKind::Bound { address: self.address.clone() }, None);
        }
        let most = socket::backlog_max().and_then(|most| u32::try_from(most).ok());
        tell(StepKind::Listening { backlog: most.map_or(backlog, |most| most.min(backlog)) }, way);
    }

    /// Whether nobody can call there any more, because the server is ending: it is here for those who have.
    pub(crate) fn is_closed(&self) -> bool {
        self.on_record.as_ref().is_some_and(OnRecord::is_closed)
    }

    /// Sets what every connection that it accepts is to start with.
    pub(crate) fn prepare(&self, policy: &Policy) -> Result<(), Error> {
        if self.is_closed() {
            return Ok(());
        }
        let prepare = || -> io::Result<()> {
            match (&self.address, &self.file) {
                (ListenAddr::Ip(_), _) => socket::watch_for_dead_peers(&self.socket, &policy.dead_peer())?,
                (ListenAddr::Unix(_), Some(file)) => file.open_to(policy.unix_mode, policy.unix_owner)?,
                (ListenAddr::Unix(_), None) => {}
            }
            // On a socket that listens already this only changes its backlog.
            self.socket.listen(as_int(policy.backlog))
        };
        prepare().map_err(|error| cannot_listen(&self.address, error))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let is_left = self.on_record.as_mut().is_some_and(|on_record| on_record.leave(&self.socket));
        if let Some(file) = self.file.as_mut().filter(|_| is_left) {
            file.leave();
        }
    }
}

fn cannot_listen(address: &impl fmt::Display, error: io::Error) -> Error {
    Error::io(Kind::Listen, format!("cannot listen on {address}"), error)
}

fn as_int(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Whether this machine does not have the address or its whole family.
fn is_unavailable(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

impl ListenAddr {
    /// The address, if it is one of the network.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            ListenAddr::Ip(address) => Some(*address),
            ListenAddr::Unix(_) => None,
        }
    }

    /// The port; 0 where there is none.
    pub fn port(&self) -> u16 {
        self.ip().map_or(0, |address| address.port())
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|address| address.ip().is_loopback())
    }
}

impl ListenAddr {
    /// As addresses are written, in the given character set; a path can hold anything.
    pub(crate) fn line(&self, charset: Charset) -> String {
        match self {
            ListenAddr::Ip(address) => address.to_string(),
            ListenAddr::Unix(path) => format!("unix:{}", escape(path.as_os_str().as_bytes(), charset)),
        }
    }
}

/// As addresses are written; nothing in it is a control character.
impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Charset::Utf8))
    }
}

#[cfg(feature = "log")]
impl serde::Serialize for ListenAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.line(Charset::Ascii))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        let bound = listen(&text.parse().unwrap(), 16).unwrap();
        bound.iter().map(|bound| bound.address.ip().unwrap()).collect()
    }

    #[test]
    fn a_name_listens_on_each_of_its_addresses_with_one_port() {
        let addresses = addresses("localhost:0");
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    }

    #[test]
    fn a_port_alone_is_this_machine_and_a_colon_is_the_network() {
        assert!(addresses("0")[0].ip().is_loopback());
        assert!(addresses(":0")[0].ip().is_unspecified());
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_names_it() {
        let taken = listen(&"0".parse().unwrap(), 16).unwrap().remove(0);
        let error = listen(&Address::from(taken.address.ip().unwrap()), 16).unwrap_err();
        assert!(error.is_address_in_use());
        assert_eq!(error.to_string(), format!("cannot listen on {}: address already in use", taken.address));
    }

    #[test]
    fn a_descriptor_that_does_not_listen_is_refused_in_words() {
        use std::os::fd::{AsRawFd, IntoRawFd};
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = listen(&format!("fd:{}", file.as_raw_fd()).parse().unwrap(), 16).unwrap_err();
        assert!(error.to_string().contains("non-socket"), "{error}");
        let unbound = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap().into_raw_fd();
        let error = listen(&format!("fd:{unbound}").parse().unwrap(), 16).unwrap_err();
        assert!(error.to_string().contains("does not listen"), "{error}");
        let error = listen(&"fd:999999".parse().unwrap(), 16).unwrap_err();
        assert!(error.is_listen() && error.to_string().contains("bad file descriptor"), "{error}");
    }
}
