//! `landline call` on a terminal.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::sync_channel;

use crate::support::*;
use crate::terminal::Terminal;

const PROMPT: &str = ">>: ";

impl Terminal {
    /// The program once it has connected and prompts.
    fn start(command: Command) -> Self {
        let mut terminal = Self::open(command);
        terminal.sees(PROMPT);
        terminal
    }
}

#[test]
fn a_typed_line_gets_its_reply_and_ctrl_d_ends_with_0() {
    let server = server(upper);
    let typed = server.typed();
    let mut terminal = Terminal::open(landline(["call", &typed]));
    terminal.sees(&format!("connected to {typed} in "));
    terminal.sees("ms · ↑ history · /help · Ctrl-D to finish");
    terminal.sees(PROMPT);
    terminal.types("hello");
    terminal.sees("HELLO");
    terminal.types("grüße");
    terminal.sees("GRüßE");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
    server.end();
}

#[test]
fn after_the_server_has_closed_the_next_line_opens_a_new_connection() {
    let server = listener(|listener: TcpListener| {
        let mut first = accept(&listener);
        let line = read_line(&mut first);
        first.write_all(&line.to_ascii_uppercase()).unwrap();
        drop(first);
        upper(accept(&listener));
    });
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types("one");
    terminal.sees("ONE");
    terminal.sees("! server closed the connection; the next line opens a new one");
    terminal.types("two");
    terminal.sees("connected to 127.0.0.1:");
    terminal.sees("TWO");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
    server.end();
}

#[test]
fn a_server_that_is_gone_for_good_is_told_in_words_and_the_prompt_stays() {
    let (go, wait) = sync_channel::<()>(1);
    let server = listener(move |listener: TcpListener| {
        let stream = accept(&listener);
        drop(listener);
        wait.recv().unwrap();
        reset(stream);
    });
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    go.send(()).unwrap();
    terminal.sees("! server reset the connection; the next line opens a new one");
    terminal.types("hello");
    terminal.sees("! cannot connect to 127.0.0.1:");
    terminal.sees("connection refused");
    terminal.sees("! the line was not sent");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn without_a_server_there_is_no_prompt_but_the_cause_a_remedy_and_exit_4() {
    let (_socket, address) = refusing();
    let (code, seen) = Terminal::open(landline(["call", &address])).ends();
    assert_eq!(code, 4);
    assert!(seen.contains(&format!(": cannot connect to {address}: connection refused")), "{seen:?}");
    assert!(seen.contains("start a server with 'landline serve "), "{seen:?}");
    assert!(!seen.contains(PROMPT), "{seen:?}");
}

#[test]
fn a_server_that_goes_away_instead_of_answering_is_told_and_gives_no_empty_answer() {
    let server = server(|mut stream| read_line(&mut stream));
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types("hello");
    let before = terminal.sees("! server closed the connection; the next line opens a new one");
    assert!(!before.contains("\n\r\n"), "no blank line for an answer: {before:?}");
    terminal.sees(PROMPT);
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
    assert_eq!(server.end(), b"hello\n");
}

#[test]
fn ctrl_c_clears_the_line_and_the_one_typed_after_it_is_sent_alone() {
    let server = server(|mut stream| {
        let line = read_line(&mut stream);
        stream.write_all(b"got it\n").unwrap();
        line
    });
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types_ahead("never mind");
    terminal.sees("never mind");
    terminal.presses_ctrl('c');
    terminal.sees(PROMPT);
    terminal.types("hello");
    terminal.sees("got it");
    assert_eq!(server.end(), b"hello\n");
    terminal.sees("! server closed the connection");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn control_bytes_of_the_peer_are_spelled_out_and_text_stays() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all("\x1b[31mred\x07 \u{9b}m \u{202e}evil 你好\n".as_bytes()).unwrap();
        stream.write_all(b"\xff\n").unwrap();
    });
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types("hello");
    terminal.sees("\\x1b[31mred\\x07 \\u{9b}m \\u{202e}evil 你好");
    terminal.sees("\\xff");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn without_a_utf8_locale_everything_shown_is_ascii() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all("né\n".as_bytes()).unwrap();
    });
    let mut command = landline(["call", &server.typed()]);
    command.env("LC_ALL", "C");
    let mut terminal = Terminal::open(command);
    terminal.sees("ms - Up: history - /help - Ctrl-D to finish");
    terminal.sees(PROMPT);
    terminal.types("hello");
    terminal.sees("n\\u{e9}");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn a_blank_line_sends_nothing_and_a_command_is_not_sent_either() {
    let server = server(|mut stream| (read_line(&mut stream), stream.write_all(b"ok\n").unwrap()).0);
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types("");
    terminal.sees(PROMPT);
    terminal.types("/help");
    terminal.sees("Replies appear above the prompt");
    terminal.sees(PROMPT);
    terminal.types("/nick joe");
    terminal.sees("'/nick' is no command");
    terminal.sees(PROMPT);
    terminal.types("//nick joe");
    terminal.sees("ok");
    assert_eq!(server.end(), b"/nick joe\n");
    terminal.types("/quit");
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn with_crlf_a_blank_line_is_sent() {
    let server = server(|mut stream| {
        let lines = [read_line(&mut stream), read_line(&mut stream)];
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        lines
    });
    let mut terminal = Terminal::start(landline(["call", "--crlf", &server.typed()]));
    terminal.types("GET / HTTP/1.0");
    terminal.sees(PROMPT);
    terminal.types("");
    terminal.sees("HTTP/1.0 200 OK");
    assert_eq!(server.end(), [&b"GET / HTTP/1.0\r\n"[..], b"\r\n"]);
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn what_the_server_says_after_ctrl_d_is_shown() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut heard).unwrap();
        stream.write_all(b"goodbye, without an ending").unwrap();
        heard
    });
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types("hello");
    terminal.sees(PROMPT);
    terminal.presses_ctrl('d');
    terminal.sees("goodbye, without an ending");
    assert_eq!(terminal.ends().0, 0);
    assert_eq!(server.end(), b"hello\n");
}

