//! Listeners that speak TLS, with callers that do not keep to the rules: each is closed, with a reason.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use landline::tls::Tls;
use landline::{CloseReason, Event};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::support::{Caller, Served};
use crate::tls_support::*;

/// A listener with little patience, and who vouches for it.
fn place() -> (Authority, Served) {
    place_with(Duration::from_millis(300))
}

fn place_with(patience: Duration) -> (Authority, Served) {
    let authority = Authority::new();
    let tls = authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap();
    let served = crate::support::serve(
        |server| server.tls(tls).handshake_timeout(Some(patience)),
        landline::framed(landline::Framing::Line, landline::Upper),
    );
    (authority, served)
}

/// The first flight of a client, as it would go over the network.
fn hello(authority: &Authority) -> (ClientConnection, Vec<u8>) {
    let client = Client::new(authority);
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(Arc::new(client.config), name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    (session, bytes)
}

/// The same in records that hold so many bytes of it each.
fn in_records(hello: &[u8], len: usize) -> Vec<u8> {
    let (header, body) = hello.split_at(5);
    let record = |piece: &[u8]| {
        let len = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&header[..3], &len[..], piece].concat()
    };
    body.chunks(len).flat_map(record).collect()
}

/// Goes on with a handshake whose first flight was sent, and asks something.
fn finish(mut session: ClientConnection, mut stream: TcpStream) {
    session.complete_io(&mut stream).unwrap();
    session.writer().write_all(b"hello\n").unwrap();
    let mut heard = [0; 6];
    rustls::Stream::new(&mut session, &mut stream).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"HELLO\n");
}

#[test]
fn a_hello_in_records_of_one_byte_is_understood() {
    let (authority, served) = place_with(Duration::from_secs(20));
    let (session, hello) = hello(&authority);
    let mut caller = served.call();
    caller.say(in_records(&hello, 1));
    finish(session, caller.0);
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_understood() {
    let (authority, served) = place_with(Duration::from_secs(20));
    let (session, hello) = hello(&authority);
    let mut caller = served.call();
    caller.0.set_nodelay(true).unwrap();
    for byte in hello {
        caller.say([byte]);
    }
    finish(session, caller.0);
}

#[test]
fn plain_text_is_answered_by_an_alert_and_told_of_in_words() {
    let (_, served) = place_with(Duration::from_secs(20));
    for said in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "hello\n", "\u{1b}[31m\n\n\n\n\n"] {
        let mut caller = served.call();
        caller.say(said);
        let mut heard = Vec::new();
        caller.0.read_to_end(&mut heard).unwrap();
        assert_eq!((heard[0], heard.len()), (21, 7), "an alert: {heard:?}");
        let expected = "it spoke plain text; this listener speaks TLS".to_owned();
        assert_eq!(close(&served), (CloseReason::HandshakeFailed, expected));
    }
}

#[test]
fn whoever_says_nothing_or_stops_half_way_is_closed_at_the_deadline() {
    let (authority, served) = place();
    let (_, hello) = hello(&authority);
    for said in [&[][..], &hello[..1], &hello[..hello.len() / 2], &hello[..]] {
        let mut caller = served.call();
        caller.say(said);
        let mut heard = Vec::new();
        let _ = caller.0.read_to_end(&mut heard);
        assert_eq!(close(&served).0, CloseReason::HandshakeTimeout, "after {} bytes", said.len());
    }
}

#[test]
fn a_caller_who_leaves_before_or_within_the_handshake_is_told_of() {
    let (authority, served) = place_with(Duration::from_secs(20));
    let (_, hello) = hello(&authority);
    for (said, detail) in [
        (&[][..], "the client ended before its handshake"),
        (&hello[..9], "the client ended within its handshake"),
    ] {
        let mut caller = served.call();
        caller.say(said);
        caller.half_close();
        let mut heard = Vec::new();
        caller.0.read_to_end(&mut heard).unwrap();
        assert_eq!(close(&served), (CloseReason::HandshakeFailed, detail.to_owned()));
    }
    let mut caller = served.call();
    caller.say(&hello[..9]);
    caller.reset();
    assert_eq!(close(&served).0, CloseReason::PeerReset);
}

#[test]
fn a_goodbye_within_the_handshake_changes_nothing() {
    let (_, served) = place();
    let mut caller = served.call();
    caller.say([21, 3, 3, 0, 2, 1, 0]);
    let mut heard = Vec::new();
    let _ = caller.0.read_to_end(&mut heard);
    assert_eq!(close(&served).0, CloseReason::HandshakeTimeout, "nobody has proved who said it");
}

#[test]
fn records_that_are_none_are_refused_and_do_no_harm() {
    let (authority, served) = place_with(Duration::from_secs(20));
    let (_, hello) = hello(&authority);
    let mut broken: Vec<Vec<u8>> = vec![
        [&[22, 3, 1, 255, 255][..], &[0; 70_000]].concat(),
        [&[22, 3, 1, 64, 0][..], &[1, 255, 255, 255], &[7; 200_000]].concat(),
        [22, 3, 1, 0, 0].repeat(50_000),
        [22, 3, 1, 0, 1, 1].repeat(50_000),
        vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
        vec![255; 4096],
    ];
    for at in (0..hello.len()).step_by(7) {
        let mut changed = hello.clone();
        changed[at] ^= 0x55;
        broken.push(changed);
    }
    for said in broken {
        let caller = served.call();
        // It may be refused, and reset, before all is said.
        let _ = (&caller.0).write_all(&said);
        let _ = caller.0.shutdown(std::net::Shutdown::Write);
        let _ = (&caller.0).read_to_end(&mut Vec::new());
        let (reason, detail) = close(&served);
        let expected = [CloseReason::HandshakeFailed, CloseReason::HandshakeTimeout, CloseReason::PeerReset];
        assert!(expected.contains(&reason), "{reason} {detail}");
        assert!(detail.chars().all(|letter| (' '..='~').contains(&letter)), "{detail}");
    }
    let mut caller = Client::new(&authority).call(address(&served));
    caller.ask("hello\n");
}

