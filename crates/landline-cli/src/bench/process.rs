//! The CPU time of a server on this machine.

use std::fs;
use std::time::Duration;

use crate::exit::{Exit, Failure};

/// The CPU time so far of a process and of those that it has started: in many servers it is those that serve. That
/// of threads and processes which have ended is not in it.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, Failure> {
    let cannot = |cause: String| {
        Failure::new(Exit::Other, format!("cannot see the CPU time of process {pid}: {cause}"))
            .hint("--server-pid takes the number of a process on this machine that is yours to look at")
    };
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let entries = entries.map_err(|error| cannot(landline::error::describe(&error)))?;
    let mut sum = 0;
    let mut started = Vec::new();
    for thread in entries.flatten() {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok());
        sum += first.ok_or_else(|| cannot("the kernel keeps no account of it".to_owned()))?;
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        started.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    // One that has ended just now has nothing to tell.
    let theirs: Duration = started.into_iter().filter_map(|child| cpu_time(child).ok()).sum();
    Ok(Duration::from_nanos(sum) + theirs)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn what_a_process_has_started_counts_as_well() {
        let script = "while :; do :; done & read line";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).stdin(std::process::Stdio::piped()).process_group(0);
        let mut shell = command.spawn().unwrap();
        let before = cpu_time(shell.id()).unwrap();
        // The shell waits; what it has started is busy.
        while cpu_time(shell.id()).unwrap() < before + Duration::from_millis(20) {}
        let group = rustix::process::Pid::from_child(&shell);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn this_process_has_used_some_and_one_that_is_not_there_is_an_error() {
        assert!(cpu_time(std::process::id()).unwrap() > Duration::ZERO);
        let failure = cpu_time(u32::MAX).unwrap_err();
        assert!(failure.text().starts_with("cannot see the CPU time of process 4294967295: "));
    }
}
