//! Several listeners from a file, of several kinds, and what a reload makes of them.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::serve_config::Config;
use crate::serving::{Caller, Serving, command};
use crate::support::*;

/// A listener of lines on a free port.
const PORT: &str = "[[listener]]\naddress = 0\nframing = 'line'\n";

/// What a caller of a Unix socket is answered.
fn asks(path: &Path, message: &str) -> String {
    let mut caller = UnixStream::connect(path).unwrap();
    caller.set_read_timeout(Some(GUARD)).unwrap();
    caller.write_all(message.as_bytes()).unwrap();
    caller.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    caller.read_to_string(&mut heard).unwrap();
    heard
}

#[test]
fn a_file_with_several_listeners_serves_each_in_its_own_way() {
    let config = Config::new("");
    let socket = config.0.join("echo.sock");
    config.now_says(format!(
        "{PORT}[[listener]]\naddress = 'unix:{}'\nservice = 'echo'\nunix_mode = '0660'\n",
        socket.display()
    ));
    let mut server = config.serve(&[]);
    server.says("listening on 127.0.0.1:");
    server.says(&format!("listening on unix:{}", socket.display()));
    server.says("services upper, echo - up to 10000 connections");
    let mut caller = server.call();
    caller.says("hello\n");
    caller.hears("HELLO\n");
    assert_eq!(asks(&socket, "hello"), "hello");
    server.says(&format!("pid {} (uid ", std::process::id()));
    server.stop().in_order();
    assert!(!socket.exists());
}

#[test]
fn on_sighup_the_file_is_read_anew_and_live_connections_stay() {
    let config = Config::new(PORT);
    let socket = config.0.join("new.sock");
    let mut server = config.serve(&[]);
    let mut caller = server.call();
    caller.says("before\n");
    caller.hears("BEFORE\n");
    config.now_says(format!(
        "max_connections = 500\n{PORT}service = 'echo'\n[[listener]]\naddress = 'unix:{}'\n",
        socket.display()
    ));
    server.signal(Signal::HUP);
    server.says(&format!("listening on unix:{}", socket.display()));
    server.says("reloaded: 2 listeners - up to 500 connections");
    caller.says("as before\n");
    caller.hears("AS BEFORE\n");
    let mut newcomer = server.call();
    newcomer.says("anew\n");
    newcomer.hears("anew\n");
    assert_eq!(asks(&socket, "hello"), "HELLO");
    config.now_says(PORT);
    server.signal(Signal::HUP);
    server.says(&format!("no longer listening on unix:{}", socket.display()));
    server.says("reloaded: 1 listener - up to 10000 connections");
    assert!(!socket.exists());
    drop((caller, newcomer));
    server.stop().in_order();
}

#[test]
fn a_file_that_is_wrong_by_now_changes_nothing_and_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let config = Config::new(PORT);
    let mut server = config.serve(&["--quiet"]);
    for (text, words) in [
        ("", "landline.toml: the file is empty"),
        ("idle_timeot = '5m'\n", "line 1: no setting is called 'idle_timeot' (did you mean 'idle_timeout'?)"),
        (&format!("threads = 9\n{PORT}"), "the number of threads is"),
        (&format!("http = 1\n{PORT}"), "http can't be changed while the server runs"),
        (&format!("max_connections = '9M'\n{PORT}"), "cannot hold 9000000 connections"),
        (
            &format!("{PORT}[[listener]]\naddress = '{taken}'\n"),
            &format!("cannot listen on {taken}: address already in use"),
        ),
    ] {
        config.now_says(text);
        server.signal(Signal::HUP);
        let line = server.says("; all stays as it was");
        assert!(line.contains(words), "{words}: {line}");
        server.call().asks("hello\n");
    }
    server.stop().in_order();
}

#[test]
fn without_a_file_sighup_ends_the_server() {
    let server = Serving::start(command(&[]));
    server.signal(Signal::HUP);
    server.end().in_order();
}

