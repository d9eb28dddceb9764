//! A running server gets other listeners and other limits.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use landline::event::Recorder;
use landline::{Echo, Event, Framing, ListenAddr, Server, Upper, framed};

use crate::listeners::{TempPath, ask};
use crate::support::{Caller, Served};

fn upper() -> impl landline::Handler {
    framed(Framing::Line, Upper)
}

fn echo() -> impl landline::Handler {
    framed(Framing::Line, Echo)
}

#[test]
fn listeners_come_and_go_and_change_while_live_connections_stay() {
    let (kept, gone, new) =
        (Server::bind("127.0.0.1:0").unwrap(), TempPath::new("gone"), TempPath::new("new"));
    let address = kept.local_addr();
    let monitor = kept.monitor();
    let leaving = Server::bind(gone.address()).unwrap().serve(upper());
    let running = Served::start(kept, |server| server.serve(upper()).and(leaving));
    let (mut network, mut local) = (Caller::connect(address), gone.call());
    network.say("before\n");
    network.hear("BEFORE\n");
    assert_eq!(ask(&mut local, "before\n"), "BEFORE\n");

    let changed = monitor.bind("127.0.0.1:0").unwrap();
    assert_eq!(changed.local_addr(), address, "port 0 stays what it was");
    let arriving = monitor.bind(new.address()).unwrap().serve(echo());
    running.reload(changed.serve(echo()).and(arriving)).unwrap();

    assert_eq!(monitor.addresses(), [ListenAddr::Ip(address), ListenAddr::Unix(new.0.clone())]);
    network.say("who was there is served as before\n");
    network.hear("WHO WAS THERE IS SERVED AS BEFORE\n");
    assert_eq!(ask(&mut local, "here too\n"), "HERE TOO\n");
    let mut caller = Caller::connect(address);
    caller.say("who comes now is served anew\n");
    caller.hear("who comes now is served anew\n");
    assert_eq!(ask(&mut new.call(), "hello\n"), "hello\n");
    assert!(!gone.0.exists());
    let told: Vec<String> = running.events.events().iter().map(ToString::to_string).collect();
    for line in [
        format!("listening on {}", new.address()),
        format!("no longer listening on {}", gone.address()),
        "reloaded: 2 listeners - up to 10000 connections".to_owned(),
    ] {
        assert_eq!(told.iter().filter(|told| **told == line).count(), 1, "{line}: {told:?}");
    }
}

#[test]
fn limits_hold_from_a_reload_on() {
    let server = Server::bind("127.0.0.1:0").unwrap().max_connections(1);
    let (address, monitor) = (server.local_addr(), server.monitor());
    let running = Served::start(server, |server| server.serve(upper()));
    let mut first = Caller::connect(address);
    first.say("in\n");
    first.hear("IN\n");
    assert_eq!(Caller::connect(address).hear_out().unwrap(), "busy\n");
    let more = monitor.bind("127.0.0.1:0").unwrap().max_connections(2).serve(upper());
    running.reload(more).unwrap();
    let mut second = Caller::connect(address);
    second.say("in\n");
    second.hear("IN\n");
    assert_eq!(Caller::connect(address).hear_out().unwrap(), "busy\n");
    let fewer = monitor.bind("127.0.0.1:0").unwrap().max_connections(1).serve(upper());
    running.reload(fewer).unwrap();
    assert_eq!((monitor.open(), monitor.max_connections()), (2, 1), "nobody is cut for a lower limit");
}

