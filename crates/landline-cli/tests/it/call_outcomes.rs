//! `landline call` in one shot: what may be made of replies, how often they are asked for, and what it takes
//! to get through.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use crate::support::*;

fn objects(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names of all that an object has, down to the last.
fn names(object: &Value) -> Vec<String> {
    let inner = |name: &String, value: &Value| match value {
        Value::Object(_) => names(value).into_iter().map(|inner| format!("{name}.{inner}")).collect(),
        _ => vec![name.clone()],
    };
    object.as_object().unwrap().iter().flat_map(|(name, value)| inner(name, value)).collect()
}

#[test]
fn each_reply_is_an_object_with_its_times_of_which_connecting_is_told_once() {
    let server = server(upper);
    let address = server.typed();
    let output = run(landline(["call", "--json", &address, "hello", "you"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    let [first, second] = &objects(&output.stdout)[..] else { panic!("{output:?}") };
    assert_eq!((&first["reply"], &first["number"]), (&"HELLO".into(), &1.into()));
    assert_eq!((&first["address"], &first["peer"]), (&address.clone().into(), &address.into()));
    assert_eq!(first["bytes"], serde_json::json!({ "sent": 6, "received": 6 }));
    assert!(first["times_ms"]["connect"].is_f64() && first["times_ms"]["first_byte"].is_f64());
    assert!(first["times_ms"]["total"].as_f64() > first["times_ms"]["connect"].as_f64());
    assert!(first["error"].is_null() && first["tls"].is_null() && first["expected"].is_null());
    assert_eq!((&second["reply"], &second["bytes"]["sent"]), (&"YOU".into(), &4.into()));
    assert!(second["times_ms"]["connect"].is_null() && second["times_ms"]["first_byte"].is_f64());
}

#[test]
fn a_failure_is_an_object_too_with_what_came_and_the_code_that_it_exits_with() {
    let (_socket, address) = refusing();
    let output = run(landline(["call", "--json", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 4);
    let [object] = &objects(&output.stdout)[..] else { panic!("{output:?}") };
    assert_eq!(object["error"]["exit_code"], 4);
    assert_eq!(object["error"]["text"], format!("cannot connect to {address}: connection refused"));
    assert!(object["error"]["hint"].as_str().unwrap().contains("start a server"));
    assert!(object["reply"].is_null() && object["times_ms"]["connect"].is_null());

    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"HALF \xff").unwrap();
        reset(stream);
    });
    let output = run(landline(["call", "--json", &server.typed(), "hello"]), Stdio::null());
    assert_eq!(code(&output), 6);
    let [object] = &objects(&output.stdout)[..] else { panic!("{output:?}") };
    assert_eq!((&object["reply"], &object["reply_hex"]), (&Value::Null, &"48414c4620ff".into()));
    assert_eq!(object["error"]["exit_code"], 6);
}

#[test]
fn every_part_of_the_object_is_in_the_docs_and_no_other_is() {
    let (_socket, address) = refusing();
    let output = run(landline(["call", "--json", &address, "hello"]), Stdio::null());
    let mut object = objects(&output.stdout).remove(0);
    // What an error consists of is told in its row.
    object["error"] = Value::Null;
    let mut told = names(&object);
    told.sort();
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/call.md")).unwrap();
    let (_, table) = docs.split_once("| part |").expect("docs/call.md has a table of parts");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut documented: Vec<String> =
        rows.map(|row| row.split('`').nth(1).unwrap_or_default().to_owned()).collect();
    documented.sort();
    assert_eq!(told, documented);
}

#[test]
fn a_reply_that_is_not_what_was_expected_is_printed_and_exits_9() {
    let server = listener(|listener| (0..2).for_each(|_| upper(accept(&listener))));
    let address = server.typed();
    let output = run(landline(["call", "--expect", "upper", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    let output =
        run(landline(["call", "--expect", "bytes:HULLO", &address, "hello", "never"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (9, "HELLO\n".to_owned()));
    assert_eq!(
        text(&output.stderr),
        format!(
            "landline: error: the reply of {address} to 'hello' is not what was expected: 'HELLO\\n'\n  \
             hint: --expect says bytes:HULLO\n"
        )
    );
    server.end();
}

#[test]
fn a_probe_says_in_one_line_that_a_server_is_up_and_answers() {
    let server = listener(|listener| (0..2).for_each(|_| upper(accept(&listener))));
    let address = server.typed();
    let output = run(landline(["call", "--probe", &address]), Stdio::null());
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0);
    assert!(said.starts_with(&format!("{address} is up: connected in ")) && said.ends_with("ms\n"), "{said}");
    let output = run(landline(["call", "--probe", &address, "ping", "--expect", "upper"]), Stdio::null());
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).contains("ms, answered in "), "{output:?}");
    server.end();

    let (_socket, address) = refusing();
    let output = run(landline(["call", "--probe", &address]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (4, String::new()));
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for_and_each_attempt_is_told() {
    let (socket, address) = refusing();
    let mut command = landline(["call", "--retry", "1000", "--interval", "10ms", &address]);
    let mut child =
        command.stdin(given("hello\n")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Not there until the first attempt has failed.
    let mut stderr = child.stderr.take().unwrap();
    let told = read_line(&mut stderr);
    let expected =
        format!("landline: cannot connect to {address}: connection refused; trying again (1 of 1000)\n");
    assert_eq!(text(&told), expected);
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let server = std::thread::spawn(move || upper(accept(&listener)));
    let output = wait(child);
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
    server.join().unwrap();
}

#[test]
fn retries_come_to_an_end_with_the_last_error() {
    let (_socket, address) = refusing();
    let output =
        run(landline(["call", "--retry", "2", "--interval", "1ms", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 4);
    let said = text(&output.stderr);
    assert_eq!((said.matches("trying again").count(), said.matches("error: ").count()), (2, 1), "{said}");
}

#[test]
fn rounds_share_a_connection_and_after_a_loss_the_next_one_makes_another() {
    let server = listener(|listener| {
        let mut first = accept(&listener);
        for _ in 0..2 {
            let line = read_line(&mut first);
            first.write_all(&line.to_ascii_uppercase()).unwrap();
        }
        read_line(&mut first);
        drop(first);
        upper(accept(&listener));
    });
    let address = server.typed();
    let output = run(landline(["call", "--repeat", "5", "--latency", &address, "again"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (6, "AGAIN\n".repeat(4)));
    let said = text(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let lost = format!("no answer from {address}: the server closed the connection");
    assert_eq!(lines[0], format!("landline: warning: {lost}"));
    assert!(lines[1].starts_with("4 replies, 1 failed: min ") && lines[1].contains("ms, p99 "), "{said}");
    assert_eq!(lines[2], format!("landline: error: 1 of 5 rounds failed, the first one: {lost}"));
    server.end();
}

#[test]
fn ctrl_c_ends_rounds_without_end_with_their_latencies_and_130() {
    let server = server(upper);
    let mut command = landline(["call", "--repeat", "forever", "--latency", &server.typed(), "again"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    assert_eq!(text(&read_line(&mut stdout)), "AGAIN\n");
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let output = wait(child);
    assert_eq!(code(&output), 130);
    assert!(text(&output.stderr).contains(" replies, 0 failed: min "), "{output:?}");
}

#[test]
fn messages_and_replies_end_as_the_delimiter_says() {
    let server = server(|mut stream| {
        let mut heard = [0; 8];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"ONE\n more\0TW").unwrap();
        let mut more = [0; 4];
        stream.read_exact(&mut more).unwrap();
        stream.write_all(b"O\0").unwrap();
        (heard, more)
    });
    let output =
        run(landline(["call", "--delimiter", r"\0", &server.typed(), "one and", "two"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "ONE\n more\0TWO\0".to_owned()));
    assert_eq!(server.end(), (*b"one and\0", *b"two\0"));
}

#[test]
fn until_eof_prints_all_that_follows_and_ends_our_side_first() {
    let server = server(|mut stream| {
        let line = read_line(&mut stream);
        stream.write_all(b"STAT 1\nSTAT 2\nEND\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        stream.write_all(b"bye").unwrap();
        line
    });
    let output = run(landline(["call", "--until-eof", &server.typed(), "stats"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "STAT 1\nSTAT 2\nEND\nbye".to_owned()));
    assert_eq!(server.end(), b"stats\n");
}

#[test]
fn what_has_no_meaning_is_refused_with_what_would() {
    for (arguments, words) in [
        (&["--json"][..], "--json is for one shot: it has no meaning without a MESSAGE"),
        (&["--repeat", "3"], "--repeat is for one shot"),
        (&["--delimiter", ";"], "--delimiter has no meaning here: stdin is a pipe"),
        (&["127.0.0.1:9", "hi", "--interval", "1s"], "--interval has no meaning without --repeat or --retry"),
        (&["127.0.0.1:9", "hi", "--delimiter", ""], "nothing would end a message"),
        (&["127.0.0.1:9", "hi", "--delimiter", r"\q"], "at character 1: an escape is one of"),
        (&["127.0.0.1:9", "hi", "--json", "--until-eof"], "cannot be used with"),
        (&["127.0.0.1:9", "hi", "--repeat", "often"], "invalid value 'often'"),
    ] {
        let mut command = landline(["call"]);
        command.args(arguments);
        let output = run(command, Stdio::null());
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {output:?}");
    }
}
