//! Who is let in, and what those hear who are not.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use landline::event::Refusal;
use landline::{CloseReason, Event, Excess, Framing, Server, Upper, framed};

use crate::support::{Caller, PATIENCE, Served, serve};

fn upper(settings: impl FnOnce(Server) -> Server) -> Served {
    serve(settings, framed(Framing::Line, Upper))
}

fn is_let_in(caller: &mut Caller) {
    caller.say("in\n");
    caller.hear("IN\n");
}

/// A caller with a source address of its own: all of 127.0.0.0/8 is this machine.
fn from(source: [u8; 4], served: &Served) -> Caller {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&served.running().local_addr().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Caller(stream)
}

fn refused(served: &Served) -> Refusal {
    match served.wait_for(|event| matches!(event, Event::Refused { .. })) {
        Event::Refused { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn callers_wait_in_the_backlog_until_there_is_a_place_and_then_are_answered() {
    let served = upper(|server| server.max_connections(2).excess(Excess::Wait).threads(2));
    let mut inside = [served.call(), served.call()];
    inside.iter_mut().for_each(is_let_in);
    let mut waiting: Vec<_> = (0..20).map(|_| served.call()).collect();
    for caller in &mut waiting {
        caller.say("please\n");
    }
    // Nobody hears anything while both places are taken: asked of the last, by when all have called.
    let last = waiting.last_mut().unwrap();
    last.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(last.0.read(&mut [0; 9]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    last.0.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(served.running().open_connections(), 2);
    drop(inside);
    for mut caller in waiting {
        caller.hear("PLEASE\n");
    }
    assert!(!served.events.events().iter().any(|event| matches!(event, Event::Refused { .. })));
}

#[test]
fn the_excess_is_closed_or_reset_without_a_word_if_that_is_wanted() {
    for (excess, is_reset) in [(Excess::Close, false), (Excess::Reset, true)] {
        let served = upper(|server| server.max_connections(1).excess(excess));
        let mut inside = served.call();
        is_let_in(&mut inside);
        let heard = served.call().hear_out();
        assert_eq!(refused(&served), Refusal::Busy);
        match heard {
            Ok(heard) => assert!(heard.is_empty() && !is_reset),
            Err(error) => assert!(error.kind() == std::io::ErrorKind::ConnectionReset && is_reset, "{error}"),
        }
        is_let_in(&mut inside);
    }
}

#[test]
fn one_address_can_not_take_every_place() {
    let served = upper(|server| server.max_connections_per_ip(2).threads(2));
    let mut greedy = [from([127, 0, 0, 2], &served), from([127, 0, 0, 2], &served)];
    greedy.iter_mut().for_each(is_let_in);
    assert_eq!(from([127, 0, 0, 2], &served).hear_out().unwrap(), "busy\n");
    assert_eq!(refused(&served), Refusal::TooManyPerIp);
    is_let_in(&mut from([127, 0, 0, 3], &served));
    let [first, _second] = greedy;
    drop(first);
    served.wait_for(
        |event| matches!(event, Event::Closed { peer, .. } if peer.to_string().starts_with("127.0.0.2:")),
    );
    is_let_in(&mut from([127, 0, 0, 2], &served));
}

#[test]
fn networks_are_let_in_or_denied_by_the_longest_prefix() {
    let served =
        upper(|server| server.allow("127.0.0.0/8".parse().unwrap()).deny("127.0.7.0/24".parse().unwrap()));
    is_let_in(&mut served.call());
    assert_eq!(from([127, 0, 7, 9], &served).hear_out().unwrap(), "denied\n");
    assert_eq!(refused(&served), Refusal::Denied);
}

#[test]
fn more_new_connections_than_may_come_at_once_are_told_so() {
    let served = upper(|server| server.max_accept_rate(NonZeroU32::new(1).unwrap()).threads(1));
    // However long the machine takes, no ten of them can be let in within the ten seconds that takes.
    let heard: Vec<_> = (0..10)
        .map(|_| {
            let mut caller = served.call();
            caller.half_close();
            caller.hear_out().unwrap()
        })
        .collect();
    assert!(heard.contains(&"busy\n".to_owned()) && heard.contains(&String::new()), "{heard:?}");
    assert_eq!(refused(&served), Refusal::TooFast);
}

#[test]
fn waiting_can_not_be_joined_with_a_limit_that_has_to_know_the_caller() {
    let serving = Server::bind("127.0.0.1:0").unwrap().excess(Excess::Wait).max_connections_per_ip(1);
    let error = serving.serve(framed(Framing::Line, Upper)).start().unwrap_err();
    assert!(error.is_config());
    assert!(error.to_string().starts_with("cannot leave callers waiting: "), "{error}");
}

#[test]
fn when_the_server_is_full_whoever_has_been_idle_for_longest_makes_room() {
    for excess in [Excess::Say, Excess::Wait] {
        let served = upper(|server| {
            let server = server.max_connections(3).threads(1).excess(excess);
            server.idle_reclaim(Some(Duration::from_millis(100)))
        });
        let mut inside: Vec<_> = (0..3).map(|_| served.call()).collect();
        inside.iter_mut().for_each(is_let_in);
        // The second and the third speak again and again, the first stays silent, for longer than the
        // server's clock takes to move.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            inside[1..].iter_mut().for_each(is_let_in);
        }
        let mut reclaimed = loop {
            inside[1..].iter_mut().for_each(is_let_in);
            let mut caller = served.call();
            caller.say("room?\n");
            caller.half_close();
            match caller.hear_out().unwrap().as_str() {
                "ROOM?\n" => break inside.remove(0),
                told => assert_eq!((told, excess), ("busy\n", Excess::Say)),
            }
        };
        assert_eq!(reclaimed.hear_out().unwrap(), "");
        let closed = served.wait_for(|event| matches!(event, Event::Closed { id: 1, .. }));
        assert!(matches!(closed, Event::Closed { reason: CloseReason::Reclaimed, .. }), "{closed}");
        inside.iter_mut().for_each(is_let_in);
    }
}
