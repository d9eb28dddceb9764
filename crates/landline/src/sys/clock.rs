//! The machine's clock, which all processes share.

#![allow(unsafe_code, reason = "the C library's call takes a pointer")]

use std::mem::MaybeUninit;

/// Microseconds since the machine was started, never 0.
///
/// By way of the C library: rustix looks for the call in pages that tools like valgrind take away.
pub(crate) fn microseconds() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills in what it is given, and knows this clock on every platform.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(i64::unsigned_abs);
    (seconds * 1_000_000 + nanoseconds / 1000).max(1)
}
