//! `serve` under systemd, as far as that is what a program is told and tells.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::serve_calls::{has_strace, traced};
use crate::serve_config::Config;
use crate::serve_sandbox::has_landlock;
use crate::serve_survival::{kill_worker, worker_of};
use crate::serving::*;
use crate::support::*;

/// How long the manager waits to hear that the server is well.
const WATCHDOG: Duration = Duration::from_millis(600);

/// A service manager that is told things.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("landline-notify-{}-{count}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(GUARD)).unwrap();
        Self { socket, path }
    }

    fn told(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path);
    }

    /// The next that it is told.
    fn hears(&self) -> String {
        let mut words = [0; 4096];
        let len = self.socket.recv(&mut words).unwrap();
        text(&words[..len])
    }

    /// Waits until it is told this, among other things.
    fn hears_of(&self, what: &str) -> String {
        loop {
            let words = self.hears();
            if words.contains(what) {
                return words;
            }
        }
    }

    /// Hears nothing of this for several times as long as it would come again.
    fn hears_no_more_of(&self, what: &str) {
        // What was on its way is told yet.
        let begun = Instant::now();
        self.socket.set_read_timeout(Some(3 * WATCHDOG)).unwrap();
        let mut words = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut words) {
            if text(&words[..len]).contains(what) {
                assert!(begun.elapsed() < 3 * WATCHDOG, "it is still told");
            }
        }
        self.socket.set_read_timeout(Some(GUARD)).unwrap();
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The server of `command`, which is told that it is looked after.
fn looked_after(mut command: Command, manager: &Manager) -> Serving {
    manager.told(&mut command);
    // No WATCHDOG_PID: then it is for whoever reads it.
    command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    Serving::start(command)
}

/// A server that is given this listener under a name.
fn activated(listener: TcpListener, arguments: &str) -> (SocketAddr, Command) {
    let address = listener.local_addr().unwrap();
    let mut shell = Command::new("sh");
    let run = format!(
        "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=other:web; \
         exec {} serve {arguments} --print-port 3</dev/null 4<&0 </dev/null",
        env!("CARGO_BIN_EXE_landline")
    );
    let like = landline(["serve"]);
    shell.args(["-c", &run]).stdin(OwnedFd::from(listener)).stderr(Stdio::piped());
    shell.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    (address, shell)
}

#[test]
fn a_socket_that_systemd_has_opened_is_served_and_stays_open_whatever_becomes_of_the_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, command) = activated(listener, "systemd:web");
    let mut server = Serving::start_with_its_stdin(command);
    assert_eq!(server.address, address);
    server.says("if its process is killed");
    let mut caller = server.call();
    caller.asks("one");
    kill_worker(&mut server);
    caller.asks("two");
    server.call().asks("three");
    server.signal(Signal::USR2);
    server.says("upgraded");
    caller.asks("four");
    server.call().asks("five");
    drop(caller);
    server.stop().in_order();
}

#[test]
fn a_reload_keeps_a_socket_of_systemd_and_can_have_one_again() {
    let config = Config::new("[[listener]]\naddress = \"systemd:web\"\n");
    let path = config.0.join("landline.toml");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, command) = activated(listener, &format!("--config {}", path.display()));
    let mut server = Serving::start_with_its_stdin(command);
    server.says("if its process is killed");
    for text in [
        "[[listener]]\naddress = \"systemd:web\"\nservice = \"echo\"\n",
        "[[listener]]\naddress = 0\n",
        "[[listener]]\naddress = \"systemd:web\"\n",
    ] {
        config.now_says(text);
        server.signal(Signal::HUP);
        server.says("reloaded");
    }
    kill_worker(&mut server);
    server.call().asks("hello");
    server.stop().in_order();
}

#[test]
fn a_socket_that_nobody_has_opened_is_an_error_that_names_those_that_there_are() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, mut command) = activated(listener, "systemd:db");
    let output = command.stdout(Stdio::piped()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), 10, "{said}");
    assert!(said.contains("cannot listen on systemd:db: none of the sockets"), "{said}");
    assert!(said.contains("theirs: other, web") && said.contains("hint: a socket unit"), "{said}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, mut command) = activated(listener, "systemd:other");
    let said = text(&command.stdout(Stdio::piped()).output().unwrap().stderr);
    assert!(said.contains("cannot listen on systemd:other: "), "{said}");

    let output = run(landline(["serve", "systemd:web"]), Stdio::null());
    let said = text(&output.stderr);
    assert!(code(&output) == 10 && said.contains("was not started with sockets"), "{said}");
}

