//! What is asked of sockets beyond reading and writing.

#![allow(unsafe_code, reason = "what no library has a safe name for")]

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
#[cfg(not(target_vendor = "apple"))]
use rustix::net::SocketFlags;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

/// How the kernel is to find out that a peer is dead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeadPeer {
    pub(crate) keepalive_idle: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_probes: u32,
    pub(crate) user_timeout: Duration,
}

/// A socket that listens on `address`, not inherited by child processes and non-blocking.
/// What is set on it here is what every accepted connection starts with.
pub(crate) fn listen(address: SocketAddr, dual_stack: bool, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server must not wait for the TIME_WAIT of the one before it.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// A Unix socket that listens at `path`, which only its owner can open, not inherited by child processes and
/// non-blocking.
pub(crate) fn listen_on_path(path: &Path, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // On Linux the file gets the mode that the socket has, so that at no time others can reach it. Elsewhere
    // this fails, and the mode is set when the file is there.
    let restricted = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600)).is_ok();
    socket.bind(&SockAddr::unix(path)?)?;
    if !restricted {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    socket.listen(backlog)?;
    Ok(socket)
}

/// Another descriptor of the socket that listens under this number, which stays open and is not handed on to
/// other programs.
pub(crate) fn share(number: RawFd) -> io::Result<Socket> {
    // SAFETY: as in `inherit`.
    let there = unsafe { BorrowedFd::borrow_raw(number) };
    let another = another(there)?;
    rustix::io::fcntl_setfd(there, rustix::io::FdFlags::CLOEXEC)?;
    Ok(another)
}

/// Another descriptor of a socket that listens.
fn another(inherited: BorrowedFd<'_>) -> io::Result<Socket> {
    let there = SockRef::from(&inherited);
    if there.r#type()? != Type::STREAM || !there.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a socket that does not listen"));
    }
    let another = Socket::from(rustix::io::fcntl_dupfd_cloexec(inherited, 3)?);
    another.set_nonblocking(true)?;
    Ok(another)
}

/// Takes over the socket that listens under this number: moved to another number, so that nobody can take it
/// over twice.
pub(crate) fn inherit(number: RawFd) -> io::Result<Socket> {
    // SAFETY: the number is only looked at here; if it stands for nothing, the calls fail.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    let moved = another(inherited)?;
    // SAFETY: whoever started the program left it open for this; nobody else in it knows the number.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(moved)
}

/// Sets how dead peers are found, on a listener (for every connection it will accept) or on one connection.
pub(crate) fn watch_for_dead_peers(socket: &impl AsFd, settings: &DeadPeer) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(settings.keepalive_idle)
        .with_interval(settings.keepalive_interval)
        .with_retries(settings.keepalive_probes);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(settings.user_timeout))?;
    Ok(())
}

/// The most connections that the kernel lets wait in a backlog, if it says.
pub(crate) fn backlog_max() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// A listener of its own for the calling thread's runtime: another descriptor of the same socket.
pub(crate) fn register(listener: &Socket) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = OwnedFd::from(listener.try_clone()?);
    // SAFETY: an `OwnedFd` stands for the same open file until it is dropped, and the `AsyncFd` owns it until
    // then.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE)? })
}

/// What becomes of a socket that stays its owner's, for the calling thread's runtime.
pub(crate) fn watch(socket: &OwnedFd) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: as in `register`; the owner is borrowed for as long as this is there.
    Ok(unsafe { AsyncFd::register_with_interest(socket.as_fd(), Interest::READABLE)? })
}

/// A connection for the calling thread's runtime.
pub(crate) fn register_connection(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as in `register`.
    Ok(unsafe { AsyncFd::register(socket)? })
}

/// Looks at what is there to be received, from its beginning on, without waiting: it stays there.
pub(crate) fn peek(socket: &impl AsFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::net::recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT).map(|(_, count)| count)
}

