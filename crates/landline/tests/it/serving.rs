//! Many callers over loopback, some of them rude.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread;

use landline::event::Refusal;
use landline::{
    AnyHandler, CloseReason, Connection, Echo, Event, Framing, Outcome, Reply, Server, Upper, framed, service,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Caller, serve};

fn upper() -> impl landline::Handler {
    framed(Framing::Line, Upper)
}

fn reason(event: &Event) -> CloseReason {
    match event {
        Event::Closed { reason, .. } => *reason,
        other => panic!("{other} is no close"),
    }
}

#[test]
fn a_second_caller_is_answered_while_the_first_stays() {
    let served = serve(|server| server, upper());
    let (mut first, mut second) = (served.call(), served.call());
    for _ in 0..3 {
        second.say("second\n");
        second.hear("SECOND\n");
        first.say("first\n");
        first.hear("FIRST\n");
    }
}

#[test]
fn a_reset_by_one_caller_does_not_disturb_another() {
    let served = serve(|server| server.threads(1), upper());
    let mut good = served.call();
    good.say("one\n");
    good.hear("ONE\n");
    for _ in 0..20 {
        let mut rude = served.call();
        rude.say("in the middle of a mess");
        rude.reset();
        assert_eq!(reason(&served.wait_for_close()), CloseReason::PeerReset);
        good.say("two\n");
        good.hear("TWO\n");
    }
}

#[test]
fn everything_asked_before_a_half_close_is_answered_before_ours() {
    let served = serve(|server| server, upper());
    let mut caller = served.call();
    caller.say("one\ntwo\nthree");
    caller.half_close();
    assert_eq!(caller.hear_out().unwrap(), "ONE\nTWO\nTHREE");
    assert_eq!(reason(&served.wait_for_close()), CloseReason::PeerClosed);
}

#[test]
fn the_limit_on_connections_is_exact_over_all_threads_and_the_next_caller_is_told() {
    let served = serve(|server| server.max_connections(10).threads(2), upper());
    let mut callers: Vec<_> = (0..10).map(|_| served.call()).collect();
    for caller in &mut callers {
        caller.say("in\n");
        caller.hear("IN\n");
    }
    for _ in 0..10 {
        let mut refused = served.call();
        // What a refused caller has sent must not turn the close into a reset.
        let _ = std::io::Write::write_all(&mut refused.0, b"let me in\n");
        assert_eq!(refused.hear_out().unwrap(), "busy\n");
        let event = served.wait_for(|event| matches!(event, Event::Refused { .. }));
        assert!(matches!(event, Event::Refused { reason: Refusal::Busy, .. }));
    }
    drop(callers.pop());
    served.wait_for_close();
    let mut next = served.call();
    next.say("now\n");
    next.hear("NOW\n");
}

#[test]
fn many_refused_callers_leave_nothing_behind() {
    let served = serve(|server| server.max_connections(1).threads(2), upper());
    let mut inside = served.call();
    inside.say("in\n");
    inside.hear("IN\n");
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let address = served.running().local_addr();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    assert_eq!(Caller::connect(address).hear_out().unwrap(), "busy\n");
                }
            });
        }
    });
    inside.say("still in\n");
    inside.hear("STILL IN\n");
    assert_eq!(served.running().open_connections(), 1);
    // Other tests of this process open descriptors too, but not a thousand.
    assert!(descriptors() < 900);
}

#[test]
fn a_panic_costs_one_connection() {
    let fragile = service(async |message: &[u8], reply: &mut Reply| {
        assert_ne!(message, b"panic", "as asked");
        reply.send(message);
        Ok(())
    });
    let served = serve(|server| server.threads(1), framed(Framing::Line, fragile));
    let mut good = served.call();
    let mut bad = served.call();
    good.say("before\n");
    good.hear("before\n");
    bad.say("panic\n");
    assert_eq!(bad.hear_out().unwrap(), "");
    drop(bad);
    assert_eq!(reason(&served.wait_for_close()), CloseReason::HandlerPanicked);
    good.say("after\n");
    good.hear("after\n");
}

