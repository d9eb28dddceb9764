//! `serve --crash-survival on`: the process that serves is killed, and the server goes on.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::serve_calls::{has_strace, traced};
use crate::serve_config::Config;
use crate::serving::*;
use crate::support::*;
use crate::terminal::Terminal;

const ON: [&str; 2] = ["--crash-survival", "on"];
const OFF: [&str; 2] = ["--crash-survival", "off"];

/// The process that serves, which the keeper started: its newest child. One that has ended, or made way, may
/// still be on the list.
pub(crate) fn worker_of(keeper: u32) -> u32 {
    let threads = fs::read_dir(format!("/proc/{keeper}/task")).unwrap();
    let children = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
    let children: String = children.collect();
    let newest = children.split_whitespace().last().and_then(|id| id.parse().ok());
    newest.unwrap_or_else(|| panic!("a child: {children:?}"))
}

/// A server that goes on when it is killed, once it has said so: the log of a process that is killed is lost.
pub(crate) fn survivor(flags: &[&str]) -> Serving {
    let mut server = serve(&[&ON[..], flags].concat());
    server.says("if its process is killed");
    server
}

/// Kills the process that serves, and waits until another does.
pub(crate) fn kill_worker(server: &mut Serving) {
    kill(worker_of(server.id()));
    server.says("restarted after SIGKILL");
}

fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// Whether all threads of a process are.
fn is_stopped(process: u32) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.all(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap().contains(") T "))
}

pub(crate) fn is_gone(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Whoever adopted it may not have looked yet.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

#[test]
fn nobody_who_calls_is_refused_while_the_process_that_serves_is_killed_again_and_again() {
    let mut server = survivor(&["--threads", "1"]);
    let (address, is_over) = (server.address, AtomicBool::new(false));
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                // It panics if it is refused; what is cut is that of a worker that was killed.
                answered += usize::from(Caller::connect(address).gets_an_answer());
            }
            answered
        });
        for _ in 0..20 {
            kill_worker(&mut server);
            // That one serves by now, and nobody kills it.
            Caller::connect(address).asks("hello");
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(calling.join().unwrap() > 0);
    });
    let ended = server.stop();
    assert_eq!((ended.count("restart 20"), ended.count("listening on")), (1, 1), "{ended:#?}");
    ended.in_order();
}

#[test]
fn the_descriptors_are_as_many_after_fifty_kills_as_after_one() {
    let mut server = survivor(&["--threads", "1", "--control", "none"]);
    // Each leaves a connection behind, and nobody calls while they are counted.
    let kill_while_somebody_is_there = |server: &mut Serving| {
        let mut caller = server.call();
        caller.asks("hello");
        kill_worker(server);
        caller.asks("again");
        caller.half_closes();
        caller.hears_out("");
    };
    kill_while_somebody_is_there(&mut server);
    let after_one = descriptors(server.id());
    for _ in 1..50 {
        kill_while_somebody_is_there(&mut server);
    }
    assert_eq!(descriptors(server.id()), after_one);
    server.stop().in_order();
}

#[test]
fn a_caller_who_came_while_nobody_served_is_answered_by_the_next() {
    let mut server = survivor(&[]);
    let worker = worker_of(server.id());
    // Nobody accepts any more, but the keeper does not know yet.
    kill_process(pid(worker), Signal::STOP).unwrap();
    in_time(move || while !is_stopped(worker) {}).expect("it stops");
    let mut early = server.call();
    early.says("hello");
    kill(worker);
    early.hears("HELLO");
    drop(early);
    server.says("restarted after SIGKILL");
    server.stop().in_order();
}

#[test]
fn callers_between_two_messages_notice_nothing() {
    let mut server = survivor(&["--framing", "line", "--max-connections-per-ip", "60"]);
    let mut callers: Vec<Caller> = (0..50).map(|_| server.call()).collect();
    for caller in &mut callers {
        caller.says("hello\n");
        caller.hears("HELLO\n");
    }
    for _ in 0..5 {
        kill(worker_of(server.id()));
        server.says("took over 50 connections");
        server.says("restarted after SIGKILL");
        for caller in &mut callers {
            caller.says("again\n");
            caller.hears("AGAIN\n");
        }
    }
    // They count as before: ten more may call from here, and no eleventh.
    let mut more: Vec<Caller> = (0..10).map(|_| server.call()).collect();
    for caller in &mut more {
        // Two threads accept, and the last to call must not be taken first.
        caller.asks("hello\n");
    }
    server.call().hears_out("busy\n");
    drop((callers, more));
    server.signal(Signal::TERM);
    assert_eq!(server.end().code, 0);
}

