//! `serve` with TLS, and clients that want what is not to be had.

use std::process::Command;

use crate::serve_tls::{Place, has_openssl, openssl};
use crate::support::*;

#[test]
fn what_is_too_old_is_refused_with_a_reason() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    let mut server = place.serve("", &[]);
    for version in ["-tls1", "-tls1_1"] {
        let flags = [version, "-cipher", "ALL:@SECLEVEL=0", "-quiet", "-no_ign_eof"];
        let output = openssl(server.address, &flags, b"hello\n");
        assert!(!output.status.success(), "{output:?}");
        let said = text(&output.stderr);
        if said.contains("no protocols available") {
            // This OpenSSL speaks nothing so old.
            continue;
        }
        server.says("handshake failed: the client offers only versions of TLS that are too old here");
    }
    server.stop().in_order();
}

#[test]
fn a_client_that_wants_other_keys_is_answered_by_an_alert_and_served_on_or_closed() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    let server = place.serve("", &[]);
    let ca = place.path("ca.pem");
    // A line that is an R alone has this client ask for a new handshake.
    for version in ["-tls1_2", "-tls1_3"] {
        let _ = openssl(server.address, &[version, "-CAfile", &ca, "-legacy_renegotiation"], b"R\nhello\n");
    }
    place.call(server.address).asks("hello\n");
    let ended = server.stop();
    assert_eq!(ended.count("panicked"), 0, "{ended:#?}");
    ended.in_order();
}

#[test]
fn nothing_that_a_client_names_ends_a_line_of_the_log() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    let mut server = place.serve("", &["--log-format", "text"]);
    let address = server.address.to_string();
    for name in ["evil\nline", "\u{1b}[31mred", "a\u{202e}b"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address, "-servername", name, "-quiet", "-no_ign_eof"]);
        let _ = run(command, given(b"hello\n"));
        server.says("#");
    }
    place.call(server.address).asks("hello\n");
    let ended = server.stop();
    for line in &ended.said {
        assert!(line.chars().all(|letter| (' '..='~').contains(&letter)), "{line:?}");
        assert!(!line.contains("evil") && !line.contains("red"), "{line:?}");
    }
    ended.in_order();
}

#[test]
fn plain_text_is_told_of_in_words() {
    let place = Place::new();
    let mut server = place.serve("", &[]);
    let mut caller = server.call();
    caller.says("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    server.says("handshake failed: it spoke plain text; this listener speaks TLS");
    server.stop().in_order();
}

#[test]
fn whoever_says_nothing_is_closed_after_the_time_for_a_handshake() {
    let place = Place::new();
    let mut server = place.serve("handshake_timeout = '200ms'\n", &[]);
    let silent = server.call();
    server.says("handshake took too long");
    drop(silent);
    server.stop().in_order();
}

#[test]
fn flags_that_contradict_each_other_are_refused_with_a_hint() {
    for (flags, words, hint) in [
        (
            &["--tls-cert", "a.pem"][..],
            "as many private keys as certificates",
            "say --tls-cert and --tls-key in pairs",
        ),
        (&["--tls-self-signed", "--tls-cert", "a", "--tls-key", "a"], "or makes one", "--tls-self-signed"),
        (&["--tls-client-ca", "a.pem"], "has no meaning where it is not spoken", "(--tls-cert)"),
        (&["--tls-self-signed", "--tls-client-auth", "optional"], "nobody vouches", "--tls-client-ca"),
    ] {
        let mut command = landline(["serve", "0"]);
        command.args(flags);
        let output = run(command, std::process::Stdio::null());
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{said}");
        assert!(said.contains(words) && said.contains(hint), "{said}");
    }
}
