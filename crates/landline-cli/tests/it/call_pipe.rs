//! `… | landline call ADDR`

use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::sync::mpsc::sync_channel;

use crate::support::*;
use crate::terminal::Terminal;

#[test]
fn a_server_that_answers_after_the_end_of_input_is_heard() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard.to_ascii_uppercase()).unwrap();
    });
    let output = run(landline(["call", &server.typed()]), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
    assert_eq!(text(&output.stderr), "", "off a terminal there is no talk");
}

#[test]
fn without_a_server_it_says_so_and_exits_4() {
    let (_socket, address) = refusing();
    let output = run(landline(["call", &address]), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stdout)), (4, String::new()));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("cannot connect to {address}: connection refused\n  hint: ")), "{said}");
}

#[test]
fn a_server_that_closes_ends_it_at_once_while_stdin_is_open() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"bye\n").unwrap();
    });
    let mut running = Running::start(landline(["call", &server.typed()]));
    running.send(b"hello\n");
    running.expect(b"bye\n");
    assert_eq!(running.end(), (0, String::new()), "with stdin still open here");
}

#[test]
fn what_stdin_had_given_is_sent_even_when_the_server_closes_its_side_first() {
    const LEN: usize = 4 << 20;
    let server = server(|mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap()
    });
    let path = std::env::temp_dir().join(format!("landline-it-{}", std::process::id()));
    let mut file =
        std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(&vec![7; LEN]).unwrap();
    file.rewind().unwrap();
    let output = run(landline(["call", &server.typed()]), file);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(server.end(), LEN);
}

#[test]
fn what_came_before_a_reset_is_printed_and_it_exits_6() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"HALF AN ANS").unwrap();
        reset(stream);
    });
    let typed = server.typed();
    let mut running = Running::start(landline(["call", &typed]));
    running.send(b"hello\n");
    running.expect(b"HALF AN ANS");
    let (code, said) = running.end();
    assert_eq!(code, 6);
    assert_eq!(said, format!("landline: error: lost the connection to {typed}: connection reset by peer\n"));
}

#[test]
fn a_server_that_takes_only_part_of_the_input_exits_6() {
    let server = server(|mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        // It closes with input unread.
    });
    let output = run(landline(["call", &server.typed()]), given(vec![b'x'; 1 << 20]));
    assert_eq!(code(&output), 6, "{output:?}");
}

#[test]
fn every_byte_passes_as_it_is_both_ways() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    let bytes = b"\0\x1b[31m\r\n\xff\xfe\n\n\r\xe2\x82 no ending";
    let output = run(landline(["call", &server.typed()]), given(*bytes));
    assert_eq!((code(&output), &output.stdout[..]), (0, &bytes[..]));
}

#[test]
fn a_character_cut_in_two_by_reads_is_passed_in_two() {
    let (go, wait) = sync_channel::<()>(1);
    let server = server(move |mut stream| {
        stream.write_all(&"€".as_bytes()[..1]).unwrap();
        wait.recv().unwrap();
        stream.write_all(&"€".as_bytes()[1..]).unwrap();
    });
    let mut running = Running::start(landline(["call", &server.typed()]));
    running.expect(b"\xe2");
    go.send(()).unwrap();
    running.expect("€".as_bytes());
    assert_eq!(running.end().0, 0);
}

#[test]
fn much_data_passes_both_ways_at_once() {
    const LEN: usize = 32 << 20;
    let server = server(|mut stream| std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    let sent = bytes.clone();
    let feeder = std::thread::spawn(move || writer.write_all(&sent));
    let output = run(landline(["call", &server.typed()]), reader);
    assert_eq!(code(&output), 0);
    assert!(output.stdout == bytes, "{} of {LEN} bytes", output.stdout.len());
    feeder.join().unwrap().unwrap();
}

#[test]
fn crlf_completes_bare_line_feeds_only() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard
    });
    let output = run(landline(["call", "--crlf", &server.typed()]), given(b"a\nb\r\n\nc"));
    assert_eq!(code(&output), 0);
    assert_eq!(server.end(), b"a\r\nb\r\n\r\nc");
}

