//! The examples as programs: started, talked to, and stopped the way a person would.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Caller, PATIENCE};

/// The program of an example: cargo builds it next to the directory of this test's program.
fn program(name: &str) -> PathBuf {
    let ours = std::env::current_exe().unwrap();
    let profile = ours.parent().and_then(Path::parent).expect("it lies in target/PROFILE/deps");
    let program = profile.join("examples").join(name);
    let missing = "`cargo test` builds it, and so does `cargo build --examples`";
    assert!(program.is_file(), "{} is not there; {missing}", program.display());
    program
}

/// A running example. It is killed if the test ends before it does.
pub(crate) struct Example {
    pub(crate) child: Child,
    /// What it prints, line by line; the end of it is the end of the program.
    pub(crate) lines: Receiver<String>,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        let mut child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(100);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Starts a server on a free port; the address is what it says.
    pub(crate) fn serve(name: &str) -> (Self, SocketAddr) {
        let example = Self::start(name, &["127.0.0.1:0"]);
        let address = example.address();
        (example, address)
    }

    /// Where it says next that it listens.
    fn address(&self) -> SocketAddr {
        let line = self.lines.recv_timeout(PATIENCE).expect("it says where it listens");
        let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address: {line}"))
    }

    /// Waits for a line with this in it.
    #[cfg(all(feature = "takeover", target_os = "linux"))]
    fn says(&self, what: &str) {
        while !self.lines.recv_timeout(PATIENCE).expect(what).contains(what) {}
    }

    fn children(&self) -> Vec<Pid> {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for the end, and returns what was printed until then.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let mut printed = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => printed.push(line),
                Err(end) => {
                    assert_eq!(end, std::sync::mpsc::RecvTimeoutError::Disconnected, "it does not end");
                    return (self.child.wait().unwrap(), printed);
                }
            }
        }
    }

    /// Stops a server in order.
    pub(crate) fn stop(self) {
        self.terminate();
        let (status, _) = self.end();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // A child of its own would serve on.
        for child in self.children() {
            let _ = kill_process(child, Signal::KILL);
        }
        // Both fail for one that has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_example_is_run_here() {
    let directory = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("examples");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let tests = [include_str!("examples.rs"), include_str!("hostile.rs")];
        assert!(tests.iter().any(|test| test.contains(&format!("\"{name}\""))), "nobody runs {name}");
    }
}

#[test]
fn upper_answers_in_upper_case() {
    let (upper, address) = Example::serve("upper");
    let mut caller = Caller::connect(address);
    caller.say("hello\nworld\n");
    caller.hear("HELLO\nWORLD\n");
    upper.stop();
    assert_eq!(caller.hear_out().unwrap(), "");
}

#[test]
fn a_crowd_asks_over_one_connection_and_each_gets_its_answers() {
    let (upper, address) = Example::serve("upper");
    let (status, mut printed) = Example::start("crowd", &[&address.to_string(), "12"]).end();
    assert!(status.success(), "{status}");
    printed.sort();
    let mut expected: Vec<String> = (0..12)
        .map(|at| format!("WHO ARE YOU, ASKS {at} / HOW ARE YOU, ASKS {at} / GOODBYE, ASKS {at}"))
        .collect();
    expected.sort();
    assert_eq!(printed, expected);
    upper.stop();
}

#[test]
fn ask_prints_an_answer_to_each_of_its_messages() {
    let (upper, address) = Example::serve("upper");
    let (status, printed) = Example::start("ask", &[&address.to_string(), "hello", "a b"]).end();
    assert!(status.success(), "{status}");
    assert_eq!(printed, ["HELLO", "A B"]);
    upper.stop();
}

#[test]
fn counter_counts_for_each_caller_anew() {
    let (counter, address) = Example::serve("counter");
    for number in 1..=2 {
        let mut caller = Caller::connect(address);
        caller.hear(format!("you are caller {number}\n"));
        caller.say("one\n\n");
        caller.hear("1: 3 bytes\n2: 0 bytes\n");
    }
    counter.stop();
}