/// Receives this many bytes and forgets them; an error if they are not there.
pub(crate) fn read_away(socket: &impl AsFd, mut count: usize) -> io::Result<()> {
    let mut scrap = [0; 512];
    while count > 0 {
        let room = count.min(scrap.len());
        match rustix::net::recv(socket, &mut scrap[..room], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, received)) => count -= received,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Receives what is there, without waiting.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut ReadBuf<'_>) -> rustix::io::Result<usize> {
    // SAFETY: nothing is uninitialized by being written to.
    let room = unsafe { buffer.unfilled_mut() };
    let (received, _) = rustix::net::recv(socket, room, RecvFlags::empty())?;
    let count = received.0.len();
    // SAFETY: these are the bytes that were received.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

/// Sends what the socket takes, without waiting.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)
}

/// Sends of several pieces what the socket takes, without waiting.
pub(crate) fn send_vectored(socket: &OwnedFd, pieces: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    let mut control = SendAncillaryBuffer::default();
    rustix::net::sendmsg(socket, pieces, &mut control, SendFlags::NOSIGNAL)
}

/// The address of our end, if it has one.
pub(crate) fn local_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = SocketAddr::try_from(rustix::net::getsockname(socket)?);
    address.map(canonical).map_err(|_| io::ErrorKind::Unsupported.into())
}

/// The path of our end, if it is that of a Unix socket with one.
#[cfg(all(target_os = "linux", feature = "takeover"))]
pub(crate) fn local_path(socket: &impl AsFd) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let address = rustix::net::SocketAddrUnix::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
    Some(std::path::PathBuf::from(std::ffi::OsStr::from_bytes(address.path_bytes()?)))
}

/// The address of the other end, if it has one.
#[cfg(all(target_os = "linux", feature = "takeover"))]
pub(crate) fn peer_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = rustix::net::getpeername(socket)?.map(SocketAddr::try_from);
    address.and_then(Result::ok).map(canonical).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Ends our side of a connection; the peer may have ended all of it.
pub(crate) fn end(socket: &OwnedFd) -> io::Result<()> {
    match rustix::net::shutdown(socket, Shutdown::Write) {
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Accepts one connection: non-blocking, not inherited by child processes. With it comes the caller's
/// address, if it has one.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (socket, peer) = accept_set_up(listener)?;
    Ok((socket, peer.map(canonical)))
}

/// The process and the user at the other end of a Unix socket, as they were when it connected.
#[cfg(target_os = "linux")]
pub(crate) fn credentials(socket: &impl AsFd) -> Option<(u32, u32)> {
    let credentials: libc::ucred = option(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED)?;
    Some((credentials.pid.unsigned_abs(), credentials.uid))
}

/// Who is at the other end of a Unix socket: not asked for here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn credentials(_: &impl AsFd) -> Option<(u32, u32)> {
    None
}

#[cfg(not(target_vendor = "apple"))]
fn accept_set_up(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    Ok((socket, peer.and_then(|address| SocketAddr::try_from(address).ok())))
}

/// There is no accept4(2) here: two steps more.
#[cfg(target_vendor = "apple")]
fn accept_set_up(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    rustix::io::ioctl_fioclex(&socket)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok((socket, peer.and_then(|address| SocketAddr::try_from(address).ok())))
}

