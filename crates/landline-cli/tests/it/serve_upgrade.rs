//! `ctl upgrade`: another program takes the place of the one that serves, and nobody is hung up on.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use rustix::process::{Signal, kill_process};

use crate::serve_survival::{is_gone, pid, worker_of};
use crate::serving::*;
use crate::support::*;

/// A folder for a server's control socket and for programs that are to take over.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("landline-upgrade-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A server that says when it can be upgraded.
    fn serve(&self, flags: &[&str]) -> Serving {
        let control = self.path("ctl.sock");
        let mut server = serve(&[&["--control", &control][..], flags].concat());
        server.says("if its process is killed");
        server
    }

    fn serve_lines(&self) -> Serving {
        self.serve(&["--crash-survival", "on", "--framing", "line"])
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = landline(["ctl", "--control", &self.path("ctl.sock")]);
        command.args(arguments);
        run(command, Stdio::null())
    }

    /// What an upgrade says that fails.
    fn fails(&self, binary: &str, timeout: &str) -> String {
        let output = self.ctl(&["upgrade", "--binary", binary, "--timeout", timeout]);
        assert_eq!((code(&output), output.stdout.len()), (1, 0), "{output:?}");
        text(&output.stderr)
    }

    /// A copy of the program. Another process writes it: what this one has open for writing, the children that
    /// other tests start have open for a moment, too, and meanwhile it can't be run.
    pub(crate) fn copy(&self) -> String {
        let path = self.path("landline");
        assert!(Command::new("cp").args([env!("CARGO_BIN_EXE_landline"), &path]).status().unwrap().success());
        path
    }

    fn script(&self, name: &str, lines: &str) -> String {
        let path = self.path(name);
        let program = env!("CARGO_BIN_EXE_landline");
        write_program(&path, &format!("#!/bin/sh\nprogram='{program}'\n{lines}\n"));
        path
    }

    /// One that says that it can take over, and then does something else.
    fn impostor(&self, name: &str, lines: &str) -> String {
        let asked = "[ -n \"$LANDLINE_TAKEOVER_CHECK\" ] && exec \"$program\" \"$@\"";
        self.script(name, &format!("{asked}\n{lines}"))
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.ctl(&["status", "--json"]).stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The only child of a process.
fn child_of(process: u32) -> u32 {
    worker_of(process)
}

fn asks(caller: &mut Caller) {
    caller.says("hello\n");
    caller.hears("HELLO\n");
}

#[test]
fn a_connection_at_rest_a_listener_and_a_process_number_outlive_twenty_upgrades() {
    let place = Place::new();
    let new = place.copy();
    let mut server = place.serve_lines();
    let mut caller = server.call();
    asks(&mut caller);
    let first = place.ctl(&["list", "--json"]);
    let id = |list: &Output| {
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
        (list[0]["id"].as_u64(), list.as_array().map(Vec::len))
    };
    for number in 1..=20 {
        let output = place.ctl(&["upgrade", "--binary", &new]);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(text(&output.stdout).contains(&format!("(pid {})", server.id())), "{output:?}");
        server.says(&format!("upgrade {number}"));
        asks(&mut caller);
        let mut another = server.call();
        asks(&mut another);
        another.half_closes();
        // Nobody else has it open: it ends when the one that serves closes it.
        another.hears_out("");
    }
    assert_eq!(id(&place.ctl(&["list", "--json"])), id(&first));
    // The first program, a keeper and its worker; no chain of those before.
    let keeper = child_of(server.id());
    let worker = worker_of(keeper);
    let program = |process: u32| fs::read_link(format!("/proc/{process}/exe")).unwrap();
    assert_eq!((program(keeper), program(worker)), (PathBuf::from(&new), PathBuf::from(&new)));
    let status = place.status();
    assert_eq!(
        (status["upgrades"].as_u64(), status["last_upgrade"]["state"].as_str()),
        (Some(20), Some("done"))
    );
    // What was said at the start is not said again.
    drop(caller);
    let ended = server.stop();
    assert_eq!(ended.count("listening on"), 1, "{ended:#?}");
    ended.in_order();
    assert!(is_gone(keeper) && is_gone(worker));
}

#[test]
fn nobody_who_calls_is_refused_during_upgrades() {
    let place = Place::new();
    let mut server = place.serve(&["--crash-survival", "on"]);
    let (address, is_over) = (server.address, AtomicBool::new(false));
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                // It panics if it is refused.
                answered += usize::from(Caller::connect(address).gets_an_answer());
            }
            answered
        });
        for _ in 0..5 {
            let output = place.ctl(&["upgrade"]);
            assert_eq!(code(&output), 0, "{output:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(calling.join().unwrap() > 0);
    });
    server.says("upgrade 5");
    server.stop().in_order();
}

