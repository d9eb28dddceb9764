//! `landline call --trace`, `-x` and `-o`: watching a connection.

use std::io::{Read, Write};
use std::process::{Output, Stdio};

use crate::support::*;
use crate::terminal::Terminal;

/// What was told on stderr, with times taken away and both ends named.
fn transcript(output: &Output, server: &str) -> Vec<String> {
    let said = text(&output.stderr);
    said.lines()
        .map(|line| line.find("ms ").map_or(line, |at| &line[at + 3..]))
        .map(|line| named(line, server))
        .collect()
}

fn named(line: &str, server: &str) -> String {
    let mut line = line.replace(server, "SERVER");
    if let Some(at) = line.find("this end is 127.0.0.1:") {
        let at = at + "this end is ".len();
        let end = line[at..].find(' ').map_or(line.len(), |len| at + len);
        line.replace_range(at..end, "CLIENT");
    }
    // What the kernel has measured is its own affair; the state before it is not.
    if let (Some(from), Some(to)) = (line.find(", rtt "), line.rfind(']')) {
        line.replace_range(from..to, "");
    }
    line
}

#[test]
fn each_step_of_one_question_is_told_from_the_syn_to_the_close() {
    let server = server(|mut stream| {
        let line = read_line(&mut stream);
        stream.write_all(&line.to_ascii_uppercase()).unwrap();
        // Open until the caller has gone.
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let address = server.typed();
    let output = run(landline(["call", "--trace", &address, "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
    assert_eq!(
        transcript(&output, &address),
        [
            "connect  to SERVER: a SYN goes out, which asks for a connection",
            "connect  SERVER answered with SYN-ACK, an ACK went back; this end is CLIENT [ESTABLISHED]",
            "send     6 B; the kernel has them now, and sees to it that they arrive [ESTABLISHED]",
            "receive  6 B; TCP keeps their order, and no mark where messages end [ESTABLISHED]",
            "close    a FIN goes out, and this end is gone: TIME-WAIT will be on its side, and what the server still \
             sends will be answered with an RST [ESTABLISHED]",
        ]
    );
}

#[test]
fn a_pipe_that_ends_first_sends_a_fin_hears_one_and_stays_in_time_wait() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    let address = server.typed();
    let output = run(landline(["call", "--trace", &address]), given("to the end"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "to the end".to_owned()));
    let told = transcript(&output, &address);
    assert!(
        told[3].starts_with("FIN      sent: this end has nothing more to say, and still listens"),
        "{told:#?}"
    );
    assert!(told[4].starts_with("receive  10 B; "), "{told:#?}");
    assert_eq!(
        told[5..],
        [
            "FIN      received: the server has nothing more to say",
            "close    both ends have finished, this one first: it stays in TIME-WAIT for a minute, so that \
             nothing late gets into a later connection",
        ]
    );
}

#[test]
fn a_refusal_and_a_reset_are_told_for_what_they_are_on_the_wire() {
    let (_socket, address) = refusing();
    let output = run(landline(["call", "--trace", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 4);
    let told = transcript(&output, &address);
    let refused =
        "connect  to SERVER failed: refused; the host answered with an RST, since nothing listens there";
    assert_eq!(told[1], refused);
    assert_eq!(told[2], "landline: error: cannot connect to SERVER: connection refused");

    let server = server(|mut stream| {
        read_line(&mut stream);
        reset(stream);
    });
    let address = server.typed();
    let output = run(landline(["call", "--trace", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 6);
    let told = transcript(&output, &address);
    let reset = [
        "reset    an RST came: the server has dropped the connection at once",
        "close    nothing is left of the connection",
    ];
    let at = told.iter().position(|line| line == reset[0]).unwrap_or_else(|| panic!("{told:#?}"));
    assert!(told[at + 1..].contains(&reset[1].to_owned()), "{told:#?}");
}

#[test]
fn a_name_is_told_with_its_addresses_and_a_bad_one_without_escapes() {
    let server = server(upper);
    let address = server.typed().replace("127.0.0.1", "localhost");
    let output = run(landline(["call", "-4", "--trace", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 0);
    let told = transcript(&output, &server.typed());
    assert_eq!(told[0], "resolve  which addresses does the name localhost have?");
    assert!(told[1].starts_with("resolve  ") && told[1].contains("127.0.0.1"), "{told:#?}");
}

#[test]
fn a_hex_dump_shows_both_ways_with_time_length_and_place() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"\x00\x1b[31m and more than sixteen\n").unwrap();
    });
    let output = run(landline(["call", "-x", &server.typed(), "hi"]), Stdio::null());
    assert_eq!(code(&output), 0);
    let said = text(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("> ") && lines[0].ends_with("ms 3 B"), "{said}");
    assert_eq!(lines[1], "> 00000000  68 69 0a                                          |hi.|");
    assert!(lines[2].starts_with("< ") && lines[2].ends_with("ms 29 B"), "{said}");
    assert_eq!(lines[3], "< 00000000  00 1b 5b 33 31 6d 20 61  6e 64 20 6d 6f 72 65 20  |..[31m and more |");
    assert_eq!(lines[4], "< 00000010  74 68 61 6e 20 73 69 78  74 65 65 6e 0a           |than sixteen.|");
}

#[test]
fn what_is_received_is_saved_byte_for_byte_and_still_printed() {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let sent = bytes.clone();
    let server = listener(move |listener| {
        for _ in 0..2 {
            accept(&listener).write_all(&sent).unwrap();
        }
    });
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("received");
    let path = path.to_str().unwrap();
    let output = run(landline(["call", &server.typed(), "-o", path]), given(""));
    assert_eq!(code(&output), 0);
    assert!(output.stdout == bytes && std::fs::read(path).unwrap() == bytes);

    let output = run(landline(["call", &server.typed(), "-o", "/dev/full"]), given(""));
    assert_eq!((code(&output), output.stdout == bytes), (1, true), "stdout has it all the same");
    let words = "landline: error: cannot write what is received to /dev/full: no space left on device\n";
    assert_eq!(text(&output.stderr), words);
    server.end();

    let output = run(landline(["call", "127.0.0.1:9", "-o", "/"]), given(""));
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains("cannot write what is received to /: is a directory"),
        "{output:?}"
    );
}

#[test]
fn at_the_prompt_the_trace_stands_above_the_line_that_is_typed() {
    let server = server(upper);
    let mut terminal = Terminal::open(landline(["call", "--trace", &server.typed()]));
    terminal.sees("a SYN goes out");
    terminal.sees(">>: ");
    terminal.types("hello");
    terminal.sees("send     6 B");
    terminal.sees("receive  6 B");
    terminal.sees("HELLO");
    terminal.presses_ctrl('d');
    terminal.sees("FIN      sent");
    terminal.sees("close    both ends have finished, this one first");
    assert_eq!(terminal.ends().0, 0);
}
