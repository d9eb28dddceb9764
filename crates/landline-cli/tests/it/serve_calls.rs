//! The system calls of `landline serve`: how many there are, and what it does when they fail.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::serving::*;
use crate::support::{GUARD, has};

/// Whether system calls can be watched here: strace is there and may do so.
pub(crate) fn has_strace() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    has("strace, and leave to trace", tried.is_ok_and(|status| status.success()))
}

/// A server under strace. With `-D` strace is no parent of it, so it is signalled and waited for as ever.
pub(crate) fn traced(options: &[&str], flags: &[&str]) -> Command {
    let server = command(flags);
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f"]).args(options).arg("--").arg(server.get_program()).args(server.get_args());
    strace.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stderr(Stdio::piped());
    strace
}

/// A server whose first calls of accept(2) fail. It has one thread, as strace counts the calls of each.
fn failing(error: &str, when: &str) -> Serving {
    let inject = format!("inject=accept4:error={error}:when={when}");
    Serving::start(traced(&["-o", "/dev/null", "-e", "trace=accept4", "-e", &inject], &["--threads", "1"]))
}

#[test]
fn a_message_costs_one_receive_and_one_send_and_otherwise_only_waiting() {
    const CALLERS: usize = 50;
    const ROUNDS: usize = 40;
    const MESSAGES: usize = CALLERS * ROUNDS;
    if !has_strace() {
        return;
    }
    let report = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("serve-calls");
    // The log has calls of its own, some for each connection.
    let options = ["-c", "-U", "name,calls", "-o", report.to_str().unwrap()];
    let server = Serving::start(traced(&options, &["-q"]));
    let mut callers: Vec<Caller> = (0..CALLERS).map(|_| server.call()).collect();
    let message = "x".repeat(64);
    for _ in 0..ROUNDS {
        for caller in &mut callers {
            caller.asks(&message);
        }
    }
    drop(callers);
    server.stop().in_order();

    let mut calls = counts(&fs::read_to_string(&report).unwrap());
    let mut take =
        |names: &[&str]| -> usize { names.iter().map(|name| calls.remove(*name).unwrap_or(0)).sum() };
    let received = take(&["recvfrom", "recvmsg", "recvmmsg", "read", "readv"]);
    let sent = take(&["sendto", "sendmsg", "sendmmsg", "write", "writev"]);
    let waited = take(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]);
    println!("{MESSAGES} messages: {received} received, {sent} sent, {waited} waited, {calls:?}");
    assert!((MESSAGES..=MESSAGES * 105 / 100 + 2 * CALLERS).contains(&received), "{received} receives");
    assert!((MESSAGES..=MESSAGES * 105 / 100 + 2 * CALLERS).contains(&sent), "{sent} sends");
    // Enough for starting, and for opening and closing each connection.
    assert!(calls.values().all(|count| *count < 8 * CALLERS), "{calls:?}");
}

/// What `strace -c -U name,calls` counted.
fn counts(report: &str) -> HashMap<String, usize> {
    let rows = report.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let counts = rows.filter_map(|row| match row[..] {
        [name, count] if name != "total" => Some((name.to_owned(), count.parse().ok()?)),
        _ => None,
    });
    counts.collect()
}

#[test]
fn an_error_of_accept_costs_no_more_than_the_caller_it_hit() {
    if !has_strace() {
        return;
    }
    for error in [
        "ECONNABORTED",
        "EMFILE",
        "ENFILE",
        "ENOBUFS",
        "ENOMEM",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "EINVAL",
        "EINTR",
    ] {
        let mut server = failing(error, "1..3");
        let begun = Instant::now();
        while !server.call().gets_an_answer() {
            assert!(begun.elapsed() < GUARD, "{error}: nobody is let in any more");
        }
        for _ in 0..5 {
            server.call().asks("hello");
        }
        assert!(server.is_running(), "{error}");
        let ended = server.stop();
        let words = match error {
            "EMFILE" | "ENFILE" | "ENOBUFS" | "ENOMEM" => "cannot take more callers: ",
            "EINVAL" | "EINTR" => "",
            _ => "a caller was lost before it was accepted: ",
        };
        assert_eq!(ended.code, 0, "{error}: {ended:#?}");
        assert!(ended.count(words) > 0, "{error}: {ended:#?}");
    }
}

#[test]
fn a_listener_that_is_broken_for_good_ends_the_server_with_words() {
    if !has_strace() {
        return;
    }
    // EINVAL can be an accident; again and again it can't.
    for (error, when, cause) in [
        ("EBADF", "1", "bad file descriptor"),
        ("ENOTSOCK", "1", "socket operation on non-socket"),
        ("EINVAL", "1+", "invalid argument"),
    ] {
        let server = failing(error, when);
        let _caller = server.call();
        let ended = server.end();
        assert_eq!(ended.code, 1, "{error}: {ended:#?}");
        let last = ended.said.last().unwrap();
        assert!(last.starts_with("landline: error: cannot go on serving: "), "{error}: {last}");
        assert!(last.to_lowercase().contains(cause), "{error}: {last}");
    }
}