#[test]
fn a_program_that_cannot_take_over_is_refused_with_words_before_anything_stops() {
    let place = Place::new();
    let mut server = place.serve_lines();
    let worker = worker_of(server.id());
    let mut caller = server.call();
    let silent = place.script("silent", "exec sleep 1000");
    let plain = place.path("plain");
    fs::write(&plain, "no program").unwrap();
    for (binary, timeout, words) in [
        ("/nowhere/at-all", "10s", "/nowhere/at-all: it can't be started: no such file or directory"),
        (&*plain, "10s", "it can't be started: permission denied"),
        ("/bin/false", "10s", "/bin/false: it ended with code 1"),
        ("/bin/true", "10s", "/bin/true: it does not say that it can take over"),
        (&*silent, "100ms", "silent: it did not say within 100ms whether it can take over"),
    ] {
        let said = place.fails(binary, timeout);
        assert!(said.starts_with("landline: error: cannot upgrade: "), "{said}");
        assert!(said.contains(words) && said.contains("the program before serves on"), "{said}");
        server.says(words);
        asks(&mut caller);
    }
    assert_eq!((worker_of(server.id()), place.status()["upgrades"].as_u64()), (worker, Some(0)));
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_program_that_fails_after_its_check_is_ended_with_all_it_started_and_the_one_before_serves_on() {
    let place = Place::new();
    let mut server = place.serve_lines();
    let mut caller = server.call();
    asks(&mut caller);
    let children = place.path("children");
    let stubborn = format!("sleep 1000 & echo $! >'{children}'; trap '' TERM; sleep 1000");
    let other = "LANDLINE_TAKEOVER=7 \"$program\" \"$@\" 2>/dev/null; exit 3";
    for (name, lines, timeout, words) in [
        ("ends", "exit 7", "10s", "ends: it ended with code 7 before it served"),
        ("dies", "kill -9 $$", "10s", "dies: it was killed by SIGKILL before it served"),
        ("hangs", &*stubborn, "300ms", "hangs: it did not serve within 300ms"),
        ("other", other, "10s", "other: it ended with code 3 before it served"),
    ] {
        let said = place.fails(&place.impostor(name, lines), timeout);
        assert!(said.contains(words), "{said}");
        server.says(words);
        asks(&mut caller);
        worker_of(server.id());
    }
    let started: u32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    assert!(is_gone(started));
    // Nothing of that stands in the way of one that can.
    let output = place.ctl(&["upgrade", "--binary", &place.copy()]);
    assert_eq!(code(&output), 0, "{output:?}");
    asks(&mut caller);
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_configuration_that_the_other_program_rejects_is_refused_and_a_new_one_is_what_it_serves_by() {
    let place = Place::new();
    let file = place.path("landline.toml");
    let says = |service: &str| {
        let listener = format!("[[listener]]\naddress = 0\nframing = 'line'\nservice = '{service}'\n");
        fs::write(&file, format!("crash_survival = 'on'\n{listener}")).unwrap();
    };
    says("upper");
    let mut command =
        landline(["serve", "--print-port", "--config", &file, "--control", &place.path("ctl.sock")]);
    command.stderr(Stdio::piped());
    let mut server = Serving::start(command);
    server.says("if its process is killed");
    let mut caller = server.call();
    asks(&mut caller);
    let new = place.copy();
    for (words, cause) in [
        ("nonsense = 1\n", "nonsense"),
        ("crash_survival = 'off'\n[[listener]]\naddress = 0\n", "crash_survival is off by now"),
    ] {
        fs::write(&file, words).unwrap();
        let said = place.fails(&new, "10s");
        assert!(said.contains(cause), "{said}");
        asks(&mut caller);
    }
    says("echo");
    assert_eq!(code(&place.ctl(&["upgrade", "--binary", &new])), 0);
    server.says("upgrade 1");
    let mut another = server.call();
    another.says("hello\n");
    another.hears("hello\n");
    drop((caller, another));
    server.stop().in_order();
}

#[test]
fn a_signal_asks_for_the_program_that_lies_where_this_one_was_started_from() {
    let place = Place::new();
    let path = place.copy();
    let mut command = std::process::Command::new(&path);
    command.args([
        "serve",
        "0",
        "--print-port",
        "--crash-survival",
        "on",
        "--control",
        &place.path("ctl.sock"),
    ]);
    let mut server = Serving::start({
        command.stderr(Stdio::piped());
        command
    });
    server.says("if its process is killed");
    fs::rename(&path, place.path("before")).unwrap();
    server.signal(Signal::USR2);
    server.says("cannot upgrade: ");
    place.copy();
    server.signal(Signal::USR2);
    server.says("upgrade 1");
    assert_eq!(fs::read_link(format!("/proc/{}/exe", child_of(server.id()))).unwrap(), PathBuf::from(&path));
    server.stop().in_order();
}

#[test]
fn after_an_upgrade_signals_kills_and_exit_codes_are_what_they_were() {
    let place = Place::new();
    let mut server = place.serve(&["--crash-survival", "on", "--framing", "line", "--drain-timeout", "1h"]);
    assert_eq!(code(&place.ctl(&["upgrade"])), 0);
    server.says("upgrade 1");
    let mut caller = server.call();
    asks(&mut caller);
    let keeper = child_of(server.id());
    kill(worker_of(keeper));
    server.says("restarted after SIGKILL");
    asks(&mut caller);
    caller.says("half");
    while !text(&place.ctl(&["list"]).stdout).contains("receiving") {}
    // As Ctrl-C does, to every process of the group: it is decided once.
    for process in [server.id(), keeper, worker_of(keeper)] {
        kill_process(pid(process), Signal::INT).unwrap();
    }
    server.says("still in a message");
    server.signal(Signal::TERM);
    let ended = server.end();
    assert_eq!(ended.code, 11, "{ended:#?}");
}

#[test]
fn a_worker_whose_keeper_is_killed_makes_itself_keeper() {
    let place = Place::new();
    let mut server = place.serve_lines();
    let mut caller = server.call();
    asks(&mut caller);
    let heir = worker_of(server.id());
    server.signal(Signal::KILL);
    server.says("restarted after SIGKILL");
    asks(&mut caller);
    assert_eq!(place.status()["pid"].as_u64(), Some(heir.into()));
    kill(worker_of(heir));
    server.says("restarted after SIGKILL");
    asks(&mut caller);
    assert_eq!(code(&place.ctl(&["upgrade"])), 0);
    server.says("upgrade 1");
    asks(&mut caller);
    drop(caller);
    kill_process(pid(heir), Signal::TERM).unwrap();
    server.says("stopped: ");
}

#[test]
fn the_first_program_outlives_a_keeper_that_is_killed_after_an_upgrade() {
    let place = Place::new();
    let mut server = place.serve_lines();
    let mut caller = server.call();
    asks(&mut caller);
    assert_eq!(code(&place.ctl(&["upgrade"])), 0);
    server.says("upgrade 1");
    let keeper = child_of(server.id());
    let heir = worker_of(keeper);
    kill(keeper);
    server.says("restarted after SIGKILL");
    asks(&mut caller);
    assert_eq!((child_of(server.id()), place.status()["pid"].as_u64()), (heir, Some(server.id().into())));
    assert_eq!(code(&place.ctl(&["upgrade"])), 0);
    server.says("upgrade 2");
    asks(&mut caller);
    drop(caller);
    server.stop().in_order();
}

#[test]
fn without_crash_survival_there_is_nothing_to_upgrade() {
    let place = Place::new();
    let server = serve(&["--control", &place.path("ctl.sock"), "--crash-survival", "off"]);
    let output = place.ctl(&["upgrade"]);
    let said = "landline: error: cannot upgrade: the process that serves has no keeper\n";
    assert_eq!((code(&output), text(&output.stderr)), (1, said.to_owned()));
    server.stop().in_order();
}

#[test]
fn a_memory_that_no_keeper_has_made_or_that_is_meant_for_another_is_refused_with_words() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, [0; 4096]).unwrap();
    let refuses = |memory: &str, stdin: Stdio, cause: &str| {
        let mut command = landline(["serve", "0", "--crash-survival", "on", "--control", "none"]);
        // Its stdin is what a shell would have put under another number.
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", "exec 9<&0; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        shell.env("LANDLINE_TAKEOVER", memory);
        command = shell;
        let output = run(command, stdin);
        let said = format!("landline: error: cannot take over from the program before: {cause}\n");
        assert_eq!((code(&output), text(&output.stderr)), (1, said));
    };
    refuses("99", Stdio::null(), "LANDLINE_TAKEOVER names no open descriptor");
    refuses("nine", Stdio::null(), "LANDLINE_TAKEOVER names no open descriptor");
    refuses("9", fs::File::open(&file).unwrap().into(), "it is no memory of a keeper");
    refuses("9", Stdio::null(), "it is no memory of a keeper");
    // That of a server that runs, which no process but the one that it has chosen may have.
    let server = place.serve_lines();
    let descriptors =
        fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().map(|entry| entry.unwrap().path());
    let is_memory =
        |path: &PathBuf| fs::read_link(path).unwrap().to_str().unwrap().contains("memfd:landline");
    let memory = descriptors.into_iter().find(is_memory).unwrap();
    let memory = fs::OpenOptions::new().read(true).write(true).open(memory).unwrap();
    refuses("9", memory.into(), "another process was to, or it is too late");
    let mut caller = server.call();
    asks(&mut caller);
    drop(caller);
    server.stop().in_order();
}
