//! `serve --crash-survival on`: the process that serves is there and does nothing, or dies of a fault.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::serve_survival::{pid, survivor, worker_of};
use crate::serving::*;

#[test]
fn a_process_that_is_stopped_is_killed_and_another_goes_on_with_its_callers() {
    let mut server = survivor(&["--framing", "line", "--watchdog-timeout", "1s"]);
    let mut caller = server.call();
    caller.says("hello\n");
    caller.hears("HELLO\n");
    let stopped = worker_of(server.id());
    kill_process(pid(stopped), Signal::STOP).unwrap();
    server.says("restarted after SIGKILL by the watchdog");
    assert_ne!(worker_of(server.id()), stopped);
    caller.says("again\n");
    caller.hears("AGAIN\n");
    drop(caller);
    server.stop().in_order();
}

#[test]
fn whoever_is_answered_between_two_faults_is_not_closed_for_them() {
    let mut server = survivor(&["--framing", "line"]);
    let mut caller = server.call();
    for _ in 0..3 {
        caller.says("hello\n");
        caller.hears("HELLO\n");
        kill_process(pid(worker_of(server.id())), Signal::ABORT).unwrap();
        server.says("restarted after SIGABRT");
    }
    caller.says("again\n");
    caller.hears("AGAIN\n");
    drop(caller);
    server.stop().in_order();
}

/// The longest core dump of a process, in bytes.
fn core_limit(process: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_process_that_serves_leaves_no_core_dump_unless_one_is_wanted() {
    let limit = |flags: &[&str]| {
        let flags = [&["--crash-survival", "on"], flags].concat();
        let mut server = Serving::start(by_shell("ulimit -Sc hard; exec \"$@\"", &flags));
        server.says("if its process is killed");
        (core_limit(worker_of(server.id())), core_limit(server.id()))
    };
    let (without, wanted) = limit(&[]);
    // With 0 a program that is there to take dumps would be started.
    assert!(without == "1" || wanted == "0", "{without} of {wanted}");
    assert_eq!(limit(&["--core-dumps", "on"]), (wanted.clone(), wanted));
}
