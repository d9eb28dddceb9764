//! What another program cannot go on with stays with the process before, which ends with the last of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use crate::serve_config::Config;
use crate::serve_survival::{is_gone, worker_of};
use crate::serving::Serving;
use crate::support::*;

/// A server of lines on a port and on a Unix socket.
struct Place(Config);

impl Place {
    fn new() -> Self {
        let config = Config::new("");
        let listener = |address: String| format!("[[listener]]\naddress = {address}\nframing = 'line'\n");
        let unix = format!("'unix:{}'", config.0.join("lines.sock").display());
        config.now_says([listener("0".to_owned()), listener(unix)].concat());
        Self(config)
    }

    fn path(&self, name: &str) -> String {
        self.0.0.join(name).to_str().unwrap().to_owned()
    }

    fn serve(&self) -> Serving {
        let mut server = self.0.serve(&["--crash-survival", "on", "--control", &self.path("ctl.sock")]);
        server.says("if its process is killed");
        server
    }

    fn call(&self) -> Caller {
        let caller = UnixStream::connect(self.path("lines.sock")).unwrap();
        caller.set_read_timeout(Some(GUARD)).unwrap();
        Caller(caller)
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = landline(["ctl", "--control", &self.path("ctl.sock")]);
        command.args(arguments);
        run(command, Stdio::null())
    }

    fn is_draining(&self) -> bool {
        let status = self.ctl(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["draining"] != serde_json::json!([])
    }
}

/// A caller of a Unix socket. The kernel does not count what comes by one: with half a line said, no other
/// process can go on with it.
struct Caller(UnixStream);

impl Caller {
    fn asks(&mut self, said: &str, answer: &str) {
        self.0.write_all(said.as_bytes()).unwrap();
        let mut heard = vec![0; answer.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(text(&heard), answer);
    }
}

#[test]
fn it_is_served_to_its_end_by_the_process_before_and_everybody_else_by_the_new_one() {
    let place = Place::new();
    let mut server = place.serve();
    let (mut half, mut at_rest) = (place.call(), place.call());
    at_rest.asks("hello\n", "HELLO\n");
    half.asks("hello\nhal", "HELLO\n");
    let worker = worker_of(server.id());
    let output = place.ctl(&["upgrade"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let draining = format!("\npid {worker} before it - 1 connection to end there\n");
    assert!(text(&output.stdout).ends_with(&draining), "{output:?}");
    server.says("upgrade 1");
    assert!(text(&place.ctl(&["status"]).stdout).ends_with(&draining));
    at_rest.asks("hello\n", "HELLO\n");
    place.call().asks("hello\n", "HELLO\n");
    half.asks("f\n", "HALF\n");
    // At the end of a message it ends, as in any drain.
    assert_eq!(half.0.read(&mut [0]).unwrap(), 0);
    while place.is_draining() {}
    let ended = server.stop();
    assert_eq!(ended.count("another process serves; 1 connection"), 1, "{ended:#?}");
    assert_eq!(ended.count("stopped"), 1, "{ended:#?}");
    ended.in_order();
}

#[test]
fn an_upgrade_that_fails_and_one_after_it_leave_it_where_it_is() {
    let place = Place::new();
    let mut server = place.serve();
    let (mut half, mut at_rest) = (place.call(), place.call());
    half.asks("hello\nhal", "HELLO\n");
    let worker = worker_of(server.id());
    let impostor = place.path("impostor");
    let asked = "[ -n \"$LANDLINE_TAKEOVER_CHECK\" ] && exec";
    let script = format!("#!/bin/sh\n{asked} '{}' \"$@\"\nexit 3\n", env!("CARGO_BIN_EXE_landline"));
    write_program(&impostor, &script);
    let failed = place.ctl(&["upgrade", "--binary", &impostor]);
    assert!(text(&failed.stderr).contains("it ended with code 3"), "{failed:?}");
    server.says("cannot upgrade");
    let upgraded = place.ctl(&["upgrade"]);
    let draining = format!("\npid {worker} before it - 1 connection to end there\n");
    assert!(text(&upgraded.stdout).ends_with(&draining), "{upgraded:?}");
    at_rest.asks("hello\n", "HELLO\n");
    half.asks("f\n", "HALF\n");
    assert_eq!(half.0.read(&mut [0]).unwrap(), 0);
    server.stop().in_order();
}

#[test]
fn a_keeper_that_is_killed_while_nobody_serves_leaves_all_to_the_worker_that_made_way() {
    let place = Place::new();
    let mut server = place.serve();
    let mut at_rest = place.call();
    at_rest.asks("hello\n", "HELLO\n");
    // From here on the keeper is not the first program, whose end would be the server's.
    assert_eq!(code(&place.ctl(&["upgrade"])), 0);
    server.says("upgrade 1");
    let keeper = worker_of(server.id());
    let (impostor, started) = (place.path("impostor"), place.path("started"));
    let asked = "[ -n \"$LANDLINE_TAKEOVER_CHECK\" ] && exec";
    let program = env!("CARGO_BIN_EXE_landline");
    let hangs = format!("#!/bin/sh\n{asked} '{program}' \"$@\"\necho $$ >'{started}'\nexec sleep 1000\n");
    write_program(&impostor, &hangs);
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| place.ctl(&["upgrade", "--binary", &impostor]));
        let is_started = || std::fs::read_to_string(&started).ok().and_then(|id| id.trim().parse().ok());
        let candidate: u32 = std::iter::repeat_with(is_started).flatten().next().unwrap();
        kill(keeper);
        at_rest.asks("hello\n", "HELLO\n");
        place.call().asks("hello\n", "HELLO\n");
        let failed = upgrade.join().unwrap();
        assert!(text(&failed.stderr).contains("its keeper was killed meanwhile"), "{failed:?}");
        in_time(move || while !is_gone(candidate) {}).expect("the other program ends");
    });
    server.says("restarted after SIGKILL");
    server.stop().in_order();
}