#[test]
fn many_callers_notice_nothing_and_a_process_that_was_killed_is_forgotten() {
    const MANY: usize = 600;
    let mut server = survivor(&["--framing", "line"]);
    let mut callers: Vec<Caller> = (0..MANY).map(|_| server.call()).collect();
    for (number, caller) in callers.iter_mut().enumerate() {
        caller.asks("hello\n");
        caller.says(if number % 3 == 0 { "" } else { "hal" });
    }
    for _ in 0..3 {
        let killed = worker_of(server.id());
        kill(killed);
        server.says("took over 600 connections");
        server.says("restarted after SIGKILL");
        for (number, caller) in callers.iter_mut().enumerate() {
            caller.says(if number % 3 == 0 { "half\nhal" } else { "f\nhal" });
            caller.hears("HALF\n");
        }
        callers.iter_mut().step_by(3).for_each(|caller| {
            caller.says("f\n");
            caller.hears("HALF\n");
        });
        // The keeper takes its time for that.
        while fs::exists(format!("/proc/{killed}")).unwrap() {
            thread::yield_now();
        }
    }
    drop(callers);
    server.signal(Signal::TERM);
    assert_eq!(server.end().code, 0);
}

#[test]
fn callers_within_a_message_or_a_reply_notice_nothing() {
    let mut server = survivor(&["--framing", "line"]);
    let (mut busy, mut slow) = (server.call(), server.call());
    let long = [b"long ".repeat(200_000), b"\n".to_vec()].concat();
    slow.says(&long);
    busy.says("one\nhel");
    busy.hears("ONE\n");
    kill(worker_of(server.id()));
    server.says("took over 2 connections");
    busy.says("lo\n");
    busy.hears("HELLO\n");
    kill_worker(&mut server);
    slow.hears(long.to_ascii_uppercase());
    busy.says("again");
    busy.half_closes();
    busy.hears_out("AGAIN");
}

#[test]
fn a_unix_socket_goes_on_with_its_file_and_its_callers_and_so_does_the_control_socket() {
    let folder = Config::new("");
    let path = folder.0.join("echo.sock");
    folder.now_says(format!(
        "crash_survival = 'on'\n[[listener]]\naddress = 0\n[[listener]]\naddress = 'unix:{}'\nservice = 'echo'\n",
        path.display()
    ));
    let ctl = folder.0.join("ctl.sock");
    let mut server = folder.serve(&["--threads", "1", "--control", ctl.to_str().unwrap()]);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(&path);
    let [silent, asked] = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
    let is_answered = |mut caller: &UnixStream| {
        caller.set_read_timeout(Some(GUARD)).unwrap();
        caller.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        caller.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    };
    for _ in 0..2 {
        is_answered(&asked);
        // When this one is answered, on the one thread that there is, that one is at rest.
        server.call().asks("hello");
        kill_worker(&mut server);
    }
    assert_eq!(inode(&path), before);
    is_answered(&asked);
    is_answered(&silent);
    is_answered(&UnixStream::connect(&path).unwrap());
    drop((silent, asked));
    let status = run(landline(["ctl", "--control", ctl.to_str().unwrap(), "status"]), Stdio::null());
    assert!(text(&status.stdout).contains(&format!("(pid {})", server.id())), "{status:?}");
    server.stop().in_order();
    assert!(!path.exists() && !ctl.exists());
}

#[test]
fn signals_do_what_they_do_without_it_and_so_do_the_exit_codes() {
    for kills in [0, 1] {
        let mut server = survivor(&["--framing", "line", "--drain-timeout", "1h"]);
        (0..kills).for_each(|_| kill_worker(&mut server));
        let mut busy = server.call();
        busy.says("one\nhalf");
        busy.hears("ONE\n");
        server.signal(Signal::TERM);
        server.says("stopping: 1 of 1 still in a message");
        busy.says("\n");
        busy.hears_out("HALF\n");
        server.end().in_order();

        let mut server = survivor(&["--framing", "line", "--drain-timeout", "1h"]);
        (0..kills).for_each(|_| kill_worker(&mut server));
        let mut busy = server.call();
        busy.says("one\nhalf");
        busy.hears("ONE\n");
        server.signal(Signal::TERM);
        server.says("stopping: 1 of 1 still in a message");
        server.signal(Signal::INT);
        let ended = server.end();
        assert_eq!(ended.code, 11, "{ended:#?}");
        assert_eq!(ended.said.last().unwrap(), "landline: error: stopped with 1 connection cut");
    }
}

