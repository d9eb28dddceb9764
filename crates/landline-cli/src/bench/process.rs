//! The CPU time of another process of this machine.

use std::fs;
use std::time::Duration;

use crate::exit::{Exit, Failure};

/// The CPU time of all its threads so far. That of threads which have ended is not in it.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, Failure> {
    let cannot = |cause: String| {
        Failure::new(Exit::Other, format!("cannot see the CPU time of process {pid}: {cause}"))
            .hint("--server-pid takes the number of a process on this machine that is yours to look at")
    };
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let entries = entries.map_err(|error| cannot(landline::error::describe(&error)))?;
    let mut sum = 0;
    for thread in entries.flatten() {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
        sum += first.ok_or_else(|| cannot("the kernel keeps no account of it".to_owned()))?;
    }
    Ok(Duration::from_nanos(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_and_one_that_is_not_there_is_an_error() {
        assert!(cpu_time(std::process::id()).unwrap() > Duration::ZERO);
        let failure = cpu_time(u32::MAX).unwrap_err();
        assert!(failure.text().starts_with("cannot see the CPU time of process 4294967295: "));
    }
}
