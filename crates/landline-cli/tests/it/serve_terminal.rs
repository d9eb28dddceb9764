//! `landline serve` on a terminal: what somebody sees who starts it.

use std::os::unix::process::CommandExt;

use rustix::process::{Resource, getrlimit};

use crate::serve_config::Config;
use crate::serving::Caller;
use crate::support::*;
use crate::terminal::Terminal;

/// What the default limit on connections takes.
const DESCRIPTORS: u64 = 10_100;

/// The program as somebody starts it who has it installed, once it listens; its address.
fn start(flags: &[&str]) -> (Terminal, std::net::SocketAddr) {
    let mut command = landline(["serve", "0"]);
    command.arg0("landline").args(flags);
    let mut terminal = Terminal::open(command);
    terminal.sees("listening on 127.0.0.1:");
    let port = terminal.sees(" ").parse::<u16>().unwrap();
    (terminal, ([127, 0, 0, 1], port).into())
}

/// Whether this is a time of day, as in `12:00:01`.
fn is_clock(text: &str) -> bool {
    let shape = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    shape.eq(*b"00:00:00")
}

#[test]
fn the_first_sight_is_the_one_in_the_manual() {
    let limit = getrlimit(Resource::Nofile).maximum;
    if !has("a limit on open files of 10100", limit.is_none_or(|limit| limit >= DESCRIPTORS)) {
        return;
    }
    let (mut terminal, address) = start(&["--threads", "2"]);
    let port = address.port();
    terminal.sees(&format!("(this machine only; ':{port}' opens it to the network)\r\n"));
    terminal.sees("service upper · up to 10000 connections · 2 threads\r\n");
    terminal.sees(&format!("try it: landline call {port}        stop: Ctrl-C\r\n"));
    let mut caller = Caller::connect(address);
    let clock = terminal.sees(&format!(" #1 {} connected (1 open)\r\n", caller.name()));
    assert!(is_clock(&clock), "{clock:?}");
    for message in ["hello", "there", "and you"] {
        caller.asks(message);
    }
    drop(caller);
    let clock = terminal.sees(" #1 closed by client · 3 messages · 17 B in, 17 B out · ");
    assert!(is_clock(&clock), "{clock:?}");
    terminal.sees("\r\n");
    terminal.presses_ctrl('c');
    terminal.sees("stopping\r\nstopped: 0 finished · ");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn ctrl_c_says_what_is_waited_for_and_a_second_one_cuts() {
    let (mut terminal, address) = start(&["--framing", "line"]);
    let idle = Caller::connect(address);
    terminal.sees("connected (1 open)\r\n");
    let mut busy = Caller::connect(address);
    busy.says("one\nhalf");
    busy.hears("ONE\n");
    terminal.sees("connected (2 open)\r\n");
    terminal.presses_ctrl('c');
    terminal.sees("stopping: 1 of 2 still in a message, waiting up to 10s (Ctrl-C again to cut)\r\n");
    // Whoever is idle is closed once the listener is.
    terminal.sees("#1 closed by drain");
    terminal.presses_ctrl('c');
    terminal.sees("stopped: 1 finished, 1 cut · ");
    terminal.sees(&format!("  cut: #2 {}\r\n", busy.name()));
    terminal.sees(": stopped with 1 connection cut\r\n");
    assert_eq!(terminal.ends().0, 11);
    drop(idle);
}

#[test]
fn printable_text_is_shown_as_it_is_and_controls_are_spelled_out() {
    let (mut terminal, address) = start(&["-v"]);
    let mut caller = Caller::connect(address);
    caller.asks("你好 \x1b]0;title\x07\u{9b}31m \u{202e}evil\0\r\n");
    terminal.sees(r"#1 < 你好 \x1b]0;title\x07\u{9b}31m \u{202e}evil\x00\r\n");
    terminal.sees("\r\n");
    terminal.sees("#1 > 你好 ");
    drop(caller);
    terminal.presses_ctrl('c');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn what_a_file_says_is_shown_as_text_and_steers_no_terminal() {
    let config = Config::new("");
    let listener = "[[listener]]\naddress = 0\n";
    let path = format!("unix:{}/你\\n\\u001b]0;title\\u0007", config.0.display());
    config.now_says(format!("{listener}[[listener]]\naddress = \"{path}\"\n"));
    let mut command = landline(["serve", "--config", "landline.toml"]);
    command.current_dir(&config.0);
    let mut terminal = Terminal::open(command);
    terminal.sees(r"/你\n\x1b]0;title\x07");
    terminal.sees("stop: Ctrl-C\r\n");
    config.now_says("\"\\u009b31m\\u202e\" = 1\n");
    terminal.asks_to_reload();
    let line = terminal.sees("; all stays as it was\r\n");
    assert!(!line.contains(['\u{1b}', '\u{7}']) && line.contains("no setting is called"), "{line:?}");
    terminal.presses_ctrl('c');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn without_a_utf8_locale_it_says_everything_in_ascii() {
    let mut command = landline(["serve", "0", "-v"]);
    command.env("LC_ALL", "C");
    let mut terminal = Terminal::open(command);
    terminal.sees("listening on 127.0.0.1:");
    let port = terminal.sees(" ").parse::<u16>().unwrap();
    terminal.sees("service upper - up to ");
    let mut caller = Caller::connect(([127, 0, 0, 1], port).into());
    caller.asks("né");
    terminal.sees(r"#1 < n\u{e9}");
    drop(caller);
    terminal.sees("closed by client - 1 message - ");
    terminal.presses_ctrl('c');
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0);
    assert!(seen.is_ascii(), "{seen:?}");
}

#[test]
fn under_cargo_the_advice_is_to_go_on_with_cargo() {
    let mut command = landline(["serve", "0"]);
    command.env("CARGO", "/usr/bin/cargo");
    let mut terminal = Terminal::open(command);
    terminal.sees("try it: cargo run ");
    terminal.sees("-- call ");
    terminal.presses_ctrl('c');
    assert_eq!(terminal.ends().0, 0);
}
