//! How evenly long connections lie on the threads.

use super::figures::float;
use super::proc::watched_connections;
use super::program::Served;
use super::report::Report;
use crate::Outcome;

const CONNECTIONS: usize = 1_000;
const THREADS: usize = 2;
const BOUND: f64 = 1.2;

pub(super) fn run(report: &mut Report) -> Outcome {
    let served = Served::start(&["--quiet", "--threads", &THREADS.to_string()])?;
    let mut callers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut caller = served.call()?;
        caller.ask("hello", "HELLO")?;
        callers.push(caller);
    }
    let counts = watched_connections(served.pid())?;
    report.tell(format!(
        "{CONNECTIONS} connections on {THREADS} threads, by the epoll that watches them: {counts:?}"
    ));
    if counts.iter().sum::<usize>() != CONNECTIONS {
        return Err("not every connection was found".to_owned());
    }
    // A thread with no connection has no count.
    let least = if counts.len() < THREADS { 0 } else { counts.iter().copied().min().unwrap_or(0) };
    let most = counts.iter().copied().max().unwrap_or(0);
    report.at_most("most to least", float(most as u64) / float(least as u64), BOUND, "");
    drop(callers);
    served.stop()
}
