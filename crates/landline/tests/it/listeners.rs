//! Several listeners in one server, of several kinds.

use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use landline::event::{PeerAddr, Recorder};
use landline::{CloseReason, Echo, Event, Framing, ListenAddr, Server, Upper, framed};

use crate::support::{Caller, PATIENCE, Served, serve};

/// A path for a socket, gone when this is dropped.
pub(crate) struct TempPath(pub(crate) PathBuf);

impl TempPath {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("landline-it-{name}-{}.sock", std::process::id())))
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    pub(crate) fn call(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What one caller of a Unix socket is answered.
pub(crate) fn ask(stream: &mut UnixStream, message: &str) -> String {
    stream.write_all(message.as_bytes()).unwrap();
    let mut heard = vec![0; message.len()];
    stream.read_exact(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

#[test]
fn each_listener_has_its_own_service_and_its_own_limits_and_all_share_one_number() {
    let path = TempPath::new("both");
    let upper = Server::bind("127.0.0.1:0").unwrap().max_connections(2).threads(2);
    let address = upper.local_addr();
    let monitor = upper.monitor();
    let echo = Server::bind(path.address()).unwrap().max_message(8).serve(framed(Framing::Line, Echo));
    let running = Served::start(upper, |server| server.serve(framed(Framing::Line, Upper)).and(echo));
    assert_eq!(monitor.addresses(), [ListenAddr::Ip(address), ListenAddr::Unix(path.0.clone())]);
    let (mut network, mut local) = (Caller::connect(address), path.call());
    network.say("a longer message\n");
    network.hear("A LONGER MESSAGE\n");
    assert_eq!(ask(&mut local, "short\n"), "short\n");
    assert_eq!(Caller::connect(address).hear_out().unwrap(), "busy\n", "both are counted");
    local.write_all(b"much too long\n").unwrap();
    let closed = running.wait_for_close();
    assert!(matches!(closed, Event::Closed { reason: CloseReason::MessageTooLong, .. }), "{closed}");
    network.say("still in\n");
    network.hear("STILL IN\n");
}

#[test]
fn who_calls_by_a_unix_socket_is_known_by_process_and_user_and_no_network_rule_concerns_it() {
    let path = TempPath::new("who");
    let server = Server::bind(path.address()).unwrap().deny("0.0.0.0/0".parse().unwrap());
    let monitor = server.monitor();
    let running = Served::start(server, |server| server.serve(framed(Framing::Line, Upper)));
    let mut caller = path.call();
    assert_eq!(ask(&mut caller, "hello\n"), "HELLO\n");
    let uid = rustix::process::geteuid().as_raw();
    let me = PeerAddr::Local { pid: std::process::id(), uid };
    assert_eq!(monitor.connections()[0].peer, me);
    drop(caller);
    let Event::Closed { peer, reason, .. } = running.wait_for_close() else { panic!() };
    assert_eq!((peer, reason), (me, CloseReason::PeerClosed));
}

#[test]
fn a_unix_socket_is_for_its_owner_only_unless_told_otherwise_and_is_gone_with_its_server() {
    for (set, expected) in [(None, 0o600), (Some(0o666), 0o666)] {
        let path = TempPath::new(&format!("mode-{expected:o}"));
        let mut server = Server::bind(path.address()).unwrap();
        if let Some(mode) = set {
            server = server.unix_mode(mode);
        }
        let running = Served::start(server, |server| server.serve(framed(Framing::Line, Upper)));
        let mode = std::fs::metadata(&path.0).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{mode:o}");
        let (draining, _events) = running.drain();
        assert!(draining.join().unwrap().cut.is_empty());
        assert!(!path.0.exists());
    }
}

#[test]
fn a_caller_of_a_unix_socket_hears_its_last_reply_and_the_end() {
    let path = TempPath::new("end");
    let running = Served::start(Server::bind(path.address()).unwrap(), |server| {
        server.serve(framed(Framing::Line, Upper))
    });
    let mut caller = path.call();
    caller.write_all(b"one\ntwo").unwrap();
    caller.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    caller.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "ONE\nTWO");
    let mut idle = path.call();
    assert_eq!(ask(&mut idle, "in\n"), "IN\n");
    let (draining, _events) = running.drain();
    assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0);
    assert!(draining.join().unwrap().cut.is_empty());
}

#[test]
fn a_socket_that_listens_already_is_taken_over_by_its_number() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Somebody called before there was a server.
    let mut early = Caller::connect(address);
    let number = listener.into_raw_fd();
    let server = Server::bind(format!("fd:{number}")).unwrap();
    assert_eq!(server.local_addr(), address);
    assert!(Server::bind(format!("fd:{number}")).unwrap_err().is_listen(), "it is there once");
    let _running = Served::start(server, |server| server.serve(framed(Framing::Line, Upper)));
    early.say("early\n");
    early.hear("EARLY\n");
}

#[test]
fn what_holds_for_the_whole_server_is_said_on_the_first_of_its_listeners() {
    let bind = || Server::bind("127.0.0.1:0").unwrap();
    let serve = |server: Server| server.serve(framed(Framing::Line, Upper));
    let misfits = [bind().max_connections(5), bind().events(Recorder::default())];
    for misfit in misfits {
        let error = serve(bind()).and(serve(misfit)).start().unwrap_err();
        assert!(error.is_config(), "{error}");
    }
    let same = serve(bind().max_connections(5)).and(serve(bind().max_connections(5)));
    assert!(same.start().is_ok());
}

#[test]
fn a_caller_who_is_not_let_in_by_one_listener_may_be_by_another() {
    let strict = Server::bind("127.0.0.1:0").unwrap().deny("127.0.0.0/8".parse().unwrap());
    let open = Server::bind("127.0.0.1:0").unwrap();
    let (strict_address, open_address) = (strict.local_addr(), open.local_addr());
    let open = open.serve(framed(Framing::Line, Upper));
    let _running = Served::start(strict, |server| server.serve(framed(Framing::Line, Upper)).and(open));
    assert_eq!(Caller::connect(strict_address).hear_out().unwrap(), "denied\n");
    let mut caller = Caller::connect(open_address);
    caller.say("in\n");
    caller.hear("IN\n");
}

#[test]
fn the_idlest_of_all_threads_makes_room_whichever_thread_is_called() {
    let mut monitor = None;
    let running = serve(
        |server| {
            monitor = Some(server.monitor());
            server.threads(2).max_connections(4).idle_reclaim(Some(Duration::from_millis(1)))
        },
        framed(Framing::Line, Upper),
    );
    let monitor = monitor.unwrap();
    let mut callers: Vec<Caller> = Vec::new();
    for _ in 0..4 {
        let mut caller = running.call();
        caller.say("in\n");
        caller.hear("IN\n");
        // The next one is idle for clearly less long.
        while monitor.connections().iter().any(|seen| seen.in_state < Duration::from_millis(50)) {}
        callers.push(caller);
    }
    for expected in 1..=4 {
        let mut newcomer = running.call();
        newcomer.say("new\n");
        newcomer.hear("NEW\n");
        callers.push(newcomer);
        let Event::Closed { id, reason, .. } = running.wait_for_close() else { panic!() };
        assert_eq!((id, reason), (expected, CloseReason::Reclaimed));
    }
}
