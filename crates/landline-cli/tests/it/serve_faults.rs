//! One system call of `landline serve` fails, the first one or the hundredth: what that costs, and whom.
//!
//! strace counts the calls of each thread. All connections are served by one, and callers come one after
//! another, so that which call is the Nth is always the same.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use crate::serve_calls::{has_strace, traced};
use crate::serving::*;

/// Each call from the first to this one fails once, with each error.
const NTH_MAX: usize = 100;
/// How many messages a caller has answered before it leaves.
const MESSAGES: usize = 5;
/// The runtime sends itself a byte when a signal comes, and receives it, with one or two calls of any thread.
/// No kernel fails these, and the runtime is not made for it: a server that could have this fault is not told
/// to stop, but killed.
const FOR_A_SIGNAL: usize = 2;
/// How many servers run at a time.
const AT_A_TIME: usize = 4;

/// The Nth call of a thread fails.
#[derive(Debug, Clone, Copy)]
struct Fault {
    call: &'static str,
    error: &'static str,
    nth: usize,
}

/// What became of a server that had a fault.
struct Outcome {
    fault: Fault,
    /// How many callers were not answered to the end.
    lost: usize,
    ended: Ended,
    /// The calls that failed, as strace shows them.
    failed: Vec<String>,
}

#[test]
fn a_receive_that_fails_costs_the_connection_that_it_was_for() {
    each("recvfrom", &["ECONNRESET", "EIO", "ENOBUFS"], MESSAGES + 1, |fault, callers| {
        let mut server = Serving::start(fault.server());
        let lost = lost_of(callers, &server);
        // The last one for each caller finds the end of the stream, and nobody waits for anything then.
        assert_eq!(lost, usize::from(fault.nth % (MESSAGES + 1) != 0), "{fault:?}");
        assert!(server.is_running(), "{fault:?}");
        if fault.nth > FOR_A_SIGNAL {
            fault.end(server, lost).says_once_why();
        }
    });
}

#[test]
fn a_send_that_fails_costs_the_connection_that_it_was_for() {
    each("sendto", &["ECONNRESET", "EIO", "ENOBUFS"], MESSAGES, |fault, callers| {
        let mut server = Serving::start(fault.server());
        let lost = lost_of(callers, &server);
        assert_eq!(lost, 1, "{fault:?}");
        assert!(server.is_running(), "{fault:?}");
        if fault.nth > FOR_A_SIGNAL {
            fault.end(server, lost).says_once_why();
        }
    });
}

#[test]
fn a_descriptor_that_cannot_be_watched_costs_one_caller_or_the_start() {
    let not_started = AtomicUsize::new(0);
    // A connection is watched, and let go of.
    each("epoll_ctl", &["ENOMEM", "ENOSPC"], 2, |fault, callers| {
        let server = match Serving::attempt(fault.server()) {
            Ok(server) => server,
            Err(ended) => {
                let last = ended.said.last().map_or("", String::as_str);
                assert_eq!(ended.code, 1, "{fault:?}: {ended:#?}");
                let words = ["cannot start", "cannot wait for signals"];
                let is_known =
                    words.iter().any(|words| last.starts_with(&format!("landline: error: {words}")));
                assert!(is_known, "{fault:?}: {ended:#?}");
                not_started.fetch_add(1, Relaxed);
                return;
            }
        };
        let lost = lost_of(callers, &server);
        let outcome = fault.end(server, lost);
        let unwatched = outcome.failed.iter().filter(|call| call.contains("EPOLL_CTL_ADD")).count();
        assert_eq!(lost, unwatched, "{fault:?}: {:?}", outcome.failed);
        assert_eq!(outcome.ended.count("cannot take more callers: "), unwatched, "{:#?}", outcome.ended);
    });
    // A start has few such calls: nearly all failures came later.
    assert!(not_started.into_inner() <= 2 * 10);
}

/// Runs `check` for each error and each Nth call. It is told how many callers it takes, each of whom makes a
/// thread do `calls_each` of these calls, until the Nth has been made and some more are answered.
fn each(call: &'static str, errors: &[&'static str], calls_each: usize, check: impl Fn(Fault, usize) + Sync) {
    if !has_strace() {
        return;
    }
    let reports = reports(call);
    fs::create_dir_all(&reports).unwrap();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    let Some(error) = errors.get(number / NTH_MAX) else { return };
                    let nth = number % NTH_MAX + 1;
                    check(Fault { call, error, nth }, nth / calls_each + 3);
                }
            });
        }
    });
    fs::remove_dir_all(reports).unwrap();
}

/// Where strace writes what it saw of these calls.
fn reports(call: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-faults-{call}"))
}

/// How many of so many callers, one after another, were not answered to the end.
fn lost_of(callers: usize, server: &Serving) -> usize {
    (0..callers).filter(|_| !is_served(server.call())).count()
}

/// Says so much and gets it answered, then ends its side and sees the server's end: only then does the next
/// one come.
fn is_served(mut caller: Caller) -> bool {
    let answered = (0..MESSAGES).all(|_| caller.is_answered());
    if answered {
        caller.half_closes();
        caller.hears_out("");
    }
    answered
}

impl Fault {
    /// A server that will have it.
    fn server(self) -> std::process::Command {
        let Self { call, error, nth } = self;
        let inject = format!("inject={call}:error={error}:when={nth}");
        let report = self.report();
        let trace = format!("trace={call}");
        // Other calls are let pass without a stop, which makes this three times as fast.
        let options = ["--seccomp-bpf", "-o", report.to_str().unwrap(), "-e", &trace, "-e", &inject];
        traced(&options, &["--threads", "1"])
    }

    fn report(self) -> PathBuf {
        let Self { call, error, nth } = self;
        reports(call).join(format!("{error}-{nth}"))
    }

    /// Stops a server, which has to stop in order, and sees to it that it did have the fault.
    fn end(self, server: Serving, lost: usize) -> Outcome {
        let ended = server.stop();
        assert_eq!(ended.code, 0, "{self:?}: {ended:#?}");
        let report = fs::read_to_string(self.report()).unwrap();
        let failed: Vec<String> =
            report.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned).collect();
        assert!(!failed.is_empty(), "{self:?} did not happen");
        Outcome { fault: self, lost, ended, failed }
    }
}

impl Outcome {
    /// Checks that one connection was closed for this.
    fn says_once_why(self) {
        let Self { fault, lost, ended, .. } = self;
        let words = match fault.error {
            "ECONNRESET" => "reset by client",
            _ => "input or output failed",
        };
        assert_eq!(ended.count(words), 1, "{fault:?}, {lost} lost: {ended:#?}");
    }
}
