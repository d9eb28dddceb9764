//! The flags that say who is let in and for how long.

use crate::serving::*;
use crate::support::{code, landline, run, text};
use std::process::Stdio;

#[test]
fn a_denied_network_hears_so_and_nobody_else_does() {
    let server = serve(&["--deny", "127.0.0.0/8"]);
    server.call().hears_out("denied\n");
    let ended = server.stop();
    assert_eq!((ended.code, ended.count(" refused: denied")), (0, 1), "{ended:#?}");

    let server = serve(&["--allow", "127.0.0.1"]);
    server.call().asks("hello");
    server.stop().in_order();
}

#[test]
fn the_excess_of_one_address_is_told_or_closed_as_the_flags_say() {
    for (excess, heard) in [("say", "busy\n"), ("close", "")] {
        let server = serve(&["--max-connections-per-ip", "1", "--excess", excess]);
        let mut inside = server.call();
        inside.asks("hello");
        server.call().hears_out(heard);
        inside.asks("still there");
        drop(inside);
        let ended = server.stop();
        assert_eq!(ended.count(" refused: too many connections from this address"), 1, "{ended:#?}");
    }
}

#[test]
fn callers_wait_for_a_place_if_that_is_wanted() {
    let server = serve(&["--max-connections", "1", "--excess", "wait"]);
    let mut inside = server.call();
    inside.asks("hello");
    let mut waiting = server.call();
    waiting.says("me too");
    drop(inside);
    waiting.hears("ME TOO");
    drop(waiting);
    server.stop().in_order();
}

#[test]
fn each_limit_on_time_ends_a_connection_with_its_own_words() {
    for (flag, words) in [
        ("--idle-timeout", "idle for too long"),
        ("--max-connection-time", "connected for too long"),
        ("--max-connection-age", "old enough to call again"),
    ] {
        let mut server = serve(&[flag, "100ms"]);
        let mut caller = server.call();
        caller.asks("hello");
        caller.hears_out("");
        server.says(words);
        drop(caller);
        server.stop().in_order();
    }
}

#[test]
fn flags_that_do_not_go_together_are_refused_with_the_way_out() {
    let output =
        run(landline(["serve", "0", "--excess", "wait", "--max-connections-per-ip", "5"]), Stdio::null());
    assert_eq!(code(&output), 2);
    let said = text(&output.stderr);
    assert!(said.contains("cannot leave callers waiting"), "{said}");
    assert!(said.contains("hint: leave out '--excess wait'"), "{said}");

    let output = run(landline(["serve", "0", "--allow", "10.0.0/8"]), Stdio::null());
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("as in 10.0.0.0/8"), "{output:?}");
}
