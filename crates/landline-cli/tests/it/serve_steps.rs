//! The worker kills itself after every step of what a connection does, again and again, and no caller notices.
//!
//! `LANDLINE_FAULT` does that, in builds with the library's feature `fault-points`, as those for the tests are.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;

use crate::serving::*;

const BY_PROXY: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\r\n";

/// A caller who says all kinds of things, in pieces, after this header, and checks every byte that it hears.
fn converse(address: SocketAddr, seed: usize, header: &str) {
    for call in 0..8 {
        let mut caller = Caller::connect(address);
        // Half of them say the rest of it when it may have been looked at.
        let (first, rest) = header.split_at(if call % 2 == 0 { header.len() } else { header.len() / 2 });
        caller.says(first);
        caller.says(rest);
        for turn in 0..6 {
            let kind = seed + 5 * call + turn;
            let lines: Vec<u8> = (0..=kind % 4).flat_map(|line| message(kind * 31 + line)).collect();
            let (first, rest) = lines.split_at(kind * 13 % lines.len());
            caller.says(first);
            caller.says(rest);
            caller.hears(lines.to_ascii_uppercase());
        }
        caller.says("the last");
        caller.half_closes();
        caller.hears_out("THE LAST");
    }
}

/// A line, mostly a short one.
fn message(number: usize) -> Vec<u8> {
    let len = if number.is_multiple_of(7) { 70_000 } else { number % 100 };
    let text = format!("{number} said ").into_bytes();
    text.into_iter().cycle().take(len).chain(*b"\n").collect()
}

/// How often workers were killed while callers were served, each of whom began with this header.
fn deaths_at(step: &str, within: u32, header: &str) -> usize {
    let mut flags = vec!["--crash-survival", "on", "--threads", "2", "--framing", "line"];
    if !header.is_empty() {
        flags.extend(["--proxy-from", "127.0.0.1"]);
    }
    let mut command = command(&flags);
    command.env("LANDLINE_FAULT", format!("{step}:{within}"));
    let server = Serving::start(command);
    let address = server.address;
    thread::scope(|scope| {
        for seed in 0..6 {
            scope.spawn(move || converse(address, seed, header));
        }
    });
    let ended = server.stop();
    ended.count("restarted after SIGKILL")
}

fn survives(step: &str, within: u32) {
    assert!(deaths_at(step, within, "") > 0, "it never died at {step}");
}

#[test]
fn a_caller_by_way_of_a_proxy_is_who_it_was_wherever_the_process_dies() {
    for (step, within) in [("accept", 4), ("begin", 4), ("claim", 20), ("receive", 20), ("send", 20)] {
        assert!(deaths_at(step, within, BY_PROXY) > 0, "it never died at {step}");
    }
}

#[test]
fn a_caller_who_was_accepted_and_is_in_no_table_is_let_in() {
    survives("accept", 4);
}

#[test]
fn a_connection_that_is_in_the_table_and_no_more_begins() {
    survives("begin", 4);
}

#[test]
fn a_connection_that_was_to_receive_receives() {
    survives("claim", 20);
}

#[test]
fn what_was_received_is_answered() {
    survives("receive", 20);
}

#[test]
fn what_was_answered_and_not_staged_is_answered_again_unheard() {
    survives("answer", 20);
}

#[test]
fn what_was_staged_is_sent() {
    survives("stage", 20);
}

#[test]
fn what_was_sent_is_not_sent_again() {
    survives("send", 20);
}

#[test]
fn what_was_released_is_at_rest() {
    survives("release", 20);
}

#[test]
fn what_moved_to_other_memory_is_there() {
    survives("move", 30);
}

#[test]
fn what_was_struck_from_the_table_is_closed() {
    survives("clear", 4);
}

#[test]
fn whoever_verifies_notices_when_the_next_worker_is_wrong_about_what_was_sent() {
    let mut command = command(&["--crash-survival", "on", "--threads", "2", "--framing", "line"]);
    command.env("LANDLINE_FAULT", "send:20").env("LANDLINE_MISJUDGE", "1");
    let server = Serving::start(command);
    let address = server.address;
    let noticed = thread::spawn(move || converse(address, 0, "")).join();
    assert!(noticed.is_err(), "what was sent was sent again, and nobody has noticed");
    drop(server);
}

#[test]
fn a_worker_that_dies_while_it_takes_over_leaves_all_to_the_next() {
    // This one kills only workers that follow others, so somebody has to kill the first.
    let mut command = command(&["--crash-survival", "on", "--threads", "2", "--framing", "line"]);
    command.env("LANDLINE_FAULT", "recover:12");
    let mut server = Serving::start(command);
    server.says("if its process is killed");
    let mut callers: Vec<_> = (0..8).map(|_| server.call()).collect();
    for caller in &mut callers {
        caller.says("hello\nhel");
    }
    for caller in &mut callers {
        caller.hears("HELLO\n");
    }
    for _ in 0..5 {
        crate::serve_survival::kill_worker(&mut server);
    }
    for caller in &mut callers {
        caller.says("lo\n");
    }
    for caller in &mut callers {
        caller.hears("HELLO\n");
        caller.half_closes();
        assert_eq!(caller.0.read(&mut [0]).unwrap(), 0);
    }
}