#[test]
fn a_prompt_of_the_servers_own_is_shown_though_its_line_does_not_end() {
    let server = server(|mut stream| {
        stream.write_all(b"login: ").unwrap();
        let line = read_line(&mut stream);
        stream.write_all(b"welcome\n").unwrap();
        line
    });
    let mut terminal = Terminal::open(landline(["call", &server.typed()]));
    terminal.sees("login: ");
    terminal.types("joe");
    terminal.sees("welcome");
    assert_eq!(server.end(), b"joe\n");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn many_replies_appear_complete_and_in_order_while_lines_are_typed() {
    const LINES: usize = 200;
    let server = server(upper);
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    for at in 0..LINES {
        terminal.types(&format!("line {at} of many"));
    }
    for at in 0..LINES {
        terminal.sees(&format!("LINE {at} OF MANY\r\n"));
    }
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn with_stdout_elsewhere_data_goes_there_as_it_is_and_the_prompt_stays_on_the_terminal() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"\x1b[31mred\r\n\xff").unwrap();
    });
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("prompt-stdout");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" call \"$1\" > \"$2\"", env!("CARGO_BIN_EXE_landline"), &server.typed()]);
    command.arg(&path).env("TERM", "xterm");
    let mut terminal = Terminal::start(command);
    terminal.types("hello");
    terminal.sees("! server closed the connection");
    terminal.sees(PROMPT);
    terminal.presses_ctrl('d');
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0);
    assert!(!seen.contains("red"), "{seen:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"\x1b[31mred\r\n\xff");
}

#[test]
fn what_is_typed_ahead_counts_even_ctrl_d_right_after_a_line() {
    let server = server(upper);
    let mut terminal = Terminal::start(landline(["call", &server.typed()]));
    terminal.types_ahead("one\rtwo\r\x04");
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0);
    let [one, two] = ["ONE\r\n", "TWO\r\n"].map(|reply| seen.find(reply).expect(reply));
    assert!(one < two, "{seen:?}");
}

#[test]
fn a_terminal_without_line_editing_works_too() {
    let server = server(upper);
    let mut command = landline(["call", &server.typed()]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::start(command);
    terminal.types("hello");
    terminal.sees("HELLO");
    terminal.presses_ctrl('d');
    let (code, seen) = terminal.ends();
    assert_eq!(code, 0);
    assert!(!seen.contains('\x1b'), "{seen:?}");
}
