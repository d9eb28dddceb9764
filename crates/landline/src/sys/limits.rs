//! The limit on open files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one, and says how many files may now be open.
pub(crate) fn raise_open_files() -> io::Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Some systems call their hard limit infinite and then refuse it: what was there before is good
        // enough.
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => return Ok(as_count(limit.maximum)),
            Err(error) if limit.current.is_none() => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(as_count(limit.current))
}

/// Has this process leave no core dump. The limit is one byte, less than any dump has: with 0 the program
/// that the system may have for dumps would still be started, and be waited for.
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) fn dump_no_core() {
    let maximum = getrlimit(Resource::Core).maximum;
    let current = maximum.map_or(1, |maximum| maximum.min(1));
    // To lower a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(current), maximum });
}

/// How many files may be open, if there is a limit.
#[cfg(feature = "metrics")]
pub(crate) fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many files this process has open, where the system tells.
#[cfg(feature = "metrics")]
pub(crate) fn files_open() -> Option<usize> {
    use std::os::unix::fs::MetadataExt;
    // Linux 6.2 and later say so without a list, for which the kernel would keep a record of each.
    let said = std::fs::metadata("/proc/self/fd").ok().filter(|_| cfg!(target_os = "linux"));
    let said = said.and_then(|about| usize::try_from(about.size()).ok()).filter(|count| *count > 0);
    // Looking takes a descriptor, which is listed too.
    let listed = || Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1));
    said.or_else(listed)
}

fn as_count(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}
