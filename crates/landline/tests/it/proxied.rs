//! Callers who come by way of a proxy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use landline::event::{Named, PeerAddr, Refusal, Via};
use landline::{CloseReason, Event, Framing, Server, Upper, framed};

use crate::support::{Caller, Served, serve};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const CLIENT: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\r\n";

fn upper(settings: impl FnOnce(Server) -> Server) -> Served {
    let from_here = |server: Server| server.proxy_from("127.0.0.0/8".parse().unwrap());
    serve(|server| settings(from_here(server)), framed(Framing::Line, Upper))
}

/// A header of version 2: command and family as they stand in it, then what follows its length.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[0x20 | command, family], &len, rest].concat()
}

/// The addresses of a TCP connection as version 2 has them.
fn addresses(client: &str, server: &str) -> (u8, Vec<u8>) {
    let [client, server]: [SocketAddr; 2] = [client, server].map(|address| address.parse().unwrap());
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    (family, [octets(client), octets(server), ports].concat())
}

fn connected(served: &Served) -> (PeerAddr, Option<Via>) {
    match served.wait_for(|event| matches!(event, Event::Connected { .. })) {
        Event::Connected { peer, via, .. } => (peer, via),
        other => panic!("{other}"),
    }
}

fn refused(served: &Served) -> Refusal {
    match served.wait_for(|event| matches!(event, Event::Refused { .. })) {
        Event::Refused { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

fn local_addr(caller: &Caller) -> PeerAddr {
    PeerAddr::Ip(caller.0.local_addr().unwrap())
}

#[test]
fn the_client_that_a_proxy_names_is_the_caller() {
    let served = upper(|server| server);
    let (family, v4) = addresses("192.0.2.7:4711", "192.0.2.1:8081");
    let (family_6, v6) = addresses("[2001:db8::7]:4711", "[2001:db8::1]:8081");
    let headers = [
        (CLIENT.into(), "192.0.2.7:4711"),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 4711 8081\r\n".into(), "[2001:db8::7]:4711"),
        (version_2(1, family, &v4), "192.0.2.7:4711"),
        (version_2(1, family_6, &v6), "[2001:db8::7]:4711"),
        (version_2(1, family, &[&v4[..], b"\x04\0\x03abc"].concat()), "192.0.2.7:4711"),
    ];
    for (header, client) in headers {
        let mut caller = served.call();
        // Whatever follows at once is the client's.
        caller.say([&header[..], b"one\n"].concat());
        caller.hear("ONE\n");
        let (peer, via) = connected(&served);
        assert_eq!(peer.to_string(), client);
        let via = via.unwrap();
        assert_eq!((via.proxy, via.named), (local_addr(&caller), Named::Client));
        caller.say("two\n");
        caller.hear("TWO\n");
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let served = upper(|server| server);
    let mut caller = served.call();
    caller.0.set_nodelay(true).unwrap();
    for byte in CLIENT.bytes() {
        caller.say([byte]);
    }
    caller.say("one\n");
    caller.hear("ONE\n");
    assert_eq!(connected(&served).0.to_string(), "192.0.2.7:4711");
}

#[test]
fn where_nobody_with_an_address_is_named_the_proxy_is_the_caller() {
    let served = upper(|server| server);
    let (family, v4) = addresses("192.0.2.7:4711", "192.0.2.1:8081");
    let unix = [b'a'; 216];
    let headers = [
        ("PROXY UNKNOWN\r\n".into(), Named::Nobody),
        ("PROXY UNKNOWN ff:: ::1 1 2\r\n".into(), Named::Nobody),
        (version_2(1, 0x00, b""), Named::Nobody),
        (version_2(0, 0x00, b""), Named::Proxy),
        (version_2(0, family, &v4), Named::Proxy),
        (version_2(1, 0x31, &unix), Named::Local),
    ];
    for (header, named) in headers {
        let mut caller = served.call();
        caller.say(&header);
        caller.say("in\n");
        caller.hear("IN\n");
        let (peer, via) = connected(&served);
        assert_eq!((peer, via.unwrap().named), (local_addr(&caller), named));
    }
}

#[test]
fn only_proxies_may_call_whatever_they_send() {
    let settings = |server: Server| server.proxy_from("10.0.0.0/8".parse().unwrap());
    let served = serve(settings, framed(Framing::Line, Upper));
    let mut caller = served.call();
    // It may be closed by the time that this would arrive.
    let _ = std::io::Write::write_all(&mut caller.0, CLIENT.as_bytes());
    assert_eq!(caller.hear_out().unwrap_or_default().trim_end(), "denied");
    assert_eq!(refused(&served), Refusal::NotAProxy);
}

#[test]
fn what_is_wrong_with_a_header_is_a_reason_of_its_own_and_holds_nothing() {
    // One who stayed counted as being at its handshake would have the next one refused.
    let served = upper(|server| server.max_handshakes(1));
    let (family, v4) = addresses("192.0.2.7:4711", "192.0.2.1:8081");
    let checksum = [&v4[..], b"\x03\0\x04\0\0\0\0"].concat();
    let beyond = [&v4[..], b"\x04\0\x09abc"].concat();
    let faults: [(Vec<u8>, Refusal); 12] = [
        (b"hello\n".into(), Refusal::NoProxyHeader),
        (b"GET / HTTP/1.1\r\n".into(), Refusal::NoProxyHeader),
        (b"".into(), Refusal::NoProxyHeader),
        (b"PROXY TCP4 192.0.2.7".into(), Refusal::ProxyHeaderTruncated),
        (version_2(1, family, &v4)[..20].into(), Refusal::ProxyHeaderTruncated),
        ([b"PROXY UNKNOWN ".as_slice(), &[b'1'; 200]].concat(), Refusal::ProxyHeaderTooLong),
        (version_2(1, family, &[0; 5000]), Refusal::ProxyHeaderTooLong),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 99999\r\n".into(), Refusal::ProxyHeaderMalformed),
        (version_2(1, family, &beyond), Refusal::ProxyHeaderMalformed),
        (version_2(1, family, &checksum), Refusal::ProxyHeaderChecksum),
        (version_2(1, 0x12, &v4), Refusal::ProxyHeaderUnsupported),
        ([SIGNATURE.as_slice(), b"\x11\x11\0\x0c", &v4].concat(), Refusal::ProxyHeaderUnsupported),
    ];
    for (header, reason) in faults {
        let mut caller = served.call();
        caller.say(&header);
        caller.half_close();
        assert_eq!(caller.hear_out().unwrap_or_default().trim_end(), "denied", "{reason:?}");
        assert_eq!(refused(&served), reason, "{}", header.escape_ascii());
    }
    assert_eq!(served.running().open_connections(), 0);
}

#[test]
fn a_proxy_that_says_nothing_is_refused_when_its_time_is_up_and_those_beyond_the_bound_at_once() {
    let served = upper(|server| {
        // One thread accepts them in the order in which they called.
        server.threads(1).max_handshakes(2).handshake_timeout(Some(Duration::from_millis(300)))
    });
    let mut silent = [served.call(), served.call()];
    // They have been accepted for sure once somebody after them was told.
    let mut beyond = served.call();
    assert_eq!(beyond.hear_out().unwrap(), "busy\n");
    assert_eq!(refused(&served), Refusal::TooManyHandshakes);
    for caller in &mut silent {
        assert_eq!(caller.hear_out().unwrap(), "denied\n");
        assert_eq!(refused(&served), Refusal::ProxyHeaderTimeout);
    }
    let mut caller = served.call();
    caller.say(format!("{CLIENT}in\n"));
    caller.hear("IN\n");
}

#[test]
fn rules_and_limits_go_by_the_client_and_not_by_its_proxy() {
    let denied = "192.0.2.0/24".parse().unwrap();
    let served =
        upper(|server| server.deny(denied).deny("127.0.0.1".parse().unwrap()).max_connections_per_ip(1));
    let mut caller = served.call();
    caller.say(CLIENT);
    assert_eq!(caller.hear_out().unwrap(), "denied\n");
    assert_eq!(refused(&served), Refusal::Denied);
    let header = |client: &str| format!("PROXY TCP4 {client} 192.0.2.1 4711 8081\r\nin\n");
    let mut first = served.call();
    first.say(header("198.51.100.1"));
    first.hear("IN\n");
    let mut again = served.call();
    again.say(header("198.51.100.1"));
    assert_eq!(again.hear_out().unwrap_or_default().trim_end(), "busy");
    assert_eq!(refused(&served), Refusal::TooManyPerIp);
    let mut other = served.call();
    other.say(header("198.51.100.2"));
    other.hear("IN\n");
    // A proxy that looks whether the server is there is nobody's client.
    let mut itself = served.call();
    itself.say(version_2(0, 0x00, b""));
    itself.say("in\n");
    itself.hear("IN\n");
}

#[test]
fn nobody_who_has_not_said_who_they_are_keeps_a_drain_waiting() {
    let served = upper(|server| server.drain_timeout(Duration::from_secs(60)));
    let mut silent = served.call();
    let mut beside = served.call();
    beside.say(format!("{CLIENT}in\n"));
    beside.hear("IN\n");
    let (draining, _) = served.drain();
    let report = draining.join().unwrap();
    assert!(report.cut.is_empty());
    assert_eq!(silent.hear_out().unwrap_or_default(), "");
}

#[test]
fn a_caller_by_way_of_a_proxy_closes_like_any_other() {
    let served = upper(|server| server);
    let mut caller = served.call();
    caller.say(format!("{CLIENT}one\ntwo"));
    caller.half_close();
    assert_eq!(caller.hear_out().unwrap(), "ONE\nTWO");
    match served.wait_for_close() {
        Event::Closed { peer, reason, messages, .. } => {
            assert_eq!(
                (peer.to_string().as_str(), reason, messages),
                ("192.0.2.7:4711", CloseReason::PeerClosed, 2)
            );
        }
        other => panic!("{other}"),
    }
}
