//! `… | landline call ADDR`

use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::sync::mpsc::sync_channel;

use crate::support::*;

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
