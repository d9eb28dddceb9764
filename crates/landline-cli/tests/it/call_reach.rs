//! `landline call`: by which way a server is reached.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::support::*;

/// Answers one line of the next caller in upper case, and says from where it was called.
fn answer(listener: &TcpListener) -> std::net::SocketAddr {
    let mut stream = accept(listener);
    let line = read_line(&mut stream);
    stream.write_all(&line.to_ascii_uppercase()).unwrap();
    stream.peer_addr().unwrap()
}

#[test]
fn a_name_with_addresses_of_both_families_is_called_by_the_one_that_was_asked_for() {
    let server = listener(|listener| answer(&listener));
    let address = server.typed().replace("127.0.0.1", "localhost");
    let output = run(landline(["call", "-4", &address, "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
    server.end();

    let output = run(landline(["call", "-6", "127.0.0.1:9", "hello"]), Stdio::null());
    assert_eq!(code(&output), 3);
    let said = text(&output.stderr);
    assert!(
        said.starts_with("landline: error: cannot resolve 127.0.0.1: it has no IPv6 address\n"),
        "{said}"
    );

    let output = run(landline(["call", "-4", "-6", &address]), Stdio::null());
    assert_eq!(code(&output), 2);
}

#[test]
fn a_call_comes_from_the_source_it_was_given_down_to_the_port() {
    let server = listener(|listener| [answer(&listener), answer(&listener)]);
    let output = run(landline(["call", "--source", "127.0.0.7", &server.typed(), "one"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "ONE\n".to_owned()));
    // A port that nobody has: this one is kept from others as long as the socket lives.
    let free = TcpListener::bind("127.0.0.8:0").unwrap();
    let source = free.local_addr().unwrap();
    drop(free);
    let output =
        run(landline(["call", "--source", &source.to_string(), &server.typed(), "two"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "TWO\n".to_owned()));
    let [first, second] = server.end();
    assert_eq!((first.ip().to_string(), second), ("127.0.0.7".to_owned(), source));
}

#[test]
fn a_source_that_is_no_address_of_this_machine_is_told_with_both_addresses() {
    let (_socket, address) = refusing();
    let output = run(landline(["call", "--source", "192.0.2.9", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 2);
    let words = format!("landline: error: cannot connect to {address} from 192.0.2.9:0: cannot assign");
    assert!(text(&output.stderr).starts_with(&words), "{output:?}");
    let output = run(landline(["call", "--source", "here", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("it is an IP address, with or without a port"), "{output:?}");
}

#[test]
fn a_unix_socket_is_called_by_its_path_in_one_shot_and_as_a_pipe() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("call-reach.sock");
    let _ = std::fs::remove_file(&path);
    let address = format!("unix:{}", path.display());
    let output = run(landline(["call", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 4);
    assert_eq!(
        text(&output.stderr),
        format!(
            "landline: error: cannot connect to {address}: no such file or directory\n  \
             hint: there is no such socket; check the path, or start a server with 'landline serve {address}'\n"
        )
    );
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(GUARD)).unwrap();
            let line = read_line(&mut stream);
            stream.write_all(&line.to_ascii_uppercase()).unwrap();
        }
    });
    let output = run(landline(["call", &address, "hello"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
    let output = run(landline(["call", &address]), given("by pipe\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "BY PIPE\n".to_owned()));
    server.join().unwrap();
    let output = run(landline(["call", "-4", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("-4 has no meaning for a Unix socket"), "{output:?}");
}
