//! Callers that break off, flood, or never read.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use crate::serving::*;
use crate::support::GUARD;

const MIB: usize = 1 << 20;

#[test]
fn a_reset_in_mid_message_disturbs_nobody_else() {
    let mut server = serve(&["--framing", "line"]);
    let mut other = server.call();
    other.says("begun ");
    let mut caller = server.call();
    caller.says("one\nhalf of tw");
    caller.hears("ONE\n");
    let name = caller.name();
    caller.resets();
    let line = server.says("reset by client");
    let id = line.split(' ').find(|word| word.starts_with('#')).unwrap().to_owned();
    other.says("and finished\n");
    other.hears("BEGUN AND FINISHED\n");
    drop(other);
    let ended = server.stop();
    assert_eq!((ended.code, ended.count(&format!("{id} {name} connected"))), (0, 1), "{ended:#?}");
}

#[test]
fn a_half_close_before_the_reply_loses_neither_it_nor_a_line_without_an_ending() {
    let server = serve(&["--framing", "line"]);
    let mut caller = server.call();
    caller.says("one\r\ntwo\nthree");
    caller.half_closes();
    // A reply ends as its message did.
    caller.hears_out("ONE\r\nTWO\nTHREE");
    server.stop().in_order();
}

#[test]
fn a_half_close_within_a_length_is_told_from_an_end_between_messages() {
    let mut server = serve(&["--framing", "length"]);
    let mut caller = server.call();
    caller.says(b"\0\0\0\x03one\0\0\0\x09half");
    caller.half_closes();
    caller.hears_out(b"\0\0\0\x03ONE");
    server.says("client ended within a message");
    server.stop().in_order();
}

#[test]
fn every_byte_value_comes_back_and_only_ascii_letters_change() {
    let server = serve(&[]);
    let mut caller = server.call();
    let every: Vec<u8> = (0..=255).collect();
    caller.says(&every);
    caller.hears(every.to_ascii_uppercase());
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_gibibyte_without_a_newline_costs_the_memory_of_one_message_and_the_connection() {
    let mut server = serve(&["--framing", "line", "--threads", "1"]);
    server.call().asks("what is used at first\n");
    let before = server.memory();
    let mut most = before;
    let mut flood = server.call();
    let poured = pour(&mut flood, 1 << 30, || most = most.max(server.memory()));
    assert!(poured.failure.is_some(), "it took all of it");
    let line = server.says("message too long");
    assert!(line.contains("1048576"), "it names the limit: {line}");
    let after = server.memory();
    println!("took {} KiB; memory {before} KiB, at most {most}, then {after}", poured.taken >> 10);
    // For a moment there is the message of 1 MiB and the buffer to go on in, hardly larger, and what the pool
    // keeps of the smaller ones it grew out of, 1 MiB at most; and some slack.
    assert!(most - before <= (3 << 10) + 256, "{before} KiB grew to {most}");
    assert!(after.saturating_sub(before) <= 2 << 10, "{before} KiB grew to {after}");
    server.call().asks("and the next\n");
    server.stop().in_order();
}

#[test]
fn a_caller_that_never_reads_is_stopped_costs_little_and_is_closed_in_the_end() {
    let mut server = serve(&["--write-timeout", "1s", "--threads", "1"]);
    server.call().asks(&"what is used at first".repeat(10_000));
    let before = server.memory();
    let mut deaf = server.call();
    // Longer than a moment's pause, shorter than the limit.
    deaf.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let poured = pour(&mut deaf, 300 * MIB, || ());
    assert!(poured.failure.is_some(), "it took all of it");
    let stalled = server.memory();
    server.call().asks("meanwhile");
    let line = server.says("client took no reply for too long");
    deaf.0.set_write_timeout(Some(GUARD)).unwrap();
    let failure = pour(&mut deaf, 300 * MIB, || ()).failure.expect("the connection is gone");
    assert!(matches!(failure, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{failure}");
    println!("took {} KiB; memory {before} KiB, stalled {stalled}; {line}", poured.taken >> 10);
    assert!(stalled.saturating_sub(before) <= 1 << 10, "{before} KiB grew to {stalled}");
    server.stop().in_order();
}

/// What became of an attempt to send very much.
struct Poured {
    taken: usize,
    failure: Option<ErrorKind>,
}

/// Sends `total` bytes or until it fails, and calls `look` after each mebibyte.
fn pour(caller: &mut Caller, total: usize, mut look: impl FnMut()) -> Poured {
    let piece = vec![b'x'; MIB];
    let mut taken = 0;
    while taken < total {
        match caller.0.write(&piece) {
            Ok(count) => taken += count,
            Err(error) => return Poured { taken, failure: Some(error.kind()) },
        }
        look();
    }
    Poured { taken, failure: None }
}
