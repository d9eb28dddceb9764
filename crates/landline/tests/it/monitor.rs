//! Looking at a running server, and steering it.

use std::time::Instant;

use landline::{CloseError, CloseReason, Event, Framing, Server, State, Upper, framed};

use crate::listeners::TempPath;
use crate::support::{Caller, PATIENCE, serve};

#[test]
fn every_open_connection_is_seen_with_what_it_does_and_has_done() {
    let mut monitor = None;
    let served = serve(
        |server| {
            monitor = Some(server.monitor());
            server.threads(2).max_connections(5)
        },
        framed(Framing::Line, Upper),
    );
    let monitor = monitor.unwrap();
    // Whoever is answered before the next one calls is the first.
    let mut idle = served.call();
    idle.say("one\ntwo\n");
    idle.hear("ONE\nTWO\n");
    let mut receiving = served.call();
    receiving.say("three\nhal");
    receiving.hear("THREE\n");
    // A slot says so before the reply can be heard, but for the last state.
    let seen = loop {
        let seen = monitor.connections();
        if seen.iter().map(|connection| connection.state).eq([State::Idle, State::Receiving]) {
            break seen;
        }
    };
    assert_eq!((monitor.open(), monitor.max_connections()), (2, 5));
    assert_eq!(seen[0].peer.to_string(), idle.0.local_addr().unwrap().to_string());
    let figures = |at: usize| (seen[at].id, seen[at].messages, seen[at].bytes_in, seen[at].bytes_out);
    assert_eq!((figures(0), figures(1)), ((1, 2, 8, 8), (2, 1, 9, 6)));
    assert!(seen[0].round_trip.is_some_and(|time| time < PATIENCE) && seen[0].retransmits == Some(0));
    assert_eq!(monitor.connection(2).map(|connection| connection.id), Some(2));
    let totals = monitor.totals();
    assert_eq!(State::ALL.map(|state| totals.in_state(state)), [1, 1, 0, 0, 0, 0]);
    assert_eq!((totals.messages, totals.bytes_in, totals.bytes_out), (3, 17, 14));
    drop((idle, receiving));
    served.wait_for_close();
    served.wait_for_close();
    assert!(monitor.connections().is_empty());
    assert_eq!(State::ALL.map(|state| monitor.totals().in_state(state)), [0; 6]);
}

#[test]
fn a_monitor_that_outlives_its_server_keeps_nobody_waiting_at_its_address() {
    let path = TempPath::new("outlived");
    let server = Server::bind(path.address()).unwrap();
    let monitor = server.monitor();
    let running = server.serve(framed(Framing::Line, Upper)).start().unwrap();
    assert_eq!(monitor.addresses().len(), 1);
    drop(running);
    assert!(monitor.addresses().is_empty());
    let began = Instant::now();
    // The threads let go of it as they end.
    while path.0.exists() {
        assert!(began.elapsed() < PATIENCE, "the socket is still there");
        std::thread::yield_now();
    }
}

#[test]
fn closing_one_connection_disturbs_no_other() {
    let mut monitor = None;
    let served = serve(
        |server| {
            monitor = Some(server.monitor());
            server.threads(2)
        },
        framed(Framing::Line, Upper),
    );
    let monitor = monitor.unwrap();
    let mut callers: Vec<Caller> = (0..10).map(|_| served.call()).collect();
    for caller in &mut callers {
        caller.say("in\n");
        caller.hear("IN\n");
    }
    let port = callers[3].0.local_addr().unwrap().port();
    let seen = monitor.connections();
    let id = seen.iter().find(|seen| seen.peer.to_string().ends_with(&format!(":{port}"))).unwrap().id;
    monitor.close(id).unwrap();
    assert_eq!(callers[3].hear_out().unwrap(), "");
    drop(callers.remove(3));
    let closed = served.wait_for_close();
    assert!(
        matches!(closed, Event::Closed { id: closed, reason: CloseReason::Operator, .. } if closed == id)
    );
    assert_eq!(monitor.close(id), Err(CloseError::Unknown));
    for caller in &mut callers {
        caller.say("still in\n");
        caller.hear("STILL IN\n");
    }
}

#[test]
fn a_server_that_runs_on_its_own_drains_when_its_monitor_says_so() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let (address, monitor) = (server.local_addr(), server.monitor());
    assert!(monitor.connections().is_empty() && monitor.open() == 0);
    let running = std::thread::spawn(move || server.serve(framed(Framing::Line, Upper)).run().unwrap());
    let mut caller = Caller::connect(address);
    caller.say("in\n");
    caller.hear("IN\n");
    monitor.drain();
    assert_eq!(caller.hear_out().unwrap(), "");
    drop(caller);
    let report = running.join().unwrap();
    assert_eq!((report.finished, report.cut.len()), (1, 0));
}
