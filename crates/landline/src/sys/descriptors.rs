//! Descriptors by their numbers, as one process finds those that another has left.

#![allow(unsafe_code, reason = "a number that nobody owns is closed, or gets an owner")]

use std::fs;
use std::ops::RangeInclusive;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::fstat;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::sockopt::{socket_acceptconn, socket_cookie};

use super::positions::positions;

/// What a descriptor stands for: two that are alike are the same file, pipe or socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

/// What a number stands for, if for anything.
pub(crate) fn identity(number: RawFd) -> Option<Identity> {
    let about = fstat(borrow(number)?).ok()?;
    Some(Identity(about.st_dev, about.st_ino))
}

/// Whether a number stands for something.
pub(crate) fn is_open(number: RawFd) -> bool {
    borrow(number).is_some_and(|there| fcntl_getfd(there).is_ok())
}

/// The number that the kernel gives each socket once, if it is a socket.
pub(crate) fn cookie(number: RawFd) -> Option<u64> {
    socket_cookie(borrow(number)?).ok()
}

/// Whether it is a socket that listens.
pub(crate) fn is_listening(number: RawFd) -> bool {
    borrow(number).is_some_and(|there| socket_acceptconn(there).unwrap_or(false))
}

/// Whether it is an epoll, where the system tells.
pub(crate) fn is_epoll(number: RawFd) -> bool {
    let target = fs::read_link(format!("/proc/self/fd/{number}"));
    target.is_ok_and(|target| target.as_os_str() == "anon_inode:[eventpoll]")
}

/// The kernel's name of a TCP connection of which nothing was read and to which nothing was written yet, if
/// it is one.
pub(crate) fn untouched_connection(number: RawFd) -> Option<u64> {
    let at = positions(&borrow(number)?).ok()?;
    let is_untouched = at.is_established && (at.consumed, at.written) == (0, 0);
    cookie(number).filter(|_| is_untouched)
}

/// How many are open, where the system tells (Linux 6.2).
pub(crate) fn count() -> Option<usize> {
    let size = fs::metadata("/proc/self/fd").ok()?.size();
    usize::try_from(size).ok().filter(|count| *count > 0)
}

/// Closes a number that nobody in this process owns: a process that is gone has left it.
pub(crate) fn close_left_behind(number: RawFd) {
    // SAFETY: it is only called for what this process did not open, so no owner of its own finds it closed.
    unsafe { rustix::io::close(number) };
}

/// Has programs that this one starts or becomes find the number open.
pub(crate) fn hand_on(number: RawFd) {
    mark(number, FdFlags::empty());
}

fn mark(number: RawFd, flags: FdFlags) {
    if let Some(there) = borrow(number) {
        // It fails only for what is not open, and that is not handed on.
        let _ = fcntl_setfd(there, flags);
    }
}

/// Has programs that this one starts or becomes find none of these numbers open.
pub(crate) fn hand_on_none(numbers: RangeInclusive<RawFd>) {
    let (first, last) = (numbers.start().cast_unsigned(), numbers.end().cast_unsigned());
    // SAFETY: it marks descriptors, and touches no memory.
    let is_marked =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) == 0 };
    // Linux can mark many at once since 5.11.
    if !is_marked {
        numbers.for_each(|number| mark(number, FdFlags::CLOEXEC));
    }
}

/// Takes a number under which whoever started this program has left something open for it.
pub(crate) fn take(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: it is open, and was left to this program; whoever calls takes each only once.
    is_open(number).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes the socket with this number and this cookie, which a process that is gone has left.
pub(crate) fn adopt_socket(number: RawFd, its_cookie: u64) -> Option<OwnedFd> {
    if cookie(number) != Some(its_cookie) {
        return None;
    }
    // SAFETY: the cookie says that it is the socket that was left, and whoever calls takes each only once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn borrow<'a>(number: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: the number is only looked at by calls that fail if it stands for nothing.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

#[test]
fn what_is_handed_on_no_more_stays_open() {
    use std::os::fd::AsRawFd;

    let files: Vec<OwnedFd> = (0..3).map(|_| fs::File::open("/dev/null").unwrap().into()).collect();
    for file in &files {
        hand_on(file.as_raw_fd());
        hand_on_none(file.as_raw_fd()..=file.as_raw_fd());
        assert_eq!(fcntl_getfd(file).unwrap(), FdFlags::CLOEXEC);
    }
}