#[test]
fn a_file_that_is_broken_by_now_is_not_what_the_next_process_serves_by() {
    let file = |service: &str| {
        format!("crash_survival = 'on'\n[[listener]]\naddress = 0\nframing = 'line'\nservice = '{service}'\n")
    };
    let config = Config::new(file("upper"));
    let mut server = config.serve(&[]);
    config.now_says(file("echo"));
    server.signal(Signal::HUP);
    server.says("reloaded: 1 listener");
    config.now_says("what is this");
    kill_worker(&mut server);
    let mut caller = server.call();
    caller.says("hello\n");
    caller.hears("hello\n");
    drop(caller);
    server.signal(Signal::HUP);
    server.says("; all stays as it was");
    config.now_says(file("upper"));
    server.signal(Signal::HUP);
    server.says("reloaded: 1 listener");
    server.call().asks("hello\n");
    config.now_says("[[listener]]\naddress = 0\n");
    server.signal(Signal::HUP);
    server.says("crash_survival can't be changed while the server runs; all stays as it was");
    server.stop().in_order();
}

#[test]
fn a_port_in_use_exits_10_with_the_usual_words() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let port = address.port().to_string();
    let output = run(landline(["serve", &port, "--crash-survival", "on"]), Stdio::null());
    let with = (code(&output), text(&output.stdout), text(&output.stderr));
    let output = run(landline(["serve", &port]), Stdio::null());
    assert_eq!(with, (10, text(&output.stdout), text(&output.stderr)));
}

#[test]
fn what_is_said_is_what_one_process_says_and_one_line_more() {
    let said = |flags: &[&str]| {
        let server = serve(flags);
        server.call().asks("hello");
        let port = server.port().to_string();
        let ended = server.stop();
        assert_eq!((ended.code, ended.printed.len()), (0, 0), "{ended:#?}");
        let lines = ended.said.into_iter().filter(|line| !line.contains('#') && !line.contains("stopp"));
        lines.map(|line| line.replace(&port, "PORT")).collect::<Vec<_>>()
    };
    let mut with = said(&ON);
    let line = with.iter().position(|line| line.starts_with("if its process is killed")).unwrap();
    with.remove(line);
    assert_eq!(with, said(&OFF));
}