/// Whether somebody waits to be accepted.
pub(crate) fn has_caller(listener: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut listeners = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut listeners, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// An IPv4 address that came through an IPv6 socket, as what it is.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Sends one short text, ends our side of the stream and reads away what the peer has sent so far, all
/// without waiting. What can't be done now is left undone: this is for callers that are not let in.
pub(crate) fn dismiss(socket: &OwnedFd, text: &[u8]) {
    let _ = rustix::net::send(socket, text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
    let mut scrap = [0; 4096];
    for _ in 0..4 {
        match rustix::net::recv(socket, &mut scrap, RecvFlags::DONTWAIT) {
            Ok((1.., _)) => {}
            _ => break,
        }
    }
}

/// The callers of a listener who wait to be accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    pub(crate) waiting: u32,
    /// How many the kernel lets wait.
    pub(crate) max: u32,
}

/// Who waits at a listener; none if it is not one of TCP.
#[cfg(target_os = "linux")]
pub(crate) fn backlog(listener: &impl AsFd) -> Option<Backlog> {
    /// `TCP_LISTEN`: in this state two fields of the answer have another meaning than their names say.
    const LISTEN: u8 = 10;
    let info: libc::tcp_info = option(listener.as_fd().as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO)?;
    (info.tcpi_state == LISTEN).then_some(Backlog { waiting: info.tcpi_unacked, max: info.tcpi_sacked })
}

/// Who waits at a listener: not asked for here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn backlog(_: &impl AsFd) -> Option<Backlog> {
    None
}

/// The kernel's name for the socket that has this descriptor now, which no other socket ever has; 0 if it is
/// no socket.
#[cfg(target_os = "linux")]
pub(crate) fn cookie_of(descriptor: usize) -> u64 {
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    option(descriptor, libc::SOL_SOCKET, libc::SO_COOKIE).unwrap_or(0)
}

/// The kernel's name for a socket: there is none here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn cookie_of(_: usize) -> u64 {
    0
}

/// Takes over a connection that a process before this one left open, if its descriptor still is what it was.
#[cfg(all(target_os = "linux", feature = "takeover"))]
pub(crate) fn adopt(descriptor: usize, cookie: u64) -> Option<OwnedFd> {
    if cookie == 0 || cookie_of(descriptor) != cookie {
        return None;
    }
    adopt_known(descriptor)
}

/// Takes over a connection that a process before this one left open. Whoever calls has seen that its
/// descriptor is what it was, and that nobody has taken it since.
#[cfg(all(target_os = "linux", feature = "takeover"))]
pub(crate) fn adopt_known(descriptor: usize) -> Option<OwnedFd> {
    let number = RawFd::try_from(descriptor).ok()?;
    // SAFETY: this number stands for the socket that the table says, and whoever has taken its slot is the
    // only one to know; the process that had it is gone.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Plain data that the kernel tells of a socket, for which every pattern of bits is a value.
#[cfg(target_os = "linux")]
pub(super) trait Plain: Copy {}
#[cfg(target_os = "linux")]
impl Plain for libc::tcp_info {}
#[cfg(target_os = "linux")]
impl Plain for libc::ucred {}
#[cfg(target_os = "linux")]
impl Plain for u64 {}

/// Asks for an option; none if the descriptor is no socket, or not one that has it.
#[cfg(target_os = "linux")]
pub(super) fn option<T: Plain>(descriptor: RawFd, level: i32, name: i32) -> Option<T> {
    // SAFETY: `Plain` says that zero is a value.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut len = libc::socklen_t::try_from(size_of::<T>()).ok()?;
    let place = std::ptr::from_mut(&mut value).cast();
    // SAFETY: the kernel writes at most `len` bytes, which is what `value` has, and `Plain` says that any
    // will do; a descriptor that is closed or something else makes the call fail.
    let outcome = unsafe { libc::getsockopt(descriptor, level, name, place, &raw mut len) };
    (outcome == 0).then_some(value)
}

/// Makes the coming close a reset: nothing queued is delivered any more.
pub(crate) fn reset_on_close(socket: &impl AsFd) {
    // If it fails, the close is an ordinary one, which is only slower to free the queue.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// How many bytes the peer has not acknowledged yet. Our FIN counts as one.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    /// `TIOCOUTQ`, which for sockets is called `SIOCOUTQ`.
    const OUTQ: Opcode = 0x5411;
    // SAFETY: this operation writes one C int through its argument, and that is what it is given.
    let bytes: i32 = unsafe { ioctl(socket, Getter::<OUTQ, i32>::new())? };
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// How many bytes the peer has not acknowledged yet: not known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged(_: &impl AsFd) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