#[test]
fn what_can_not_be_changes_nothing_and_says_why() {
    let server = Server::bind("127.0.0.1:0").unwrap().threads(1);
    let (address, monitor) = (server.local_addr(), server.monitor());
    let running = Served::start(server, |server| server.serve(upper()));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert!(monitor.bind(&taken).unwrap_err().is_address_in_use());
    let more_threads = monitor.bind("127.0.0.1:0").unwrap().threads(2).serve(upper());
    let error = running.reload(more_threads).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("threads"), "{error}");
    let too_many = monitor.bind("127.0.0.1:0").unwrap().threads(1).max_connections(usize::MAX);
    assert!(running.reload(too_many.serve(upper())).unwrap_err().is_config());
    let one = || monitor.bind("127.0.0.1:0").unwrap().threads(1).serve(upper());
    assert!(running.reload(one().and(one())).unwrap_err().to_string().contains("one address"));
    let mut caller = Caller::connect(address);
    caller.say("as before\n");
    caller.hear("AS BEFORE\n");
}

#[test]
fn a_listener_that_can_not_be_set_up_leaves_all_as_it_was() {
    let path = TempPath::new("set-up");
    let kept = Server::bind("127.0.0.1:0").unwrap();
    let (address, monitor) = (kept.local_addr(), kept.monitor());
    let local = Server::bind(path.address()).unwrap().serve(upper());
    let running = Served::start(kept, |server| server.serve(upper()).and(local));
    let mut caller = path.call();
    std::fs::remove_file(&path.0).unwrap();
    let changed = monitor.bind("127.0.0.1:0").unwrap().serve(echo());
    let opened = monitor.bind(path.address()).unwrap().unix_mode(0o666).serve(upper());
    let error = running.reload(changed.and(opened)).unwrap_err();
    assert!(error.is_listen() && error.to_string().contains("no such file"), "{error}");
    assert_eq!(ask(&mut caller, "as before\n"), "AS BEFORE\n");
    let mut caller = Caller::connect(address);
    caller.say("as before\n");
    caller.hear("AS BEFORE\n");
}

#[test]
fn nobody_is_lost_while_listeners_change() {
    let server = Server::bind("127.0.0.1:0").unwrap().threads(2);
    let (address, monitor) = (server.local_addr(), server.monitor());
    let running = Served::start(server, |server| server.serve(upper()));
    let (stop, stopped) = sync_channel::<()>(0);
    let calling = std::thread::spawn(move || {
        let mut calls = 0;
        while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            let mut caller = Caller::connect(address);
            caller.say("hello\n");
            caller.hear("HELLO\n");
            calls += 1;
        }
        calls
    });
    for _ in 0..50 {
        running.reload(monitor.bind("127.0.0.1:0").unwrap().threads(2).serve(upper())).unwrap();
    }
    drop(stop);
    assert!(calling.join().unwrap() > 0);
}

#[test]
fn a_server_that_runs_on_its_own_reloads_when_asked_and_goes_on_if_that_fails() {
    let events = Arc::new(Recorder::default());
    let server = Server::bind("127.0.0.1:0").unwrap().events(Arc::clone(&events));
    let (address, monitor) = (server.local_addr(), server.monitor());
    let (up, is_up) = sync_channel(1);
    let running = std::thread::spawn(move || {
        let mut tries = 0;
        let serving = server.serve(upper()).on_reload(move |monitor| {
            tries += 1;
            if tries == 1 {
                return Err("line 3: no setting is called 'idle'".into());
            }
            Ok(monitor.bind("127.0.0.1:0")?.serve(echo()))
        });
        up.send(()).unwrap();
        serving.run().unwrap()
    });
    is_up.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(monitor.reload()).unwrap_err();
    assert_eq!(error.to_string(), "cannot reload: line 3: no setting is called 'idle'");
    let failed = |event: &Event| matches!(event, Event::ReloadFailed { .. });
    assert_eq!(events.events().iter().filter(|event| failed(event)).count(), 1);
    let mut caller = Caller::connect(address);
    caller.say("as before\n");
    caller.hear("AS BEFORE\n");
    runtime.block_on(monitor.reload()).unwrap();
    let mut caller = Caller::connect(address);
    caller.say("anew\n");
    caller.hear("anew\n");
    monitor.drain();
    assert!(running.join().unwrap().cut.is_empty());
    assert!(runtime.block_on(monitor.reload()).is_err());
}
