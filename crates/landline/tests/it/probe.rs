//! A server that looks after itself.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use landline::{Connection, Event, Excess, Framing, Monitor, Server, Serving, Upper, framed};

use crate::support::{PATIENCE, Served};

/// Serves, with a monitor of the server.
fn watched(server: Server, serving: impl FnOnce(Server) -> Serving) -> (Served, Monitor) {
    let monitor = server.monitor();
    (Served::start(server, serving), monitor)
}

fn here() -> Server {
    Server::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_server_that_serves_lets_itself_in_whatever_its_rules_and_nobody_notices() {
    let path = std::env::temp_dir().join(format!("landline-probe-{}.sock", std::process::id()));
    let strict = |server: Server| {
        let nobody = "127.0.0.0/8".parse().unwrap();
        server.deny(nobody).proxy_from("10.0.0.0/8".parse().unwrap()).max_connections(1)
    };
    let (served, monitor) = watched(strict(Server::bind("localhost:0").unwrap()), |server| {
        let unix = Server::bind(format!("unix:{}", path.display())).unwrap();
        let any = Server::bind(":0").unwrap();
        let upper = || framed(Framing::Line, Upper);
        server.threads(2).serve(upper()).and(unix.serve(upper())).and(any.serve(upper()))
    });
    for _ in 0..20 {
        monitor.probe(PATIENCE).unwrap();
    }
    let happened = served.events.events();
    assert!(
        happened.iter().all(|event| matches!(event, Event::Listening { .. } | Event::Started { .. })),
        "{happened:?}"
    );
    assert_eq!(served.running().open_connections(), 0);
}

#[test]
fn a_thread_that_has_come_to_a_halt_is_noticed_and_so_is_that_it_goes_on() {
    let (halts, halted) = sync_channel(1);
    let (go_on, goes_on) = sync_channel::<()>(1);
    let goes_on = Mutex::new(goes_on);
    let halting = async move |_: Connection| {
        halts.send(()).unwrap();
        let _ = goes_on.lock().unwrap().recv();
        Ok(())
    };
    let (served, monitor) = watched(here().threads(1), |server| server.serve(halting));
    monitor.probe(PATIENCE).unwrap();
    let _caller = served.call();
    halted.recv_timeout(PATIENCE).unwrap();
    let ill = monitor.probe(Duration::from_millis(50)).unwrap_err();
    assert!(ill.is_timeout() && ill.to_string().contains("one has not come to it within 50ms"), "{ill}");
    go_on.send(()).unwrap();
    monitor.probe(PATIENCE).unwrap();
}

#[test]
fn a_server_that_is_full_and_has_callers_wait_is_well() {
    let full = here().max_connections(1).excess(Excess::Wait);
    let (served, monitor) = watched(full, |it| it.serve(framed(Framing::Line, Upper)));
    let mut caller = served.call();
    caller.say("in\n");
    caller.hear("IN\n");
    monitor.probe(Duration::from_millis(50)).unwrap();
    caller.half_close();
    caller.0.read_to_end(&mut Vec::new()).unwrap();
    monitor.probe(PATIENCE).unwrap();
}