#[test]
fn a_framing_other_than_raw_is_refused_with_the_reason() {
    let output = run(landline(["call", "8081", "--framing", "line"]), Stdio::null());
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("a pipe passes bytes as they are"), "{output:?}");
}

#[test]
fn a_reader_of_stdout_that_goes_away_ends_it_quietly() {
    let server = server(|mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = landline(["call", &server.typed()]);
    let (stdin, _open) = std::io::pipe().unwrap();
    let child = command.stdin(stdin).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let output = wait(child);
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    server.end();
}

/// Bytes that no compression and no repetition can hide a fault in.
fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

#[test]
fn different_random_bytes_pass_both_ways_at_once_and_none_is_wrong() {
    const LEN: usize = 64 << 20;
    let (up, down) = (random(LEN, 1), random(LEN, 2));
    let said = down.clone();
    let server = server(move |mut stream| {
        let mut talker = stream.try_clone().unwrap();
        let talking = std::thread::spawn(move || talker.write_all(&said).unwrap());
        let mut heard = Vec::with_capacity(LEN);
        // Its own side ends last: to a pipe, a server that has ended is one that needs to hear no more than
        // what stdin has given by then.
        stream.read_to_end(&mut heard).unwrap();
        talking.join().unwrap();
        heard
    });
    let output = run(landline(["call", &server.typed()]), given(up.clone()));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert!(output.stdout == down, "{} of {LEN} bytes came down", output.stdout.len());
    let heard = server.end();
    assert!(heard == up, "{} of {LEN} bytes went up", heard.len());
}

#[test]
fn all_that_came_before_a_reset_is_printed_however_often_and_however_much() {
    const LEN: usize = 1 << 20;
    for seed in 0..10 {
        let bytes = random(LEN, seed);
        let said = bytes.clone();
        let server = server(move |mut stream| {
            read_line(&mut stream);
            stream.write_all(&said).unwrap();
            // Only what has arrived can be printed: a reset destroys what is still on its way.
            read_line(&mut stream);
            reset(stream);
        });
        let typed = server.typed();
        let mut running = Running::start(landline(["call", &typed]));
        running.send(b"all of it\n");
        running.expect(&bytes);
        running.send(b"thanks\n");
        let said = format!("landline: error: lost the connection to {typed}: connection reset by peer\n");
        assert_eq!(running.end(), (6, said));
    }
}

#[test]
fn with_eof_wait_a_server_that_does_not_close_is_left_and_what_it_said_is_printed() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(b"HELLO\n").unwrap();
        // It stays until the other end is gone, which it learns only when it says more.
        while stream.write_all(b"more\n").is_ok() {}
        heard
    });
    let output = run(landline(["call", "--eof-wait", "200ms", &server.typed()]), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert!(output.stdout.starts_with(b"HELLO\n"), "{output:?}");
    assert_eq!(server.end(), b"hello\n");
}

#[test]
fn with_eof_wait_a_server_that_closes_is_left_at_once() {
    let server = server(|mut stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard.to_ascii_uppercase()).unwrap();
    });
    // An hour would not pass unnoticed.
    let output = run(landline(["call", "--eof-wait", "1h", &server.typed()]), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
}

