//! What `landline serve` writes: the log on stderr, the port on stdout.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::sync_channel;
use std::thread;

use rustix::process::Signal;

use crate::serving::*;
use crate::support::GUARD;

/// A server whose log goes into a pipe that nobody reads; the other end of that pipe.
fn unread(flags: &[&str]) -> (Serving, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = command(flags);
    command.stderr(writer);
    (Serving::start(command), reader)
}

/// Has so much said that the log fills its pipe and its queue many times over; returns how many lines that
/// makes.
fn chatter(server: &Serving) -> usize {
    const ROUNDS: usize = 40;
    const BATCH: usize = 500;
    let mut caller = server.call();
    for _ in 0..ROUNDS {
        caller.asks(&"hello\n".repeat(BATCH));
    }
    // A line for what came, and one for what went out.
    2 * ROUNDS * BATCH
}

#[test]
fn a_log_that_nobody_reads_stops_nobody_and_what_is_missing_is_counted() {
    let (server, reader) = unread(&["-v", "--framing", "line"]);
    let lines = chatter(&server);
    server.call().asks("still there\n");

    let (sender, dropped) = sync_channel(1);
    let log = thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        let notice = |line: &String| {
            if dropped_lines(line).is_some() {
                // The test waits for the first only.
                let _ = sender.try_send(());
            }
        };
        lines.inspect(notice).collect::<Vec<_>>()
    });
    dropped.recv_timeout(GUARD).expect("it is said that lines are missing");
    server.stop().in_order();
    let log = log.join().unwrap();
    let shown = log.iter().filter(|line| line.ends_with(" hello") || line.ends_with(" HELLO")).count();
    let missing: usize = log.iter().filter_map(|line| dropped_lines(line)).sum();
    println!("{shown} of {lines} lines shown, {missing} counted as dropped");
    // Those about the connections are among the missing, too.
    assert!((lines..lines + 8).contains(&(shown + missing)), "{shown} shown, {missing} missing");
}

