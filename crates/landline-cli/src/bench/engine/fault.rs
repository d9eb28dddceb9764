//! What an error of the operating system means to a run.

use std::io;

use rustix::io::Errno;
use socket2::Socket;

use crate::bench::tally::ErrorKind;

/// With nobody listening on a port of the ephemeral range, the kernel may give that very port to this end,
/// and TCP then connects the socket to itself.
pub(super) fn is_itself(socket: &Socket) -> bool {
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(local), Ok(peer)) => local.as_socket().is_some() && local.as_socket() == peer.as_socket(),
        _ => false,
    }
}

/// Of connecting.
pub(super) fn of_connect(error: &io::Error) -> ErrorKind {
    const LOCAL: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::ADDRNOTAVAIL];
    if Errno::from_io_error(error).is_some_and(|errno| LOCAL.contains(&errno)) {
        return ErrorKind::Local;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ErrorKind::Refused,
        io::ErrorKind::TimedOut => ErrorKind::ConnectTimeout,
        io::ErrorKind::ConnectionReset => ErrorKind::Reset,
        _ => ErrorKind::Unreachable,
    }
}

/// Of a conversation.
pub(super) fn of_talk(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::ReplyTimeout,
        _ => ErrorKind::Reset,
    }
}