#[test]
fn with_no_shutdown_the_server_sees_no_end_before_it_has_closed_itself() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        stream.set_nonblocking(true).unwrap();
        let seen = stream.read(&mut [0]).map_err(|error| error.kind());
        stream.set_nonblocking(false).unwrap();
        stream.write_all(b"one\n").unwrap();
        stream.write_all(b"two\n").unwrap();
        seen
    });
    let output = run(landline(["call", "--no-shutdown", &server.typed()]), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "one\ntwo\n".to_owned()));
    assert_eq!(server.end(), Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn with_no_shutdown_and_eof_wait_the_end_comes_when_the_wait_is_over() {
    let server = server(|mut stream| {
        let line = read_line(&mut stream);
        stream.write_all(&line.to_ascii_uppercase()).unwrap();
        // The end that comes is that of the connection.
        (stream.read(&mut [0]).unwrap(), stream)
    });
    let call = ["call", "--no-shutdown", "--eof-wait", "200ms", &server.typed()];
    let output = run(landline(call), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
    assert_eq!(server.end().0, 0);
}

#[test]
fn with_send_only_nothing_is_printed_and_a_server_that_talks_all_the_time_hears_everything() {
    const LEN: usize = 8 << 20;
    let bytes = random(LEN, 3);
    let server = server(|mut stream| {
        // It hears nothing as long as nobody takes what it says.
        stream.write_all(&vec![b'x'; LEN]).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(b"and a last word").unwrap();
        heard
    });
    let output = run(landline(["call", "--send-only", &server.typed()]), given(bytes.clone()));
    assert_eq!((code(&output), output.stdout.len(), text(&output.stderr)), (0, 0, String::new()));
    let heard = server.end();
    assert!(heard == bytes, "{} of {LEN} bytes", heard.len());
}

#[test]
fn with_send_only_a_reset_is_told_as_ever() {
    let server = server(|mut stream| {
        read_line(&mut stream);
        reset(stream);
    });
    let output = run(landline(["call", "--send-only", &server.typed()]), given(b"hello\n"));
    assert_eq!(code(&output), 6, "{output:?}");
}

#[test]
fn with_recv_only_stdin_is_left_alone_and_our_side_stays_open() {
    let server = server(|mut stream| {
        stream.write_all(b"220 welcome\n").unwrap();
        // Nothing comes, and no end, before it is over.
        (stream.read(&mut [0]).unwrap(), stream)
    });
    let (stdin, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"left alone").unwrap();
    drop(writer);
    let call = ["call", "--recv-only", "--eof-wait", "200ms", &server.typed()];
    let output = run(landline(call), stdin.try_clone().unwrap());
    assert_eq!((code(&output), text(&output.stdout)), (0, "220 welcome\n".to_owned()));
    assert_eq!(server.end().0, 0);
    let mut left = String::new();
    (&stdin).read_to_string(&mut left).unwrap();
    assert_eq!(left, "left alone");
}

#[test]
fn flags_of_a_pipe_that_have_no_meaning_where_they_are_said_are_refused_with_a_hint() {
    for (flags, words) in [
        (&["--eof-wait", "1s", "8081", "hello"][..], "--eof-wait has no meaning with MESSAGEs"),
        (&["--send-only", "8081", "hello"], "--send-only has no meaning with MESSAGEs"),
        (&["--recv-only", "--crlf", "8081"], "--crlf has no meaning with --recv-only"),
        (&["--recv-only", "--no-shutdown", "8081"], "--no-shutdown has no meaning with --recv-only"),
        (&["--recv-only", "--send-only", "8081"], "cannot be used with"),
    ] {
        let mut command = landline(["call"]);
        command.args(flags);
        let output = run(command, Stdio::null());
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{flags:?}: {said}");
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}

#[test]
fn at_a_terminal_one_way_is_a_pipe_and_what_the_server_says_cannot_steer_it() {
    let server = server(|mut stream| {
        stream.write_all(b"\x1b]0;owned\x07\x1b[31mred\r\nno ending").unwrap();
    });
    let mut terminal = Terminal::open(landline(["call", "--recv-only", &server.typed()]));
    let seen = terminal.sees("no ending\r\n");
    assert!(seen.contains("\\x1b]0;owned\\x07\\x1b[31mred\r\n"), "{seen:?}");
    assert_eq!(terminal.ends().0, 0);
    let mut terminal = Terminal::open(landline(["call", "--no-shutdown", "8081"]));
    terminal.sees("--no-shutdown has no meaning at the prompt");
    assert_eq!(terminal.ends().0, 2);
}
