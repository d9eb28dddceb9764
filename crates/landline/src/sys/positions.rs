//! How far a TCP connection is, by the kernel's own count: what was taken from it and what was given to it,
//! whoever did that.

#![allow(unsafe_code, reason = "the kernel's record is longer than the one that the C library knows")]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// How often the kernel is asked again when it moves on while it is asked.
const TRIES: usize = 100;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Positions {
    /// How many bytes of the peer's were read.
    pub(crate) consumed: u64,
    /// How many bytes of ours were written.
    pub(crate) written: u64,
    /// Whether the peer can still send and take.
    pub(crate) is_established: bool,
}

/// `struct tcp_info` of Linux 4.6 and later, as far as it is of use here. What lies between is counted, not
/// named.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    state: u8,
    _options: [u8; 7],
    _timers: [u32; 24],
    _pacing: [u64; 2],
    /// RFC 4898 tcpEStatsAppHCThruOctetsAcked.
    bytes_acked: u64,
    /// RFC 4898 tcpEStatsAppHCThruOctetsReceived.
    bytes_received: u64,
}

/// The states of a connection in which a FIN is among the bytes that are counted.
mod state {
    pub(super) const ESTABLISHED: u8 = 1;
    pub(super) const FIN_WAIT1: u8 = 4;
    pub(super) const FIN_WAIT2: u8 = 5;
    pub(super) const CLOSE_WAIT: u8 = 8;
    pub(super) const LAST_ACK: u8 = 9;
    pub(super) const CLOSING: u8 = 11;
}

/// Asks how far a connection is.
///
/// # Errors
/// What the operating system says; `InvalidData` if its counts make no sense, as on kernels that only
/// pretend to be Linux.
pub(crate) fn positions(socket: &impl AsFd) -> io::Result<Positions> {
    let mut before = info(socket)?;
    for _ in 0..TRIES {
        let (unread, unacknowledged) = (queued::<INQ>(socket)?, queued::<OUTQ>(socket)?);
        let after = info(socket)?;
        if is_same(&before, &after) {
            return counted(&after, unread, unacknowledged).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        before = after;
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether the kernel counts right, which some that only pretend to be Linux do not: tried on a connection of
/// each family that this machine has.
pub(crate) fn are_counted() -> bool {
    ["127.0.0.1:0", "[::1]:0"].into_iter().filter_map(|address| is_counted(address).ok()).all(|right| right)
}

fn is_counted(address: &str) -> io::Result<bool> {
    let listener = TcpListener::bind(address)?;
    let mut theirs = TcpStream::connect(listener.local_addr()?)?;
    let (mut ours, _) = listener.accept()?;
    // More than a moment only where nothing is as it should be.
    ours.set_read_timeout(Some(Duration::from_secs(1)))?;
    theirs.write_all(b"abc")?;
    ours.read_exact(&mut [0; 2])?;
    ours.write_all(b"defg")?;
    let at = positions(&ours);
    Ok(at.is_ok_and(|at| (at.consumed, at.written, at.is_established) == (2, 4, true)))
}

/// A FIN counts as a byte once it is there: the peer's as received, ours as one to be acknowledged.
fn counted(info: &Info, unread: u64, unacknowledged: u64) -> Option<Positions> {
    use state::{CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK};
    let peer_ended = u64::from(matches!(info.state, CLOSE_WAIT | LAST_ACK | CLOSING));
    let ended = u64::from(matches!(info.state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK));
    Some(Positions {
        consumed: info.bytes_received.checked_sub(unread)?.checked_sub(peer_ended)?,
        written: info.bytes_acked.checked_add(unacknowledged)?.checked_sub(ended)?,
        is_established: matches!(info.state, ESTABLISHED | CLOSE_WAIT),
    })
}

fn is_same(a: &Info, b: &Info) -> bool {
    (a.state, a.bytes_acked, a.bytes_received) == (b.state, b.bytes_acked, b.bytes_received)
}

fn info(socket: &impl AsFd) -> io::Result<Info> {
    // SAFETY: zero is a value of every field.
    let mut info: Info = unsafe { std::mem::zeroed() };
    let mut len = libc::socklen_t::try_from(size_of::<Info>()).unwrap_or(0);
    let descriptor = socket.as_fd().as_raw_fd();
    let place = std::ptr::from_mut(&mut info).cast();
    // SAFETY: the kernel writes at most `len` bytes, which is what `info` has, and any will do.
    let done =
        unsafe { libc::getsockopt(descriptor, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut len) };
    match done {
        0 if len as usize == size_of::<Info>() => Ok(info),
        // A kernel that is too old tells less.
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `FIONREAD`, which for sockets is called `SIOCINQ`.
const INQ: Opcode = 0x541b;
/// `TIOCOUTQ`, which for sockets is called `SIOCOUTQ`.
const OUTQ: Opcode = 0x5411;

fn queued<const WHICH: Opcode>(socket: &impl AsFd) -> io::Result<u64> {
    // SAFETY: both operations write one C int through their argument, and that is what they are given.
    let bytes: i32 = unsafe { ioctl(socket, Getter::<WHICH, i32>::new())? };
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;

    /// Both ends of a connection.
    fn pair(address: &str) -> Option<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(address).ok()?;
        let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Some((listener.accept().unwrap().0, caller))
    }

    /// Waits until the peer's bytes, or its end, are there.
    fn wait_for(socket: &TcpStream, bytes: usize) {
        while socket.peek(&mut vec![0; bytes + 1]).is_ok_and(|there| there < bytes) {}
    }

    fn at(socket: &TcpStream) -> (u64, u64) {
        let positions = positions(socket).unwrap();
        (positions.consumed, positions.written)
    }

    #[test]
    fn the_kernel_is_found_to_count_right() {
        assert!(are_counted());
        assert!(is_counted("127.0.0.1:0").unwrap());
        assert!(is_counted("192.0.2.1:0").is_err(), "no such address is here");
    }

    #[test]
    fn the_kernel_counts_what_was_read_and_written_to_the_byte_over_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Some((mut ours, mut theirs)) = pair(address) else { continue };
            assert_eq!(at(&ours), (0, 0));
            theirs.write_all(b"hello, world").unwrap();
            wait_for(&ours, 12);
            assert_eq!(at(&ours), (0, 0), "what was not read does not count");
            ours.read_exact(&mut [0; 5]).unwrap();
            assert_eq!(at(&ours), (5, 0));
            ours.write_all(b"HELLO").unwrap();
            assert_eq!(at(&ours), (5, 5));
            wait_for(&theirs, 5);
            assert_eq!(at(&ours), (5, 5), "whether it was acknowledged makes no difference");
        }
    }

    #[test]
    fn the_end_of_either_side_is_no_byte() {
        let (mut ours, mut theirs) = pair("127.0.0.1:0").unwrap();
        theirs.write_all(b"abc").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        ours.read_to_end(&mut all).unwrap();
        assert_eq!(at(&ours), (3, 0));
        ours.write_all(b"ABC").unwrap();
        assert!(positions(&ours).unwrap().is_established, "it can still be answered");
        ours.shutdown(Shutdown::Write).unwrap();
        theirs.read_to_end(&mut all).unwrap();
        // It is over, and no count of it means anything any more.
        assert!(positions(&ours).is_ok_and(|positions| !positions.is_established));
    }
}