#[test]
fn a_message_that_was_cut_off_is_no_message() {
    let (authority, served) = place_with(Duration::from_secs(20));
    let mut caller = Client::new(&authority).call(address(&served));
    caller.ask("whole\n");
    caller.say("delete /tmp");
    drop(caller);
    let (reason, detail) = close(&served);
    assert_eq!(reason, CloseReason::MessageTruncated, "{detail}");
    let Some(Event::Closed { messages, .. }) = served.events.events().into_iter().last() else { panic!() };
    assert_eq!(messages, 1);
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_the_connection_with_a_reason() {
    let (authority, served) = place_with(Duration::from_secs(20));
    let mut caller = Client::new(&authority).call(address(&served));
    caller.ask("hello\n");
    caller.0.sock.write_all(&[&[23, 3, 3, 0, 40][..], &[7; 40]].concat()).unwrap();
    assert!(caller.hear_out().is_err());
    let expected = "a record does not decrypt: it was changed on its way".to_owned();
    assert_eq!(close(&served), (CloseReason::IoFailed, expected));
}

#[test]
fn half_a_record_is_an_unfinished_message() {
    let authority = Authority::new();
    let tls = authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap();
    let served = crate::support::serve(
        |server| server.tls(tls).message_timeout(Some(Duration::from_millis(300))),
        landline::framed(landline::Framing::Line, landline::Upper),
    );
    let mut caller = Client::new(&authority).call(address(&served));
    caller.ask("hello\n");
    caller.0.sock.write_all(&[23, 3, 3, 0, 40, 7]).unwrap();
    assert_eq!(close(&served).0, CloseReason::MessageTimeout);
}

#[test]
fn a_peer_that_takes_no_replies_is_not_read_and_is_closed() {
    let authority = Authority::new();
    let tls = authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap();
    let served = crate::support::serve(
        |server| server.tls(tls).write_timeout(Some(Duration::from_millis(300))),
        landline::framed(landline::Framing::Raw, landline::Echo),
    );
    let mut caller = Client::new(&authority).call(address(&served));
    caller.say("hello");
    caller.hear("hello");
    caller.0.sock.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let text = vec![b'x'; 1 << 20];
    // Nothing is read any more once replies wait: this ends by the reset.
    while caller.0.write_all(&text).is_ok() {}
    let Event::Closed { reason, bytes_in, bytes_out, .. } = served.wait_for_close() else { panic!() };
    assert_eq!(reason, CloseReason::WriteTimeout);
    assert!(bytes_in - bytes_out < 1 << 20, "{bytes_in} in, {bytes_out} out");
}

#[test]
fn a_drain_does_not_wait_for_handshakes() {
    let (_, served) = place_with(Duration::from_secs(20));
    let mut silent = served.call();
    served.wait_for(|event| matches!(event, Event::Connected { .. }));
    let (draining, _) = served.drain();
    let mut heard = Vec::new();
    silent.0.read_to_end(&mut heard).unwrap();
    drop(silent);
    assert_eq!(draining.join().unwrap().cut.len(), 0);
}

#[test]
fn a_thousand_silent_callers_are_closed_at_their_deadline_while_others_are_served() {
    const MANY: usize = 1000;
    let (authority, served) = place_with(Duration::from_secs(3));
    let silent: Vec<Caller> = (0..MANY).map(|_| served.call()).collect();
    let mut caller = Client::new(&authority).call(address(&served));
    for _ in 0..100 {
        caller.ask("hello\n");
    }
    for _ in 0..MANY {
        assert_eq!(close(&served).0, CloseReason::HandshakeTimeout);
    }
    caller.ask("still here\n");
    drop(silent);
}

#[test]
fn whoever_is_not_let_in_is_closed_without_a_word() {
    let authority = Authority::new();
    let tls = authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap();
    let served = crate::support::serve(
        |server| server.tls(tls).max_connections(1).idle_reclaim(None),
        landline::framed(landline::Framing::Line, landline::Upper),
    );
    let mut inside = Client::new(&authority).call(address(&served));
    inside.ask("hello\n");
    let mut heard = Vec::new();
    served.call().0.read_to_end(&mut heard).unwrap();
    assert!(heard.is_empty(), "{heard:?}");
    served.wait_for(|event| matches!(event, Event::Refused { .. }));
}

#[test]
fn no_more_handshakes_than_may_be_go_on_at_a_time_and_each_makes_room_when_it_is_done() {
    let authority = Authority::new();
    let tls = authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap();
    let served = crate::support::serve(
        |server| server.tls(tls).max_handshakes(2),
        landline::framed(landline::Framing::Line, landline::Upper),
    );
    let client = Client::new(&authority);
    // Those who are done with theirs do not count, so each of these finds room.
    let mut callers = Vec::new();
    for _ in 0..6 {
        let mut caller = client.call(address(&served));
        caller.ask("hello\n");
        callers.push(caller);
    }
    let (first, second) = (served.call(), served.call());
    for _ in 0..2 {
        served.wait_for(|event| matches!(event, Event::Connected { open: 7.., .. }));
    }
    let mut heard = Vec::new();
    served.call().0.read_to_end(&mut heard).unwrap();
    assert!(heard.is_empty());
    let refused = served.wait_for(|event| matches!(event, Event::Refused { .. }));
    assert!(refused.to_string().contains("handshakes"), "{refused}");
    drop((first, second));
    close(&served);
    close(&served);
    client.call(address(&served)).ask("hello\n");
}
