//! What the client/server pair of every socket tutorial gets wrong, tried on `landline serve`.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::serving::*;
use crate::support::{code, landline, run, text};

#[test]
fn a_second_caller_is_answered_while_the_first_is_connected() {
    let server = serve(&[]);
    let (mut first, mut second) = (server.call(), server.call());
    first.asks("hello");
    second.asks("hello");
    first.asks("still there");
    drop((first, second));
    server.stop().in_order();
}

#[test]
fn a_reset_in_mid_session_ends_neither_the_server_nor_anybody_elses_session() {
    let mut server = serve(&[]);
    let mut other = server.call();
    other.asks("hello");
    for _ in 0..10 {
        let mut caller = server.call();
        caller.asks("hello");
        caller.says("unheard");
        caller.resets();
    }
    server.says("reset by client");
    other.asks("hello again");
    server.call().asks("next");
    drop(other);
    server.stop().in_order();
}

#[test]
fn a_message_longer_than_any_buffer_comes_back_whole_and_the_next_answer_is_its_own() {
    let server = serve(&[]);
    let mut caller = server.call();
    for size in [1025, 100_000, 1_000_000] {
        caller.asks(&"abcdefghij".repeat(size / 10));
        caller.asks("and this?");
    }
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_character_that_lies_across_byte_1024_comes_back_intact() {
    let server = serve(&[]);
    let mut caller = server.call();
    for before in 1020..1025 {
        caller.asks(&format!("{}你好, grüß dich", "x".repeat(before)));
    }
    drop(caller);
    server.stop().in_order();
}

#[test]
fn it_starts_again_at_once_on_the_port_it_had_while_a_connection_is_in_time_wait() {
    // All of 127/8 is this machine; on an address of its own, nobody else is given the port meanwhile.
    const HOST: &str = "127.81.0.1";
    let start = |port: u16| {
        let mut command = landline(["serve", &format!("{HOST}:{port}"), "--print-port"]);
        command.stderr(Stdio::piped());
        let mut server = Serving::start(command);
        server.address.set_ip(HOST.parse().unwrap());
        server
    };
    let server = start(0);
    let address = server.address;
    let mut caller = server.call();
    caller.asks("hello");
    server.signal(Signal::TERM);
    // The server has closed first, so the wait is on its side.
    caller.hears_out("");
    drop(caller);
    server.end().in_order();
    assert!(is_in_time_wait(address.port()));

    let server = start(address.port());
    assert_eq!(server.address, address);
    server.call().asks("hello again");
    server.stop().in_order();
}

/// Whether the kernel holds a connection in `TIME_WAIT` on a local port.
fn is_in_time_wait(port: u16) -> bool {
    const TIME_WAIT: &str = "06";
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|row| match row.split_whitespace().collect::<Vec<_>>()[..] {
        [_, local, _, state, ..] => local.ends_with(&format!(":{port:04X}")) && state == TIME_WAIT,
        _ => false,
    })
}

#[test]
fn ctrl_c_with_an_idle_caller_ends_at_once_and_the_caller_sees_a_clean_end() {
    // Were it to wait for a caller, it would wait for longer than this test does.
    let server = serve(&["--drain-timeout", "1h"]);
    let mut caller = server.call();
    caller.asks("hello");
    let mut silent = server.call();
    server.signal(Signal::INT);
    let ended = server.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    // A farewell lasts a second; nobody has to be waited for, so there is none.
    let report = ended.said.last().unwrap();
    assert!(report.contains("stopped: 2 finished - "), "{report}");
    assert!(report.ends_with("ms") || report.contains(" 0."), "{report}");
    caller.hears_out("");
    silent.hears_out("");
}

#[test]
fn a_caller_that_ends_its_side_before_it_reads_gets_its_replies() {
    let server = serve(&[]);
    for message in ["hello".to_owned(), "0123456789".repeat(20_000)] {
        let mut caller = server.call();
        caller.says(&message);
        caller.half_closes();
        caller.hears_out(message.to_ascii_uppercase());
    }
    server.stop().in_order();
}

#[test]
fn the_pair_works_together() {
    let server = serve(&[]);
    let port = server.port().to_string();
    let long = "a message of many words ".repeat(5000);
    let output = run(landline(["call", &port, "hello", &long, "grüße"]), Stdio::null());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout) == format!("HELLO\n{}\nGRüßE\n", long.to_ascii_uppercase()));
    server.stop().in_order();
}
