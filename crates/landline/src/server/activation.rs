//! Sockets that were opened for this program before it was started, by their names: the protocol of
//! `sd_listen_fds(3)`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::RawFd;

use socket2::Socket;

use crate::sys::socket;
use crate::takeover;

/// The number of the first of them.
const FIRST: RawFd = 3;
/// More than anybody opens; what the environment says is not believed beyond it.
const COUNT_MAX: RawFd = 1024;
/// What one has that nobody named.
const UNNAMED: &str = "unknown";

/// Those of this name, each as another descriptor: the ones that were left open stay so, because another worker
/// may ask for them again.
pub(super) fn sockets(name: &str) -> io::Result<Vec<Socket>> {
    let names = names().ok_or_else(|| {
        io::Error::other("this program was not started with sockets for it (LISTEN_PID, LISTEN_FDS)")
    })?;
    let numbers: Vec<RawFd> =
        (FIRST..).zip(&names).filter(|(_, other)| *other == name).map(|(n, _)| n).collect();
    if numbers.is_empty() {
        let names: Vec<String> = names.iter().map(|name| name.escape_debug().to_string()).collect();
        let cause =
            format!("none of the sockets for this program has that name; theirs: {}", names.join(", "));
        return Err(io::Error::new(io::ErrorKind::NotFound, cause));
    }
    numbers.into_iter().map(socket::share).collect()
}

/// The name of each, if there are any and they are for this program. A worker's are those of its keeper.
fn names() -> Option<Vec<String>> {
    let number = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID")? != takeover::process_id() {
        return None;
    }
    let count =
        RawFd::try_from(number("LISTEN_FDS")?).ok().filter(|count| (1..=COUNT_MAX).contains(count))?;
    let said = env::var_os("LISTEN_FDNAMES");
    let said = said.as_deref().map(OsStr::to_string_lossy).unwrap_or_default();
    let mut said = said.split(':').filter(|name| !name.is_empty());
    Some((0..count).map(|_| said.next().unwrap_or(UNNAMED).to_owned()).collect())
}