#[test]
fn ctrl_c_in_a_terminal_is_decided_once_and_ends_both() {
    let mut command = landline(["serve", "0", "--framing", "line", "--crash-survival", "on"]);
    command.args(["--drain-timeout", "1h"]);
    let control = std::env::temp_dir().join(format!("landline-ctrl-c-{}.sock", std::process::id()));
    command.args(["--control", control.to_str().unwrap()]);
    let mut terminal = Terminal::open(command);
    terminal.sees("listening on 127.0.0.1:");
    let port = terminal.sees(" ").parse::<u16>().unwrap();
    terminal.sees("stop: Ctrl-C\r\n");
    let ctl = landline(["ctl", "--control", control.to_str().unwrap(), "status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&run(ctl, Stdio::null()).stdout).unwrap();
    let worker = worker_of(status["pid"].as_u64().and_then(|id| id.try_into().ok()).unwrap());
    let mut busy = Caller::connect(([127, 0, 0, 1], port).into());
    busy.says("one\nhalf");
    busy.hears("ONE\n");
    terminal.presses_ctrl('c');
    // Taken by both processes, it would cut.
    terminal.sees("stopping: 1 of 1 still in a message");
    busy.says("\n");
    busy.hears_out("HALF\n");
    drop(busy);
    assert_eq!(terminal.ends().0, 0);
    assert!(is_gone(worker));
}

#[test]
fn without_its_keeper_the_process_that_serves_goes_on_and_obeys_signals_itself() {
    let mut server = survivor(&[]);
    let worker = worker_of(server.id());
    server.signal(Signal::KILL);
    let mut caller = server.call();
    caller.asks("still there");
    drop(caller);
    server.says("restarted after SIGKILL");
    kill_process(pid(worker), Signal::TERM).unwrap();
    server.says("stopped: ");
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for (name, signal) in [("INT", Signal::INT), ("HUP", Signal::HUP)] {
        let mut server = Serving::start(by_shell(&format!("trap '' {name}; exec \"$@\""), &ON));
        server.signal(signal);
        kill_worker(&mut server);
        server.call().asks("hello");
        server.signal(signal);
        server.call().asks("still there");
        server.stop().in_order();
    }
}

/// A server that is ending and waits for the caller within a message, and that caller.
fn ending() -> (Serving, Caller) {
    let mut server = survivor(&["--framing", "line", "--drain-timeout", "1h"]);
    let mut busy = server.call();
    busy.says("one\nhalf");
    busy.hears("ONE\n");
    server.signal(Signal::TERM);
    server.says("stopping: 1 of 1 still in a message, waiting up to 1h");
    // That is said just before.
    let address = server.address;
    in_time(move || while TcpStream::connect(address).is_ok() {}).expect("it stops listening");
    (server, busy)
}

#[test]
fn a_server_that_is_killed_while_it_ends_goes_on_ending() {
    let (mut server, mut busy) = ending();
    for _ in 0..3 {
        kill_worker(&mut server);
        // Who called while it stopped listening may just be leaving.
        let line = server.says("stopping: 1 of ");
        assert!(line.contains("waiting up to 59m"), "what is left of an hour: {line}");
        assert!(TcpStream::connect(server.address).is_err(), "nobody else is let in");
    }
    busy.says("\n");
    busy.hears_out("HALF\n");
    server.end().in_order();
}

#[test]
fn a_second_signal_cuts_what_another_process_goes_on_with() {
    let (mut server, _busy) = ending();
    kill_worker(&mut server);
    server.signal(Signal::TERM);
    let ended = server.end();
    assert_eq!(ended.code, 11, "{ended:#?}");
    // Who called while it stopped listening may just be leaving.
    let last = ended.said.last().unwrap();
    assert!(last.starts_with("landline: error: stopped with ") && last.ends_with(" cut"), "{last}");
}

#[test]
fn the_numbers_are_told_under_the_same_address_and_go_on() {
    let mut server = serve(&[&ON[..], &["--http", "0"]].concat());
    let line = server.says("metrics on http://");
    server.says("if its process is killed");
    let address = line.split("http://").nth(1).and_then(|rest| rest.strip_suffix("/metrics"));
    let address: std::net::SocketAddr = address.unwrap().parse().unwrap();
    let mut patient = server.call();
    for _ in 0..2 {
        server.call().asks("hello");
        patient.asks("hello");
        server.says("closed by client");
        kill_worker(&mut server);
    }
    let mut caller = Caller::connect(address);
    caller.says("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    caller.0.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\nlandline_worker_restarts_total 2\n"), "{answer}");
    assert!(answer.contains("\nlandline_serving 1\n"), "{answer}");
    for count in ["connections_opened_total 3", "connections_open 1", "messages_total 4"] {
        assert!(answer.contains(&format!("\nlandline_{count}\n")), "{count} in {answer}");
    }
    drop(patient);
    server.stop().in_order();
}

/// A server whose next processes can't serve, because a file that they need is gone.
fn stuck() -> (Serving, Config) {
    let folder = Config::new("a token of many letters".replace(' ', ""));
    let token = folder.0.join("landline.toml");
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flags = ["--http", "0", "--http-token-file", token.to_str().unwrap()];
    let mut server = survivor(&flags);
    fs::rename(&token, folder.0.join("away")).unwrap();
    kill(worker_of(server.id()));
    // After the third there are pauses.
    for _ in 0..4 {
        server.says("landline: error: ");
    }
    (server, folder)
}

#[test]
fn what_the_next_process_lacks_may_come_back_and_callers_have_waited() {
    let (mut server, folder) = stuck();
    let mut caller = server.call();
    caller.says("hello");
    fs::rename(folder.0.join("away"), folder.0.join("landline.toml")).unwrap();
    server.says("restarted after a failure");
    caller.hears("HELLO");
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_signal_ends_it_while_nobody_serves() {
    let (server, _folder) = stuck();
    server.stop().in_order();
}

#[test]
fn if_the_first_process_is_killed_before_it_served_no_other_is_started() {
    if !has_strace() {
        return;
    }
    let options = ["-o", "/dev/null", "-e", "trace=listen", "-e", "inject=listen:signal=KILL"];
    let output = run(traced(&options, &ON), Stdio::null());
    assert_eq!(code(&output), 128 + 9, "{output:?}");
    assert_eq!(text(&output.stderr), "landline: error: the worker was killed by SIGKILL\n");
}

pub(crate) fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap()).unwrap()
}