#[test]
fn the_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    let manager = Manager::new();
    let config = Config::new("[[listener]]\naddress = 0\n");
    let mut command = landline(["serve", "--config", "landline.toml", "--print-port"]);
    command.current_dir(&config.0).stderr(Stdio::piped());
    manager.told(&mut command);
    let mut server = Serving::start(command);
    let ready = manager.hears();
    assert!(ready.starts_with(&format!("READY=1\nMAINPID={}\nSTATUS=serving", server.id())), "{ready}");
    server.says("if its process is killed");
    server.signal(Signal::HUP);
    let reloading = manager.hears();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(manager.hears().starts_with("READY=1\n"));
    config.now_says("[[listener]]\naddress = 0\nnonsense = 1\n");
    server.signal(Signal::HUP);
    assert!(manager.hears().starts_with("RELOADING=1\n"));
    let failed = manager.hears();
    assert!(failed.starts_with("READY=1\n") && failed.contains("serving on as before"), "{failed}");
    kill(worker_of(server.id()));
    assert!(manager.hears().starts_with("READY=1\n"));
    server.signal(Signal::TERM);
    let stopping = manager.hears();
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\n"), "{stopping}");
    server.end().in_order();
}

#[test]
fn a_server_that_is_well_says_so_again_and_again_and_its_callers_hear_nothing_of_it() {
    let manager = Manager::new();
    let server = looked_after(command(&["--deny", "127.0.0.1", "--threads", "2"]), &manager);
    for _ in 0..5 {
        manager.hears_of("WATCHDOG=1");
    }
    let ended = server.stop();
    assert_eq!(ended.count("connected") + ended.count("refused") + ended.count("denied"), 0, "{ended:#?}");
}

#[test]
fn a_server_that_is_stopped_does_not_say_that_it_is_well_until_it_goes_on() {
    let manager = Manager::new();
    let server = looked_after(command(&["--crash-survival", "off"]), &manager);
    manager.hears_of("WATCHDOG=1");
    server.signal(Signal::STOP);
    manager.hears_no_more_of("WATCHDOG=1");
    server.signal(Signal::CONT);
    manager.hears_of("WATCHDOG=1");
    server.stop().in_order();
}

#[test]
fn a_server_that_accepts_nobody_any_more_does_not_say_that_it_is_well() {
    if !has_strace() {
        return;
    }
    let manager = Manager::new();
    // After some, nobody is there whoever calls: as in a loop that has lost its wake-up.
    let fault = "inject=accept4:error=EAGAIN:when=8+";
    let options = ["-o", "/dev/null", "-e", "trace=accept4", "-e", fault];
    let server = looked_after(traced(&options, &["--crash-survival", "off", "--threads", "1"]), &manager);
    manager.hears_of("WATCHDOG=1");
    manager.hears_no_more_of("WATCHDOG=1");
    drop(server);
}

#[test]
fn a_server_in_a_sandbox_can_tell_that_it_is_well() {
    if !has_landlock() {
        return;
    }
    let manager = Manager::new();
    let server = looked_after(command(&["--sandbox", "on"]), &manager);
    manager.hears_of("WATCHDOG=1");
    manager.hears_of("WATCHDOG=1");
    server.stop().in_order();
}

#[test]
fn a_server_whose_thread_is_stuck_does_not_say_that_it_is_well() {
    if !has_strace() {
        return;
    }
    let manager = Manager::new();
    // Whoever speaks has the thread that serves them wait in a system call.
    let fault = "inject=recvfrom:delay_enter=6s";
    let options = ["-o", "/dev/null", "-e", "trace=recvfrom", "-e", fault];
    let server = looked_after(traced(&options, &["--crash-survival", "off", "--threads", "2"]), &manager);
    manager.hears_of("WATCHDOG=1");
    manager.hears_of("WATCHDOG=1");
    let mut caller = server.call();
    caller.says("hello");
    manager.hears_no_more_of("WATCHDOG=1");
    drop(server);
}