#[test]
fn chat_passes_on_what_one_says_to_the_others() {
    let (chat, address) = Example::serve("chat");
    let mut first = Caller::connect(address);
    first.hear("you are 1\n");
    let mut second = Caller::connect(address);
    second.hear("you are 2\n");
    first.hear("2: (joined)\n");
    first.say("hello\n");
    second.hear("1: hello\n");
    second.half_close();
    first.hear("2: (left)\n");
    assert_eq!(second.hear_out().unwrap(), "");
    chat.stop();
    assert_eq!(first.hear_out().unwrap(), "");
}

#[test]
fn raw_ticks_until_it_is_stopped_and_says_so() {
    let (raw, address) = Example::serve("raw");
    let mut caller = Caller::connect(address);
    caller.hear("tick 1\ntick 2\n");
    raw.terminate();
    let rest = caller.hear_out().unwrap();
    assert!(rest.ends_with("the clock stops\n"), "{rest}");
    drop(caller);
    let (status, _) = raw.end();
    assert!(status.success(), "{status}");
}

#[test]
fn hosted_axum_answers_over_http_and_drains() {
    let (hosted, address) = Example::serve("hosted_axum");
    let mut caller = Caller::connect(address);
    let mut request = || {
        caller.say("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
        hear_response(&mut caller)
    };
    for _ in 0..2 {
        let (head, body) = request();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, "hello over HTTP\n");
    }
    hosted.stop();
    assert_eq!(caller.hear_out().unwrap(), "", "the connection that was kept alive ends in order");
}

#[cfg(all(feature = "takeover", target_os = "linux"))]
#[test]
fn kept_goes_on_counting_when_its_child_is_killed() {
    let (kept, address) = Example::serve("kept");
    let mut caller = Caller::connect(address);
    for count in 1..4 {
        caller.say("hello\nhal");
        caller.hear(format!("{} hello\n", 2 * count - 1));
        // One that has ended may still be on the list, and it is the older.
        kill_process(*kept.children().last().unwrap(), Signal::KILL).unwrap();
        // The next one says where it listens, and it is the same place.
        let line = || kept.lines.recv_timeout(PATIENCE).expect("another one serves");
        assert_eq!(line(), format!("listening on {address}"));
        assert!(line().starts_with("restarted after SIGKILL"));
        caller.say("f\n");
        caller.hear(format!("{} half\n", 2 * count));
    }
    kept.stop();
    assert_eq!(caller.hear_out().unwrap(), "");
}

#[cfg(all(feature = "takeover", target_os = "linux"))]
#[test]
fn kept_keeps_in_the_process_before_what_another_program_cannot_go_on_with() {
    let kept = Example::start("kept", &["127.0.0.1:0", "127.0.0.1:0"]);
    let (counted, echoed) = (kept.address(), kept.address());
    let (mut counting, mut echoing) = (Caller::connect(counted), Caller::connect(echoed));
    let (mut silent, mut stays) = (Caller::connect(echoed), Caller::connect(echoed));
    counting.say("one\ntw");
    counting.hear("1 one\n");
    for caller in [&mut echoing, &mut stays] {
        caller.say("before");
        caller.hear("before");
    }
    let worker = kept.children()[0];
    kill_process(Pid::from_child(&kept.child), Signal::USR2).unwrap();
    kept.says("another process serves; 2 connections");
    counting.say("o\n");
    counting.hear("2 two\n");
    // What nobody has begun to serve anybody can; and the others are where they were.
    let mut new = Caller::connect(echoed);
    for caller in [&mut silent, &mut echoing, &mut stays, &mut new] {
        caller.say("after");
        caller.hear("after");
    }
    assert!(kept.children().contains(&worker), "the process before is still there");
    // It ends when the first process does, at the latest, and that waits for it.
    drop((echoing, silent, new));
    kept.terminate();
    assert_eq!(counting.hear_out().unwrap(), "");
    stays.say("to the end");
    stays.hear("to the end");
    drop(stays);
    let (status, _) = kept.end();
    assert!(status.success(), "{status}");
}

/// Reads one response whose head says how long it is.
fn hear_response(caller: &mut Caller) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        caller.0.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
    let mut body = vec![0; length.split_once('\r').unwrap().0.parse().unwrap()];
    caller.0.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}
