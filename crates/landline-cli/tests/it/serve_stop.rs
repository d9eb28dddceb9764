//! Signals, and what becomes of those who are connected.

use rustix::process::Signal;

use crate::serving::*;

/// A caller who has said nothing: whoever was just answered can still count as in a message.
fn idle(server: &mut Serving) -> Caller {
    let caller = server.call();
    server.says(&format!("{} connected", caller.name()));
    caller
}

/// A caller whose message the server has the beginning of.
fn in_mid_message(server: &Serving) -> Caller {
    let mut caller = server.call();
    caller.says("one\nhalf");
    caller.hears("ONE\n");
    caller
}

#[test]
fn a_message_that_has_begun_is_waited_for_and_answered() {
    let mut server = serve(&["--framing", "line", "--drain-timeout", "1h"]);
    let mut idle = idle(&mut server);
    let mut busy = in_mid_message(&server);
    server.signal(Signal::TERM);
    let line = server.says("stopping: ");
    assert!(line.ends_with("stopping: 1 of 2 still in a message, waiting up to 1h 0m"), "{line}");
    idle.hears_out("");
    busy.says(" and half\n");
    busy.hears_out("HALF AND HALF\n");
    drop((busy, idle));
    let ended = server.end();
    assert_eq!((ended.code, ended.count("stopped: 2 finished - ")), (0, 1), "{ended:#?}");
}

#[test]
fn a_second_signal_cuts_and_the_report_names_who_was_cut() {
    let mut server = serve(&["--framing", "line", "--drain-timeout", "1h"]);
    let busy = in_mid_message(&server);
    server.signal(Signal::TERM);
    server.says("stopping: 1 of 1 still in a message");
    server.signal(Signal::INT);
    let ended = server.end();
    assert_eq!(ended.code, 11, "{ended:#?}");
    assert!(ended.said.contains(&format!("  cut: #1 {}", busy.name())), "{ended:#?}");
    assert_eq!(ended.count("stopped: 0 finished, 1 cut - "), 1, "{ended:#?}");
    assert_eq!(ended.said.last().unwrap(), "landline: error: stopped with 1 connection cut");
}

#[test]
fn whoever_is_not_done_when_the_drain_is_over_is_cut() {
    let mut server = serve(&["--framing", "line", "--drain-timeout", "100ms"]);
    let stuck: Vec<_> = (0..2).map(|_| in_mid_message(&server)).collect();
    server.signal(Signal::TERM);
    server.says("stopping: 2 of 2 still in a message, waiting up to 0.1s");
    let ended = server.end();
    assert_eq!((ended.code, ended.count("cut at the drain deadline")), (11, 2), "{ended:#?}");
    for caller in &stuck {
        let name = caller.name();
        assert!(ended.said.iter().any(|line| line.starts_with("  cut: #") && line.ends_with(&name)));
    }
    assert_eq!(ended.said.last().unwrap(), "landline: error: stopped with 2 connections cut");
}

#[test]
fn a_terminal_that_is_closed_leaves_no_server_behind() {
    let server = serve(&["--framing", "line"]);
    let mut caller = server.call();
    caller.asks("hello\n");
    server.signal(Signal::HUP);
    caller.hears_out("");
    drop(caller);
    server.end().in_order();
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored_and_sigterm_works() {
    for (name, signal) in [("INT", Signal::INT), ("HUP", Signal::HUP)] {
        let command = by_shell(&format!("trap '' {name}; exec \"$@\""), &[]);
        let mut server = Serving::start(command);
        server.signal(signal);
        let mut caller = server.call();
        caller.asks("hello");
        server.signal(signal);
        caller.asks("still there");
        assert!(server.is_running());
        drop(caller);
        server.stop().in_order();
    }
}

#[test]
fn a_new_caller_is_refused_while_the_server_waits_for_another() {
    let mut server = serve(&["--framing", "line", "--drain-timeout", "1h", "--threads", "2"]);
    let mut busy = in_mid_message(&server);
    let mut idle = idle(&mut server);
    server.signal(Signal::TERM);
    server.says("stopping: 1 of 2");
    idle.hears_out("");
    let refused = std::net::TcpStream::connect(server.address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    busy.says(" done\n");
    busy.hears_out("HALF DONE\n");
    drop(busy);
    server.end().in_order();
}
