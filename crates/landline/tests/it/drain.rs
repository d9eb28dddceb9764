//! Stopping in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landline::{CloseReason, Connection, Event, Framing, Reply, Server, Subscriber, Upper, framed, service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Caller, PATIENCE, serve};

/// Long enough that no test ever waits for it.
const NEVER: Duration = Duration::from_secs(600);
/// Short enough to be waited for.
const SOON: Duration = Duration::from_millis(50);

#[test]
fn idle_connections_end_at_once_and_nobody_is_cut() {
    let served = serve(|server| server.drain_timeout(NEVER).threads(2), framed(Framing::Line, Upper));
    let mut callers: Vec<_> = (0..50).map(|_| served.call()).collect();
    for caller in &mut callers {
        caller.say("hi\n");
        caller.hear("HI\n");
    }
    let (draining, _) = served.drain();
    for caller in &mut callers {
        assert_eq!(caller.hear_out().unwrap(), "");
    }
    let report = draining.join().unwrap();
    assert_eq!((report.finished, report.cut.len()), (50, 0));
}

/// Calls the server at the very moment it says that a drain begins.
struct LastCaller(SocketAddr, Mutex<Option<Caller>>);

impl Subscriber for LastCaller {
    fn event(&self, event: &Event) {
        if matches!(event, Event::DrainStarted { .. }) {
            *self.1.lock().unwrap() = Some(Caller::connect(self.0));
        }
    }
}

#[test]
fn a_drain_is_said_before_the_listener_closes_and_whoever_calls_at_that_moment_is_taken() {
    let server = Server::bind("127.0.0.1:0").unwrap().drain_timeout(NEVER).threads(2);
    let address = server.local_addr();
    let last = Arc::new(LastCaller(address, Mutex::default()));
    let running = server.events(Arc::clone(&last)).serve(framed(Framing::Line, Upper)).start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let report = runtime.block_on(running.drain());
    let mut caller = last.1.lock().unwrap().take().unwrap();
    assert_eq!(caller.hear_out().unwrap(), "", "an orderly end, not a reset");
    assert_eq!((report.finished, report.cut.len()), (1, 0));
}

#[test]
fn callers_are_taken_as_before_while_a_drain_is_delayed() {
    let delay = |server: Server| server.drain_delay(NEVER).drain_timeout(NEVER);
    let served = serve(delay, framed(Framing::Line, Upper));
    let address = served.running().local_addr();
    let (hurry, hurried) = tokio::sync::oneshot::channel::<()>();
    let (draining, happened) = served.drain_or(async { drop(hurried.await) });
    while !matches!(happened.recv_timeout(PATIENCE).unwrap(), Event::DrainStarted { .. }) {}
    let mut caller = Caller::connect(address);
    caller.say("not too late\n");
    caller.hear("NOT TOO LATE\n");
    drop(hurry);
    assert!(draining.join().unwrap().is_none());
}

#[test]
fn after_its_delay_a_drain_goes_on() {
    let served = serve(|server| server.drain_delay(SOON).drain_timeout(NEVER), framed(Framing::Line, Upper));
    let mut caller = served.call();
    caller.say("in\n");
    caller.hear("IN\n");
    let (draining, _) = served.drain();
    assert_eq!(caller.hear_out().unwrap(), "");
    let report = draining.join().unwrap();
    assert!(report.took >= SOON && report.cut.is_empty());
}

