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
fn every_misfortune_has_the_output_the_words_and_the_code_of_its_row() {
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
fn a_server_that_closes_whoever_is_idle_is_left_at_once_while_stdin_stays_open() {
    let server = crate::serving::serve(&["--idle-timeout", "100ms"]);
    let mut running = Running::start(landline(["call", &server.address.to_string()]));
    running.send(b"hello\n");
    running.expect(b"HELLO\n");
    assert_eq!(running.end(), (0, String::new()));
}

/// A name with two addresses, of which the first takes what is sent and never answers, as behind a firewall;
/// all of it in namespaces that end with the script.
#[cfg(target_os = "linux")]
const BLACK_HOLE: &str = r#"
ip link set lo up
ip -6 addr add 2001:db8::1/128 dev lo nodad
nft add table ip6 hole
nft add chain ip6 hole input '{ type filter hook input priority 0; }'
nft add rule ip6 hole input ip6 daddr 2001:db8::1 tcp dport 8081 drop
mount --bind "$HOSTS" /etc/hosts
"$LANDLINE" serve 127.0.0.1:8081 --framing line --quiet &
server=$!
"$LANDLINE" call --probe --retry 1000 --interval 10ms 127.0.0.1:8081 2>/dev/null >&2
code=0
"$LANDLINE" call --trace both.test:8081 hello || code=$?
kill $server
wait $server || true
exit $code
"#;

#[cfg(target_os = "linux")]
#[test]
fn an_address_that_never_answers_does_not_keep_the_other_one_waiting() {
    let folder = Folder::new();
    let hosts = folder.file("hosts", "2001:db8::1 both.test\n127.0.0.1 both.test\n");
    let mut script = std::process::Command::new("unshare");
    script.args(["--net", "--mount", "sh", "-ec", BLACK_HOLE]);
    script.env("HOSTS", &hosts).env("LANDLINE", env!("CARGO_BIN_EXE_landline"));
    let can = |command: &str| {
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", command]).output().is_ok_and(|output| output.status.success())
    };
    if !has("namespaces, ip and nft", can("unshare --net --mount true && ip -V && nft --version")) {
        return;
    }
    let output = run(script, Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()), "{output:?}");
    let told = text(&output.stderr);
    let steps = [
        "resolve  2 addresses",
        "to [2001:db8::1]:8081: a SYN",
        "to 127.0.0.1:8081: a SYN",
        "127.0.0.1:8081 answered",
    ];
    let places: Vec<Option<usize>> = steps.iter().map(|step| told.find(step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told}");
    // Nothing was heard of the first one, neither good nor bad.
    assert!(!told.contains("failed"), "{told}");
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
