//! What `landline call` does where others lose bytes, hang, or exit 0: each misfortune, in one shot and as a
//! pipe, with all that is printed and said.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use crate::certificates::*;
use crate::support::*;

/// Stdout, stderr with `ADDR` for the address, and the exit code.
type Expected = (&'static str, &'static str, i32);

struct Row {
    name: &'static str,
    serve: fn(TcpStream),
    flags: &'static [&'static str],
    once: Option<Expected>,
    pipe: Option<Expected>,
}

const RESET: &str = "landline: error: lost the connection to ADDR: connection reset by peer\n";
const NO_ANSWER: &str =
    "landline: error: no answer from ADDR: connection reset by peer\n  hint: if it speaks TLS, add --tls\n";
const CLOSED: &str = "landline: error: no answer from ADDR: the server closed the connection\n  hint: if it speaks TLS, add --tls\n";

const ROWS: &[Row] = &[
    Row {
        name: "a server that answers only after our FIN",
        serve: |mut stream| {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(&heard.to_ascii_uppercase()).unwrap();
        },
        flags: &[],
        once: None,
        pipe: Some(("HELLO\n", "", 0)),
    },
    Row {
        name: "a reply, then the close",
        serve: |mut stream| {
            read_line(&mut stream);
            stream.write_all(b"HELLO\n").unwrap();
        },
        flags: &[],
        once: Some(("HELLO\n", "", 0)),
        pipe: Some(("HELLO\n", "", 0)),
    },
    Row {
        name: "a reply without its ending, then the close",
        serve: |mut stream| {
            read_line(&mut stream);
            stream.write_all(b"HELLO").unwrap();
        },
        flags: &[],
        once: Some(("HELLO", "", 0)),
        pipe: Some(("HELLO", "", 0)),
    },
    Row {
        name: "a reset before any answer",
        serve: |mut stream| {
            read_line(&mut stream);
            reset(stream);
        },
        flags: &[],
        once: Some(("", NO_ANSWER, 6)),
        pipe: Some(("", RESET, 6)),
    },
    Row {
        name: "a close before any answer",
        serve: |mut stream| {
            read_line(&mut stream);
        },
        flags: &[],
        once: Some(("", CLOSED, 6)),
        pipe: Some(("", "", 0)),
    },
    Row {
        name: "control bytes, off a terminal",
        serve: |mut stream| {
            read_line(&mut stream);
            stream.write_all(b"\x1b[31mred\x07\n").unwrap();
        },
        flags: &[],
        once: Some(("\x1b[31mred\x07\n", "", 0)),
        pipe: Some(("\x1b[31mred\x07\n", "", 0)),
    },
    Row {
        name: "TLS to a server that speaks plain text",
        serve: |mut stream| {
            let _ = stream.write_all(b"220 welcome\r\n");
            // Its close must not be a reset, which would be another misfortune.
            let _ = stream.read_to_end(&mut Vec::new());
        },
        flags: &["--tls", "--insecure"],
        once: Some(("", NOT_TLS, 7)),
        pipe: Some(("", NOT_TLS, 7)),
    },
];

const NOT_TLS: &str = "landline: warning: --insecure: nobody verifies that it is ADDR that answers\n\
                       landline: error: ADDR does not speak TLS\n  hint: remove --tls\n";

fn check(name: &str, how: &str, address: &str, output: &std::process::Output, expected: Expected) {
    let (stdout, stderr, exit) = expected;
    let got = (text(&output.stdout), text(&output.stderr).replace(address, "ADDR"), code(output));
    assert_eq!(got, (stdout.to_owned(), stderr.to_owned(), exit), "{name}, {how}");
}

#[test]
fn every_misfortune_is_told_in_its_own_words_and_none_exits_0() {
    for row in ROWS {
        if let Some(expected) = row.once {
            let server = server(row.serve);
            let mut command = landline(["call"]);
            command.args(row.flags).args([&server.typed(), "hello"]);
            let output = run(command, Stdio::null());
            check(row.name, "in one shot", &server.typed(), &output, expected);
            server.end();
        }
        if let Some(expected) = row.pipe {
            let server = server(row.serve);
            let mut command = landline(["call"]);
            command.args(row.flags).arg(server.typed());
            let output = run(command, given(b"hello\n"));
            check(row.name, "as a pipe", &server.typed(), &output, expected);
            server.end();
        }
    }
}

#[test]
fn half_an_answer_before_a_reset_is_printed_every_time() {
    for _ in 0..10 {
        let server = server(|mut stream| {
            read_line(&mut stream);
            stream.write_all(b"HALF AN ANS").unwrap();
            // The half is there once it was printed, which the next byte shows.
            stream.read_exact(&mut [0]).unwrap();
            reset(stream);
        });
        let typed = server.typed();
        let mut running = Running::start(landline(["call", &typed]));
        running.send(b"hello\n");
        running.expect(b"HALF AN ANS");
        running.send(b"\n");
        assert_eq!(running.end(), (6, RESET.replace("ADDR", &typed)));
    }
}

#[test]
fn a_killed_server_is_left_at_once_while_stdin_stays_open() {
    let server = crate::serving::serve(&["--crash-survival", "off"]);
    let typed = server.address.to_string();
    let mut running = Running::start(landline(["call", &typed]));
    running.send(b"hello\n");
    running.expect(b"HELLO\n");
    kill(server.id());
    // Its kernel closes for it.
    assert_eq!(running.end(), (0, String::new()));
}

#[test]
fn a_self_signed_certificate_is_refused_in_one_shot_and_as_a_pipe() {
    for message in [None, Some("hello")] {
        let server = failing_server(self_signed(&params()).server());
        let mut command = landline(["call", "--tls", &server.typed()]);
        command.args(message);
        let output = run(command, given(b"hello\n"));
        assert_eq!((code(&output), text(&output.stdout)), (7, String::new()), "{output:?}");
        let said = text(&output.stderr);
        let words = format!("landline: error: cannot trust {}: ", server.typed());
        assert!(said.starts_with(&words) && said.contains("\n  hint: "), "{said}");
    }
}

#[test]
fn the_first_line_is_enough_for_whoever_reads_stdout() {
    let server = server(|mut stream| while stream.write_all(b"line\n").is_ok() {});
    let program = env!("CARGO_BIN_EXE_landline");
    let script = format!("{program} call --recv-only {} | head -1; echo ${{PIPESTATUS[0]}}", server.typed());
    let mut bash = std::process::Command::new("bash");
    bash.args(["--norc", "-c", &script]);
    let output = run(bash, Stdio::null());
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("line\n0\n".to_owned(), String::new()));
    server.end();
}