#[test]
fn an_unfinished_message_is_waited_for_and_answered() {
    let served = serve(|server| server.drain_timeout(NEVER), framed(Framing::Line, Upper));
    let mut caller = served.call();
    caller.say("one\nhalf");
    caller.hear("ONE\n");
    let address = served.running().local_addr();
    let (draining, happened) = served.drain();
    let started = loop {
        if let Event::DrainStarted { open, busy, .. } = happened.recv_timeout(PATIENCE).unwrap() {
            break (open, busy);
        }
    };
    assert_eq!(started, (1, 1));
    caller.say(" and half\n");
    assert_eq!(caller.hear_out().unwrap(), "HALF AND HALF\n");
    drop(caller);
    assert!(draining.join().unwrap().cut.is_empty());
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn whoever_is_not_done_at_the_deadline_is_cut_and_named() {
    let served = serve(|server| server.drain_timeout(SOON), framed(Framing::Line, Upper));
    let mut stuck = served.call();
    stuck.say("one\nnever finished");
    stuck.hear("ONE\n");
    let peer = stuck.0.local_addr().unwrap();
    let (draining, _) = served.drain();
    let _ = stuck.hear_out();
    let report = draining.join().unwrap();
    assert_eq!((report.finished, report.cut.len()), (0, 1));
    assert_eq!(report.cut[0].peer.to_string(), peer.to_string());
    assert_eq!(report.cut[0].reason, CloseReason::DrainDeadline);
    assert!(report.took >= SOON);
}

#[test]
fn a_running_service_is_waited_for() {
    let (started, starts) = std::sync::mpsc::sync_channel(1);
    let (go_on, held) = tokio::sync::watch::channel(false);
    let slow = service(async move |message: &[u8], reply: &mut Reply| {
        started.send(())?;
        held.clone().wait_for(|go| *go).await?;
        reply.send(message);
        Ok(())
    });
    let served = serve(|server| server.drain_timeout(NEVER), framed(Framing::Line, slow));
    let mut caller = served.call();
    caller.say("work\n");
    starts.recv_timeout(PATIENCE).unwrap();
    let (draining, happened) = served.drain();
    while !matches!(happened.recv_timeout(PATIENCE).unwrap(), Event::DrainStarted { busy: 1, .. }) {}
    go_on.send(true).unwrap();
    assert_eq!(caller.hear_out().unwrap(), "work\n");
    drop(caller);
    assert!(draining.join().unwrap().cut.is_empty());
}

#[test]
fn a_handler_of_the_first_level_is_told_that_the_server_drains() {
    let handler = async |mut conn: Connection| {
        let draining = conn.draining();
        conn.write_all(b"in\n").await?;
        let mut byte = [0];
        tokio::select! {
            () = draining => conn.write_all(b"goodbye\n").await?,
            _ = conn.read(&mut byte) => {}
        }
        Ok(())
    };
    let served = serve(|server| server.drain_timeout(NEVER), handler);
    let mut caller = served.call();
    caller.hear("in\n");
    let (draining, _) = served.drain();
    assert_eq!(caller.hear_out().unwrap(), "goodbye\n");
    drop(caller);
    assert_eq!(draining.join().unwrap().finished, 1);
}

#[test]
fn a_handler_that_never_yields_does_not_hold_up_the_end() {
    let (started, starts) = std::sync::mpsc::sync_channel(1);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let held = std::sync::Mutex::new(held);
    let stuck = service(async move |_: &[u8], _: &mut Reply| {
        started.send(())?;
        // What a service must not do: block its thread.
        let _ = held.lock().unwrap().recv();
        Ok(())
    });
    let served = serve(|server| server.drain_timeout(SOON).threads(1), framed(Framing::Line, stuck));
    let mut caller = served.call();
    caller.say("block\n");
    starts.recv_timeout(PATIENCE).unwrap();
    let (draining, _) = served.drain();
    let report = draining.join().unwrap();
    assert_eq!((report.finished, report.cut.len()), (0, 1));
    drop(release);
}

#[test]
fn callers_who_wait_in_the_backlog_when_the_drain_begins_are_answered() {
    let (started, starts) = std::sync::mpsc::sync_channel(1);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let held = std::sync::Mutex::new(held);
    let blocking = service(async move |message: &[u8], reply: &mut Reply| {
        if message == b"block" {
            started.send(())?;
            let _ = held.lock().unwrap().recv();
        }
        reply.send(message);
        Ok(())
    });
    let served = serve(|server| server.drain_timeout(NEVER).threads(1), framed(Framing::Line, blocking));
    let mut first = served.call();
    first.say("block\n");
    starts.recv_timeout(PATIENCE).unwrap();
    // The only thread is busy, so these wait to be accepted.
    let mut waiting: Vec<_> = (0..5).map(|_| served.call()).collect();
    for caller in &mut waiting {
        caller.say("hello\n");
    }
    let (draining, happened) = served.drain();
    while !matches!(happened.recv_timeout(PATIENCE).unwrap(), Event::DrainStarted { .. }) {}
    drop(release);
    assert_eq!(first.hear_out().unwrap(), "block\n");
    for caller in &mut waiting {
        assert_eq!(caller.hear_out().unwrap(), "hello\n");
    }
    drop((first, waiting));
    assert!(draining.join().unwrap().cut.is_empty());
}
