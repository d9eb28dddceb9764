//! `landline ctl`, against a server that runs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use crate::serving::*;
use crate::support::{GUARD, code, landline, run, text};

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("landline-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Starts a server whose control socket lies here.
    fn serve(&self, flags: &[&str]) -> Serving {
        let mut command = command(flags);
        command.env("XDG_RUNTIME_DIR", &self.0);
        Serving::start(command)
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = landline(["ctl"]);
        command.args(arguments).env("XDG_RUNTIME_DIR", &self.0);
        run(command, Stdio::null())
    }

    /// What a call that has to succeed prints.
    fn tells(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        text(&output.stdout)
    }

    /// What a call says that has to fail with this code.
    fn fails(&self, arguments: &[&str], with: i32) -> String {
        let output = self.ctl(arguments);
        assert_eq!(code(&output), with, "{output:?}");
        text(&output.stderr)
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join("landline")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_only_server_is_found_and_tells_of_itself_and_its_connections() {
    let folder = Folder::new("find");
    let server = folder.serve(&["--max-connections", "7"]);
    // Whoever is answered before the next one calls is the first.
    let mut first = server.call();
    first.asks("hello");
    let mut second = server.call();
    second.asks("hello there");
    let status = folder.tells(&["status"]);
    assert!(status.contains(&format!("(pid {}) on {}", server.id(), server.address)), "{status}");
    assert!(status.contains("2 of 7 connections"), "{status}");

    let list = folder.tells(&["list", "--sort", "in"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), rows[0][0], rows[1][1]), (3, "ID", second.name().as_str()), "{list}");

    let json: serde_json::Value = serde_json::from_str(&folder.tells(&["list", "--json"])).unwrap();
    assert_eq!((json[0]["id"].as_u64(), json[1]["id"].as_u64()), (Some(1), Some(2)));
    let none: serde_json::Value =
        serde_json::from_str(&folder.tells(&["list", "--json", "--state", "sending"])).unwrap();
    assert_eq!(none.as_array().map(Vec::len), Some(0));
    let shown: serde_json::Value = serde_json::from_str(&folder.tells(&["show", "1"])).unwrap();
    assert_eq!(shown["peer"], first.name());
    drop((first, second));
    server.stop().in_order();
    assert!(folder.sockets().is_empty(), "a server that ends takes its socket away");
}

#[test]
fn one_connection_is_closed_and_the_server_drained_from_outside() {
    let folder = Folder::new("close");
    let mut server = folder.serve(&[]);
    let mut first = server.call();
    first.asks("hello");
    let mut second = server.call();
    second.asks("hello");
    folder.tells(&["close", "1"]);
    first.hears_out("");
    server.says("#1 closed by operator");
    second.asks("still there");
    let said = folder.fails(&["close", "99"], 1);
    assert_eq!(said, "landline: error: there is no such connection\n");
    drop(first);
    folder.tells(&["drain"]);
    second.hears_out("");
    drop(second);
    server.end().in_order();
}

#[test]
fn without_a_server_and_with_two_it_says_what_to_do() {
    let folder = Folder::new("two");
    let said = folder.fails(&["status"], 4);
    assert!(said.contains("found no running server") && said.contains("hint: start one"), "{said}");
    let (one, other) = (folder.serve(&[]), folder.serve(&[]));
    let said = folder.fails(&["status"], 2);
    assert!(said.contains("found 2 running servers"), "{said}");
    for socket in folder.sockets() {
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(said.contains(socket.to_str().unwrap()), "{said}");
        folder.tells(&["--control", socket.to_str().unwrap(), "status"]);
    }
    one.stop().in_order();
    other.stop().in_order();
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("stale");
    let path = folder.0.join("ctl.sock");
    let path = path.to_str().unwrap();
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let server = folder.serve(&["--control", path]);
    folder.tells(&["--control", path, "status"]);
    let output = run(landline(["serve", "0", "--control", path]), Stdio::null());
    assert_eq!(code(&output), 10);
    assert!(text(&output.stderr).contains("address already in use"), "{output:?}");
    folder.tells(&["--control", path, "status"]);
    server.stop().in_order();
}

#[test]
fn silent_callers_are_cut_and_whoever_asks_meanwhile_gets_an_answer() {
    let folder = Folder::new("silent");
    let server = folder.serve(&[]);
    let socket = &folder.sockets()[0];
    // One more than there are places.
    let mut silent: Vec<UnixStream> = (0..7).map(|_| UnixStream::connect(socket).unwrap()).collect();
    assert!(folder.tells(&["status"]).contains("0 of"));
    silent[0].set_read_timeout(Some(GUARD)).unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
    server.stop().in_order();
}

#[test]
fn more_who_ask_at_once_than_there_are_places_all_get_an_answer() {
    let folder = Folder::new("many");
    let server = folder.serve(&[]);
    let socket = &folder.sockets()[0];
    let mut asking: Vec<UnixStream> = (0..24).map(|_| UnixStream::connect(socket).unwrap()).collect();
    for stream in &mut asking {
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream.write_all(b"GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    for stream in &mut asking {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("[]"), "{answer}");
    }
    server.stop().in_order();
}

#[test]
fn a_server_with_nothing_to_read_anew_says_so_and_serves_on() {
    let folder = Folder::new("reload");
    let server = folder.serve(&[]);
    let mut caller = server.call();
    let said = folder.fails(&["reload"], 2);
    assert!(said.starts_with("landline: error: cannot reload: "), "{said}");
    caller.asks("hello");
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_draining_server_still_tells_of_itself() {
    let folder = Folder::new("drain");
    let mut server = folder.serve(&["--framing", "line", "--drain-timeout", "1h"]);
    let mut busy = server.call();
    busy.says("one\nhalf");
    busy.hears("ONE\n");
    folder.tells(&["drain"]);
    server.says("stopping: 1 of 1 still in a message");
    let status = folder.tells(&["status"]);
    assert!(status.contains("takes no callers") && status.ends_with("- 1 still open\n"), "{status}");
    busy.says("\n");
    busy.hears_out("HALF\n");
    server.end().in_order();
}

#[test]
fn a_control_socket_that_can_not_be_made_is_named_with_what_to_do() {
    let output = run(landline(["serve", "0", "--control", "/nowhere/ctl.sock"]), Stdio::null());
    let said = text(&output.stderr);
    assert_eq!(code(&output), 10, "{said}");
    assert!(said.contains("unix:/nowhere/ctl.sock") && said.contains("'--control none'"), "{said}");
}
