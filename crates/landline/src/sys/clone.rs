//! A process that has its descriptors in common with this one.

#![allow(unsafe_code, reason = "the standard library's fork copies the descriptors, and this must not")]

use std::io::{self, Write};
use std::{fs, thread};

use rustix::process::Pid;

/// The exit code of a body that panicked: that of any Rust program.
const PANICKED: u8 = 101;
/// The exit code where not even a thread could be started.
const NOT_STARTED: u8 = 1;

/// How many threads this process has.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Runs `body` in a child process, which leaves with the code that it returns. The child has a copy of this
/// process's memory and the same descriptors: what one opens or closes, it opens or closes for both, and
/// what is open stays so when either is killed.
///
/// `first` is what the child does before it has a second thread, for what a thread hands down to those that
/// it starts. An error is the code with which it leaves instead.
pub(crate) fn sharing_descriptors(
    first: impl FnOnce() -> Result<(), u8>,
    body: impl FnOnce() -> u8 + Send,
) -> io::Result<Pid> {
    if threads()? != 1 {
        return Err(io::Error::other("this process has other threads"));
    }
    let flags = libc::c_long::from(libc::CLONE_FILES | libc::SIGCHLD);
    let none: libc::c_long = 0;
    // SAFETY: without CLONE_VM the child runs in a copy of this memory, as after fork(2). There is no other
    // thread, so no lock is held by one that the copy lacks. What libc has cached of the thread is stale in
    // the child; so it runs `body` in a thread of its own, and this one only does `first`, which is told to
    // keep away from that, waits for the other and leaves.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => leave(first().map_or_else(|code| code, |()| in_a_thread(body))),
        child => i32::try_from(child).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::Other.into()),
    }
}

/// Gives this process, which has one thread, descriptors of its own: copies of those that it had in common
/// with others, who keep theirs.
pub(crate) fn stop_sharing_descriptors() -> io::Result<()> {
    // SAFETY: it touches no memory, and every number stands for what it stood for.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn in_a_thread(body: impl FnOnce() -> u8 + Send) -> u8 {
    thread::scope(|scope| match thread::Builder::new().name("work".into()).spawn_scoped(scope, body) {
        // What it panicked with was said by its hook.
        Ok(working) => working.join().unwrap_or(PANICKED),
        Err(_) => NOT_STARTED,
    })
}

/// Ends this process without what the program has set up for its end: that is for the one it was copied from.
pub(crate) fn leave(code: u8) -> ! {
    // With stdout gone there is nobody to tell.
    let _ = io::stdout().flush();
    // SAFETY: it ends the process and touches no memory.
    unsafe { libc::_exit(i32::from(code)) }
}
