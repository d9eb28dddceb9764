//! `serve --sandbox on`: what serves finds what it needs, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use rustix::process::{Signal, kill_process};

use crate::serve_calls::{has_strace, traced};
use crate::serve_privilege::has_root;
use crate::serve_survival::{kill_worker, pid, worker_of};
use crate::serve_upgrade::Place;
use crate::serving::*;
use crate::support::*;

const SANDBOXED: [&str; 2] = ["--sandbox", "on"];

/// Whether the kernel has sandboxes.
pub(crate) fn has_landlock() -> bool {
    let output = run(landline(["serve", "0", "--sandbox", "on", "--http", "nowhere:0"]), Stdio::null());
    has("Landlock", !text(&output.stderr).contains("no Landlock"))
}

/// A place with a file by which a server is served, and one that is none of its business.
struct Confined {
    place: Place,
    config: String,
}

impl Confined {
    fn new(settings: &str) -> Self {
        let place = Place::new();
        let config = place.path("landline.toml");
        let control = place.path("ctl.sock");
        let text = format!("sandbox = 'on'\ncontrol = '{control}'\n{settings}\n[[listener]]\naddress = 0\n");
        fs::write(&config, text).unwrap();
        Self { place, config }
    }

    fn serve(&self, survival: &str) -> Serving {
        let mut command = landline(["serve", "--config", &self.config, "--print-port"]);
        command.args(["--crash-survival", survival]).stderr(Stdio::piped());
        let mut server = Serving::start(command);
        server.says("in a sandbox");
        server
    }

    /// Puts a link in the place of its file, and tells what a reload says to that.
    fn reload_from(&self, target: &str) -> String {
        let aside = format!("{}.aside", self.config);
        fs::rename(&self.config, &aside).unwrap();
        symlink(target, &self.config).unwrap();
        let output = self.place.ctl(&["reload"]);
        fs::rename(&aside, &self.config).unwrap();
        assert_ne!(code(&output), 0, "{output:?}");
        text(&output.stderr)
    }

    /// Checks that the server can't read what its user could.
    fn is_confined(&self) {
        // Everybody may read that one.
        let said = self.reload_from("/etc/os-release");
        assert!(said.contains("cannot read the configuration: permission denied"), "{said}");
    }
}

#[test]
fn what_is_sandboxed_reads_its_own_file_anew_and_no_other_even_as_root() {
    if !has_landlock() {
        return;
    }
    for survival in ["on", "off"] {
        let confined = Confined::new("");
        let server = confined.serve(survival);
        server.call().asks("hello");
        confined.is_confined();
        let said = confined.reload_from("/etc/shadow");
        assert!(said.contains("cannot read the configuration: permission denied"), "{said}");
        // Whoever edits a file puts another in its place.
        let text = fs::read_to_string(&confined.config).unwrap();
        let socket = confined.place.path("more.sock");
        let more = format!("{text}[[listener]]\naddress = 'unix:{socket}'\n");
        fs::write(confined.place.path("new.toml"), more).unwrap();
        fs::rename(confined.place.path("new.toml"), &confined.config).unwrap();
        let output = confined.place.ctl(&["reload"]);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(fs::exists(&socket).unwrap());
        server.call().asks("hello");
        server.stop().in_order();
        assert!(!fs::exists(&socket).unwrap() && !fs::exists(confined.place.path("ctl.sock")).unwrap());
    }
}

#[test]
fn without_a_sandbox_root_reads_whatever_the_file_leads_to() {
    if !has_root() {
        return;
    }
    let confined = Confined::new("");
    let text = fs::read_to_string(&confined.config).unwrap();
    fs::write(&confined.config, text.replace("'on'", "'off'")).unwrap();
    let mut command = landline(["serve", "--config", &confined.config, "--print-port"]);
    command.stderr(Stdio::piped());
    let server = Serving::start(command);
    let said = confined.reload_from("/etc/shadow");
    assert!(!said.contains("permission denied"), "{said}");
    server.stop().in_order();
}

#[test]
fn every_worker_is_in_the_sandbox_and_no_keeper_so_that_another_program_can_take_over() {
    if !has_landlock() {
        return;
    }
    let confined = Confined::new("");
    let new = confined.place.copy();
    let mut server = confined.serve("on");
    server.says("if its process is killed");
    kill_worker(&mut server);
    confined.is_confined();
    for upgrade in 1..=2 {
        let output = confined.place.ctl(&["upgrade", "--binary", &new]);
        assert_eq!(code(&output), 0, "{output:?}");
        server.says(&format!("upgrade {upgrade}"));
        server.call().asks("hello");
        confined.is_confined();
    }
    server.stop().in_order();
}

#[test]
fn a_worker_that_makes_itself_keeper_stays_in_its_sandbox_however_often() {
    if !has_landlock() {
        return;
    }
    let confined = Confined::new("");
    let new = confined.place.copy();
    let mut server = confined.serve("on");
    server.says("if its process is killed");
    let mut caller = server.call();
    caller.asks("hello");
    let mut keeper = server.id();
    // More than the kernel puts into one another.
    for _ in 0..18 {
        let heir = worker_of(keeper);
        kill(keeper);
        server.says("restarted after SIGKILL");
        caller.asks("hello");
        keeper = heir;
    }
    confined.is_confined();
    let output = confined.place.ctl(&["upgrade", "--binary", &new]);
    let said = text(&output.stderr);
    assert!(code(&output) == 1 && said.contains("it can't be started: permission denied"), "{said}");
    assert_eq!(code(&confined.place.ctl(&["upgrade"])), 0, "its own program it can start");
    caller.asks("hello");
    drop(caller);
    kill_process(pid(keeper), Signal::TERM).unwrap();
    server.says("stopped: ");
}

#[test]
fn what_ceases_to_be_root_can_be_in_a_sandbox_besides() {
    if !(has_root() && has_landlock()) {
        return;
    }
    for survival in ["on", "off"] {
        let confined = Confined::new("user = 'nobody'");
        let server = confined.serve(survival);
        server.call().asks("hello");
        confined.is_confined();
        assert_eq!(code(&confined.place.ctl(&["reload"])), 0);
        server.stop().in_order();
    }
}

#[test]
fn where_the_kernel_has_no_sandbox_that_is_said() {
    if !has_strace() {
        return;
    }
    let no_landlock =
        ["-e", "trace=landlock_create_ruleset", "-e", "inject=landlock_create_ruleset:error=ENOSYS"];
    let options = [&["-o", "/dev/null"][..], &no_landlock].concat();
    let ended = Serving::attempt(traced(&options, &SANDBOXED)).map(Serving::stop).unwrap_err();
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(ended.count("cannot make a sandbox: this kernel has no Landlock"), 1, "{ended:?}");
}