/// How many lines a line says were dropped, if it says so.
fn dropped_lines(line: &str) -> Option<usize> {
    line.strip_suffix(" log lines dropped")?.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_it_from_ending() {
    let (server, _log) = unread(&["-v", "--framing", "line"]);
    chatter(&server);
    server.stop().in_order();
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_a_failure_from_ending_it() {
    let (server, _log) = unread(&["-v", "--framing", "line", "--drain-timeout", "10ms"]);
    chatter(&server);
    let mut stuck = server.call();
    stuck.says("one\nhalf");
    stuck.hears("ONE\n");
    assert_eq!(server.stop().code, 11);
}

#[test]
fn a_log_that_is_closed_or_broken_does_not_stop_serving() {
    let closed = Serving::start(by_shell("exec \"$@\" 2>&-", &["-v"]));
    let (broken, log) = unread(&["-v"]);
    drop(log);
    for server in [closed, broken] {
        for _ in 0..3 {
            server.call().asks("hello");
        }
        server.stop().in_order();
    }
}

#[test]
fn quiet_says_nothing_in_the_ordinary_course() {
    let server = serve(&["-q"]);
    let mut caller = server.call();
    caller.asks("hello");
    drop(caller);
    let mut caller = server.call();
    caller.asks("hello");
    caller.resets();
    let idle = server.call();
    server.signal(Signal::TERM);
    let ended = server.end();
    assert_eq!((ended.code, &ended.said[..]), (0, &[][..]), "{ended:#?}");
    drop(idle);
}

#[test]
fn off_a_terminal_the_log_is_ascii_and_gives_no_advice_and_stdout_has_the_port_alone() {
    let mut server = serve(&["--threads", "2"]);
    let port = server.port();
    server.says("service upper - up to ");
    server.call().asks("grüß dich, 你好");
    server.says("closed by client - 1 message - ");
    let ended = server.stop();
    assert_eq!((ended.code, &ended.printed[..]), (0, &[][..]), "only the port, which was read before");
    let first =
        format!("listening on 127.0.0.1:{port} (this machine only; ':{port}' opens it to the network)");
    assert!(ended.said.contains(&first), "{ended:#?}");
    assert_eq!((ended.count("try it"), ended.count("Ctrl-C")), (0, 0), "{ended:#?}");
    assert!(ended.said.iter().all(|line| is_plain(line)), "{ended:#?}");
}

/// Whether there is nothing in a line but printable ASCII.
fn is_plain(line: &str) -> bool {
    line.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[test]
fn whatever_a_peer_sends_is_one_line_of_printable_ascii() {
    let mut server = serve(&["-v"]);
    let mut caller = server.call();
    let message = b"a\0b\x1b[31m\r\nfake #9 line\xff \xe4\xbd\xa0\xe2\x80\xae\xc2\x9b\\x00";
    caller.says(message);
    caller.hears(message.to_ascii_uppercase());
    let shown = r"a\x00b\x1b[31m\r\nfake #9 line\xff \u{4f60}\u{202e}\u{9b}\\x00";
    assert!(server.says(" #1 < ").ends_with(&format!(" #1 < {shown}")));
    let shown = r"A\x00B\x1b[31M\r\nFAKE #9 LINE\xff \u{4f60}\u{202e}\u{9b}\\X00";
    assert!(server.says(" #1 > ").ends_with(&format!(" #1 > {shown}")));
    drop(caller);
    let ended = server.stop();
    assert!(ended.said.iter().all(|line| is_plain(line)), "{ended:#?}");
    assert_eq!(ended.count("#9"), 2, "one line in and one out: {ended:#?}");
}

#[test]
fn each_line_of_a_json_log_is_one_object_with_a_time_and_the_name_of_its_event() {
    let server = serve(&["-v", "--log-format", "json", "--max-connections", "1"]);
    let mut caller = server.call();
    caller.says(b"a\0\"\\\n\x1b\xff\xe4\xbd\xa0");
    caller.hears(b"A\0\"\\\n\x1b\xff\xe4\xbd\xa0");
    server.call().hears_out("busy\n");
    server.signal(Signal::TERM);
    caller.hears_out("");
    drop(caller);
    let ended = server.end();
    assert!(ended.said.iter().all(|line| is_plain(line)), "{ended:#?}");
    let objects: Vec<serde_json::Value> =
        ended.said.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(objects.iter().all(|object| object["time"].is_string()), "{ended:#?}");
    let names: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| **name == "started").count(), 1, "{ended:#?}");
    // A caller can be let in by one thread while another still says that the server is up.
    let mut names =
        names.into_iter().filter(|name| !["backlog_lowered", "listening", "started"].contains(name));
    for name in ["connected", "message", "message", "refused", "drain_started"] {
        assert_eq!(names.next(), Some(name), "{ended:#?}");
    }
    assert_eq!(names.collect::<Vec<_>>(), ["closed", "drained"], "{ended:#?}");
    let message = objects.iter().find(|object| object["event"] == "message").unwrap();
    assert_eq!(
        (&message["direction"], &message["text"]),
        (&"in".into(), &r#"a\x00"\\\n\x1b\xff\u{4f60}"#.into())
    );
}

#[test]
fn the_last_words_of_a_json_log_are_one_object_too() {
    let mut server = serve(&["--log-format", "json", "--framing", "line", "--drain-timeout", "1ms"]);
    let mut busy = server.call();
    busy.says("one\nhalf");
    busy.hears("ONE\n");
    server.signal(Signal::TERM);
    server.says("drained");
    let ended = server.end();
    let last: serde_json::Value = serde_json::from_str(ended.said.last().unwrap()).unwrap();
    assert_eq!((ended.code, &last["event"]), (11, &"error".into()), "{ended:#?}");
    assert_eq!(last["error"], "stopped with 1 connection cut");
    assert!(last["time"].is_string() && last["hint"].is_null(), "{last}");
}