#[test]
fn ten_callers_with_long_messages_get_their_own_answers_whole() {
    let served = serve(|server| server.threads(2), framed(Framing::Length, Echo));
    let address = served.running().local_addr();
    thread::scope(|scope| {
        for caller in 0..10_u8 {
            scope.spawn(move || {
                let mut connection = Caller::connect(address);
                for round in 0..20_u32 {
                    let size = 1 + round * 40_000;
                    let message = vec![caller ^ u8::try_from(round).unwrap(); size as usize];
                    let sent = [&size.to_be_bytes()[..], &message].concat();
                    let mut writer = connection.0.try_clone().unwrap();
                    let bytes = sent.clone();
                    let writing =
                        thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
                    connection.hear(&sent);
                    writing.join().unwrap();
                }
            });
        }
    });
}

#[test]
fn every_connection_has_one_open_and_one_close_in_that_order() {
    let served = serve(|server| server.threads(2), upper());
    for round in 0..60 {
        let mut caller = served.call();
        // A caller who is gone before it is accepted is no connection.
        caller.say("hi\n");
        caller.hear("HI\n");
        match round % 3 {
            0 => drop(caller),
            1 => caller.reset(),
            _ => caller.half_close(),
        }
        served.wait_for_close();
    }
    let mut open = HashSet::new();
    let mut closed = HashSet::new();
    for event in served.events.events() {
        match event {
            Event::Connected { id, .. } => assert!(open.insert(id)),
            Event::Closed { id, .. } => assert!(open.contains(&id) && closed.insert(id)),
            _ => {}
        }
    }
    assert_eq!((open.len(), closed.len()), (60, 60));
    assert_eq!(served.running().open_connections(), 0);
}

#[test]
fn long_connections_spread_over_the_threads() {
    let threads: Arc<Mutex<Vec<thread::ThreadId>>> = Arc::default();
    let seen = Arc::clone(&threads);
    let handler = async move |mut conn: Connection| {
        seen.lock().unwrap().push(thread::current().id());
        conn.write_all(b"in").await?;
        conn.read_u8().await?;
        Ok(())
    };
    let served = serve(|server| server.threads(2), handler);
    let mut callers: Vec<_> = (0..200).map(|_| served.call()).collect();
    for caller in &mut callers {
        caller.hear("in");
    }
    let threads = threads.lock().unwrap();
    let first = threads.iter().filter(|id| **id == threads[0]).count();
    let (most, least) = (first.max(200 - first), first.min(200 - first));
    assert!(most * 10 <= least * 12, "{most} and {least}");
}

#[test]
fn a_handler_can_be_chosen_at_run_time() {
    for (name, expected) in [("echo", "Hi\n"), ("upper", "HI\n")] {
        let handler = match name {
            "echo" => AnyHandler::new(framed(Framing::Line, Echo)),
            _ => AnyHandler::new(framed(Framing::Line, Upper)),
        };
        let served = serve(|server| server, handler);
        let mut caller = served.call();
        caller.say("Hi\n");
        caller.hear(expected);
    }
}

#[test]
fn a_number_of_connections_that_cannot_be_held_is_an_error_that_says_what_can() {
    let serving = Server::bind("127.0.0.1:0").unwrap().max_connections(usize::MAX).serve(upper());
    let error = serving.start().unwrap_err();
    assert!(error.is_config());
    assert!(error.to_string().contains("the limit on open files is"), "{error}");
}

#[test]
fn dropping_a_server_cuts_its_connections() {
    let mut served = serve(|server| server, upper());
    let mut caller = served.call();
    caller.say("in\n");
    caller.hear("IN\n");
    drop(served.running.take());
    assert_eq!(reason(&served.wait_for_close()), CloseReason::Cut);
    assert!(caller.hear_out().is_ok());
}

#[test]
fn an_error_of_a_handler_is_told_and_the_server_goes_on() {
    let failing = async |_: Connection| -> Outcome { Err("no\u{1b}[31m".into()) };
    let served = serve(|server| server, failing);
    for _ in 0..3 {
        assert_eq!(served.call().hear_out().unwrap(), "");
        let closed = served.wait_for_close();
        assert_eq!(reason(&closed), CloseReason::HandlerFailed);
        assert!(closed.to_string().contains(r"service failed: no\x1b[31m"), "{closed}");
    }
}
