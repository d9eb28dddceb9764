//! `landline call ADDR MESSAGE…`

use std::io::{Read, Write};
use std::process::Stdio;

use crate::support::*;

#[test]
fn each_message_gets_its_reply_from_a_tutorial_server() {
    let server = server(upper);
    let output = run(landline(["call", &server.typed(), "hello", "there"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\nTHERE\n".to_owned()));
    assert_eq!(text(&output.stderr), "", "off a terminal there is no talk");
}

#[test]
fn a_message_longer_than_the_servers_buffer_gets_its_whole_reply() {
    let server = server(upper);
    let message = "ä".repeat(700) + &"x".repeat(3000);
    let output = run(landline(["call", &server.typed(), &message]), Stdio::null());
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout) == message.to_ascii_uppercase() + "\n");
}

#[test]
fn a_refusal_names_the_cause_and_a_remedy_and_exits_4() {
    let (_socket, address) = refusing();
    let port = address.rsplit_once(':').unwrap().1;
    let output = run(landline(["call", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 4);
    assert_eq!(
        text(&output.stderr),
        format!(
            "landline: error: cannot connect to {address}: connection refused\n  \
             hint: nothing listens there; start a server with 'landline serve {port}'\n"
        )
    );
}

#[test]
fn a_host_that_does_not_exist_exits_3() {
    let output = run(landline(["call", "nosuch.invalid:80", "hello"]), Stdio::null());
    assert_eq!(code(&output), 3);
    let said = text(&output.stderr);
    assert!(said.starts_with("landline: error: cannot resolve nosuch.invalid: "), "{said}");
    assert!(said.contains("\n  hint: "), "{said}");
}

#[test]
fn a_server_that_goes_away_while_its_answer_is_awaited_exits_6() {
    let server = server(|mut stream| read_line(&mut stream));
    let output = run(landline(["call", &server.typed(), "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (6, String::new()));
    assert!(text(&output.stderr).contains(": the server closed the connection\n"), "{output:?}");
}

#[test]
fn half_an_answer_before_a_reset_is_printed_and_exits_6() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"HAL").unwrap();
        reset(stream);
    });
    let output = run(landline(["call", &server.typed(), "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (6, "HAL".to_owned()));
    assert!(text(&output.stderr).contains("connection reset by peer"), "{output:?}");
}

#[test]
fn an_answer_without_an_ending_before_a_close_is_an_answer() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"HELLO").unwrap();
    });
    let output = run(landline(["call", &server.typed(), "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO".to_owned()));
}

#[test]
fn a_line_that_the_server_says_before_it_hears_anything_is_printed() {
    let server = server(|mut stream| {
        stream.write_all(b"busy\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // What a polite server does: it takes what comes, so that no RST destroys the line.
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let output = run(landline(["call", &server.typed(), "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "busy\n".to_owned()));
}

#[test]
fn with_two_messages_one_line_and_a_close_is_one_answer_too_few() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"busy\n").unwrap();
    });
    let output = run(landline(["call", &server.typed(), "hello", "there"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (6, "busy\n".to_owned()));
}

#[test]
fn a_server_that_never_answers_exits_5_after_what_came_is_printed() {
    let server = server(|mut stream| {
        stream.write_all(b"wait").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap()
    });
    let output = run(landline(["call", "--timeout", "200ms", &server.typed(), "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (5, "wait".to_owned()));
    let said = text(&output.stderr);
    assert!(said.contains("within 200ms\n  hint: what came has no line ending"), "{said}");
    assert_eq!(server.end(), "hello\n".len());
}

#[test]
fn crlf_ends_every_line_of_a_message() {
    let server = server(|mut stream| {
        let mut heard = [0; 18];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n").unwrap();
        heard
    });
    let output = run(landline(["call", "--crlf", &server.typed(), "GET / HTTP/1.0\n"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HTTP/1.0 200 OK\r\n".to_owned()));
    assert_eq!(&server.end(), b"GET / HTTP/1.0\r\n\r\n");
}

#[test]
fn raw_adds_nothing_and_length_puts_a_length_before_it() {
    let raw = server(|mut stream| {
        let mut heard = [0; 2];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
        let mut more = Vec::new();
        stream.read_to_end(&mut more).unwrap();
        (heard, more)
    });
    let output = run(landline(["call", "--framing", "raw", &raw.typed(), "hi"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "hi".to_owned()));
    assert_eq!(raw.end(), (*b"hi", vec![]));

    let length = server(|mut stream| {
        let mut heard = [0; 6];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"\0\0\0\x03\0\xff\n").unwrap();
        heard
    });
    let output = run(landline(["call", "--framing", "length", &length.typed(), "hi"]), Stdio::null());
    assert_eq!((code(&output), &output.stdout[..]), (0, &b"\0\xff\n"[..]));
    assert_eq!(&length.end(), b"\0\0\0\x02hi");
}

#[test]
fn a_command_line_that_makes_no_sense_exits_2_and_help_exits_0() {
    for args in [["call", "nonsense"], ["call", "--nonsense"], ["--nonsense", "call"]] {
        assert_eq!(code(&run(landline(args), Stdio::null())), 2, "{args:?}");
    }
    for args in [["call", "--help"], ["serve", "--help"], ["--help", "call"]] {
        let output = run(landline(args), Stdio::null());
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(text(&output.stdout).contains("Usage: landline"), "{args:?}");
    }
    assert_eq!(code(&run(landline(["--version"]), Stdio::null())), 0);
    assert_eq!(code(&run(landline([]), Stdio::null())), 2);
}

#[test]
fn colour_appears_only_where_it_is_asked_for() {
    let (_socket, address) = refusing();
    let plain = run(landline(["call", &address, "hello"]), Stdio::null());
    assert!(!text(&plain.stderr).contains('\x1b'));
    let coloured = run(landline(["--color", "always", "call", &address, "hello"]), Stdio::null());
    assert!(text(&coloured.stderr).contains('\x1b'));
}
