//! Becoming another program, and what its environment says.

#![allow(unsafe_code, reason = "the standard library's exec lets go of blocked signals before")]

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::{env, io, iter, ptr};

use super::clone::threads;

/// By which systemd tells a program of sockets: true of the program that it started, and of no other, which may have
/// something else under these numbers.
pub(crate) const ACTIVATION: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Takes variables out of this process's environment.
///
/// # Errors
/// When there are other threads, which could read it meanwhile.
pub(crate) fn forget(names: &[&str]) -> io::Result<()> {
    if threads()? != 1 {
        return Err(io::Error::other("this process has other threads"));
    }
    for name in names.iter().filter(|name| env::var_os(name).is_some()) {
        // SAFETY: there is no other thread that could read it meanwhile.
        unsafe { env::remove_var(name) };
    }
    Ok(())
}

/// Starts a command whose process asks whether it may, in its copy of this process's memory, as the last thing before
/// it is the other program. If it may not, it ends.
///
/// # Errors
/// When it may not, when it can't be started, or when this process has other threads.
pub(crate) fn spawn_if(
    command: &mut Command,
    may: impl Fn() -> bool + Send + Sync + 'static,
) -> io::Result<Child> {
    if threads()? != 1 {
        return Err(io::Error::other("this process has other threads"));
    }
    let ask = move || if may() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ECANCELED)) };
    // SAFETY: there is no other thread that the copy could lack, so nothing that `may` could use is locked or half
    // done in it.
    unsafe { command.pre_exec(ask) }.spawn()
}

/// Becomes the program that this process runs, anew, with its arguments, and one more variable in its
/// environment. Signals that are blocked stay so. It returns only if that fails.
pub(crate) fn itself(name: &str, value: &str) -> io::Error {
    let arguments: Option<Vec<CString>> = env::args_os().map(|argument| words(&argument)).collect();
    let variable = |(name, value): (OsString, OsString)| {
        let mut both = name.into_vec();
        both.push(b'=');
        both.extend(value.into_vec());
        CString::new(both).ok()
    };
    let more = iter::once((name.into(), value.into()));
    let kept = env::vars_os().filter(|(name, _)| !ACTIVATION.iter().any(|activation| name == activation));
    let environment: Option<Vec<CString>> = kept.chain(more).map(variable).collect();
    let Some((arguments, environment)) = arguments.zip(environment) else {
        return io::ErrorKind::InvalidInput.into();
    };
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        words.iter().map(|word| word.as_ptr()).chain(iter::once(ptr::null())).collect()
    };
    let (argv, envp) = (pointers(&arguments), pointers(&environment));
    // SAFETY: both lists end with null and point to strings that live until it returns, if it does.
    unsafe { libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

fn words(words: &OsStr) -> Option<CString> {
    CString::new(words.as_bytes()).ok()
}
