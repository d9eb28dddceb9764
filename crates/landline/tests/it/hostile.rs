//! Services that end their process, or do not end: what becomes of whoever asked them, and of everybody else.

use std::net::SocketAddr;

use crate::examples::Example;
use crate::support::{Caller, PATIENCE};

/// The server, a caller at rest, and another who does harm.
struct Harm {
    server: Example,
    bystander: Caller,
    culprit: Caller,
    /// The culprit's number.
    id: String,
}

impl Harm {
    /// `is_deadly`: to call is enough to do harm.
    fn ready(is_deadly: bool) -> Self {
        let (server, address) = Example::serve("hostile");
        let deadly: SocketAddr = find(&server, |line| line.strip_prefix("listening on ")?.parse().ok());
        let mut bystander = Caller::connect(address);
        bystander.say("hello\n");
        bystander.hear("hello\n");
        let culprit = Caller::connect(if is_deadly { deadly } else { address });
        let name = culprit.0.local_addr().unwrap();
        let connected = format!(" {name} connected (2 open)");
        let id = find(&server, |line| Some(line.strip_suffix(&connected)?.to_owned()));
        Self { server, bystander, culprit, id }
    }

    /// Two processes die of this, and the third closes the culprit. The bystander notices nothing.
    fn ends_two(mut self, cause: &str) {
        let start = format!("{} its process died of it twice ", self.id);
        find(&self.server, |line| line.strip_prefix(&start).map(drop));
        let restarted = find(&self.server, |line| Some(line.strip_prefix("restarted after ")?.to_owned()));
        // The other may have been served at that very moment, too.
        let blamed = restarted.strip_prefix(&format!("{cause}, while it served ")).unwrap_or("");
        let mut blamed = blamed.split(" - ").next().into_iter().flat_map(|ids| ids.split(", "));
        assert!(blamed.any(|id| id == self.id) && restarted.ends_with(" restart 2"), "{restarted}");
        match self.culprit.hear_out() {
            Ok(heard) => assert_eq!(heard, ""),
            // What it has said may not have been read.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        self.bystander.say("still there\n");
        self.bystander.hear("still there\n");
        self.server.stop();
    }

    fn ends_two_by(mut self, line: &str, cause: &str) {
        self.culprit.say(line);
        self.ends_two(cause);
    }
}

/// What is wanted of the first line that has it.
fn find<T>(server: &Example, wanted: impl Fn(&str) -> Option<T>) -> T {
    let lines = std::iter::from_fn(|| server.lines.recv_timeout(PATIENCE).ok());
    lines.into_iter().find_map(|line| wanted(&line)).expect("such a line")
}

#[test]
fn who_has_a_service_abort_is_closed_and_nobody_else() {
    Harm::ready(false).ends_two_by("abort\n", "SIGABRT");
}

#[test]
fn who_has_a_service_fault_is_closed_and_nobody_else() {
    Harm::ready(false).ends_two_by("segfault\n", "SIGSEGV");
}

#[test]
fn who_has_a_service_compute_without_end_is_closed_by_the_watchdog_and_nobody_else() {
    Harm::ready(false).ends_two_by("spin\n", "SIGKILL by the watchdog");
}

#[test]
fn who_ends_two_processes_by_calling_is_closed_and_nobody_else() {
    Harm::ready(true).ends_two("SIGABRT");
}