#[test]
fn a_socket_that_was_left_open_is_listened_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new("sh");
    // The shell gets it as its stdin, and leaves it open under another number.
    command.args(["-c", r#"exec "$@" 7<&0 </dev/null"#, "sh", env!("CARGO_BIN_EXE_landline")]);
    command.args(["serve", "fd:7", "--print-port", "--control", "none"]);
    command.stdin(OwnedFd::from(listener)).stderr(Stdio::piped());
    let server = Serving::start_with_its_stdin(command);
    assert_eq!(server.port(), address.port());
    server.call().asks("hello\n");
    server.stop().in_order();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn an_address_that_can_not_be_had_is_told_with_what_may_be_done() {
    let folder = Config::new("");
    let file = folder.0.join("landline.toml");
    let live = folder.0.join("live.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&live).unwrap();
    for (address, words) in [
        (format!("unix:{}", file.display()), "there is a file that is no socket"),
        (format!("unix:{}", live.display()), "address already in use"),
        ("unix:/nowhere/landline.sock".to_owned(), "no such file or directory"),
        ("fd:99".to_owned(), "bad file descriptor"),
    ] {
        let output = run(landline(["serve", &address]), Stdio::null());
        let said = text(&output.stderr);
        assert_eq!(code(&output), 10, "{said}");
        let start = format!("landline: error: cannot listen on {address}: {words}\n  hint: ");
        assert!(said.starts_with(&start), "{start}: {said}");
    }
    assert!(file.exists());
}

#[test]
fn what_a_file_says_can_neither_end_a_line_of_the_log_nor_steer_a_terminal() {
    for (format, shown) in [("text", r"a\nb\x1b[31m"), ("json", r"a\\nb\\x1b[31m")] {
        let config = Config::new("");
        let path = format!("unix:{}/a\\nb\\u001b[31m", config.0.display());
        config.now_says(format!("log_format = '{format}'\n{PORT}[[listener]]\naddress = \"{path}\"\n"));
        let mut server = config.serve(&[]);
        server.says(shown);
        config.now_says("\"a\\nb\\u001b[31m\" = 1\n");
        server.signal(Signal::HUP);
        server.says("no setting is called");
        let ended = server.stop();
        assert!(
            ended.said.iter().all(|line| !line.contains('\u{1b}') && !line.starts_with('b')),
            "{ended:?}"
        );
        ended.in_order();
    }
}

#[test]
fn callers_are_still_taken_while_a_drain_is_delayed() {
    let config = Config::new(format!("drain_delay = '10m'\n{PORT}"));
    let mut server = config.serve(&[]);
    server.says("up to");
    server.signal(Signal::TERM);
    server.says("stopping");
    let mut caller = Caller::connect(server.address);
    caller.says("not too late\n");
    caller.hears("NOT TOO LATE\n");
    drop(caller);
    server.says("#1 closed by client");
    server.signal(Signal::TERM);
    server.end().in_order();
}

#[test]
fn ctl_reload_reads_the_file_anew_and_says_what_is_wrong_with_it() {
    let config = Config::new(PORT);
    let control = config.0.join("control.sock").display().to_string();
    let server = config.serve(&["--control", &control]);
    let reload = || run(landline(["ctl", "--control", &control, "reload"]), Stdio::null());
    config.now_says(format!("{PORT}service = 'echo'\n"));
    let output = reload();
    assert_eq!((code(&output), &*text(&output.stdout)), (0, ""), "{}", text(&output.stderr));
    let mut caller = server.call();
    caller.says("anew\n");
    caller.hears("anew\n");
    config.now_says("idle_timeot = '5m'\n");
    let output = reload();
    let said = text(&output.stderr);
    assert_eq!(code(&output), 2, "{said}");
    assert!(said.contains("line 1: no setting is called 'idle_timeot' (did you mean"), "{said}");
    drop(caller);
    server.stop().in_order();
}
