//! Listeners that speak TLS, with callers that keep to the rules.

use std::io::Read;

use landline::tls::{Tls, TlsVersion, self_signed};
use landline::{CloseReason, Connection, Framing, Server, framed};
use rustls::ProtocolVersion;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Served, serve};
use crate::tls_support::*;

fn tls(authority: &Authority) -> Tls {
    authority.identity(&["localhost"]).of(Tls::builder()).build().unwrap()
}

#[test]
fn messages_are_answered_within_either_version() {
    let authority = Authority::new();
    let served = serve_tls(tls(&authority));
    let expected = [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3];
    for (version, expected) in VERSIONS.into_iter().zip(expected) {
        let mut caller = Client::with(&authority, &[version], None).call(address(&served));
        caller.ask("hello\n");
        caller.ask("and again\n");
        assert_eq!(caller.0.conn.protocol_version(), Some(expected));
        caller.end();
        assert_eq!(caller.hear_out().unwrap(), "");
        assert_eq!(close(&served), (CloseReason::PeerClosed, String::new()));
    }
}

#[test]
fn many_messages_and_long_ones_arrive_whole_in_both_directions() {
    let authority = Authority::new();
    let served = serve_raw(tls(&authority), |server| server.max_unsent(64 << 10));
    let mut caller = Client::new(&authority).call(address(&served));
    let text: Vec<u8> = (0..=255_u8).cycle().take(3 << 20).collect();
    caller.ask("X");
    for piece in text.chunks(100_003) {
        caller.say(piece);
        let mut heard = vec![0; piece.len()];
        caller.0.read_exact(&mut heard).unwrap();
        assert!(heard == piece);
    }
}

#[test]
fn what_was_asked_before_the_end_is_answered_and_our_end_is_said_in_tls() {
    let authority = Authority::new();
    let served = serve_tls(tls(&authority));
    for version in VERSIONS {
        let mut caller = Client::with(&authority, &[version], None).call(address(&served));
        caller.say("one\ntwo\nrest");
        caller.end();
        assert_eq!(caller.hear_out().unwrap(), "ONE\nTWO\nREST");
    }
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let authority = Authority::new();
    let names: [&[&str]; 3] = [&["first.test"], &["second.test", "*.wild.test"], &["exact.wild.test"]];
    let identities = names.map(|names| authority.identity(names));
    let builder = identities.iter().fold(Tls::builder(), |builder, identity| identity.of(builder));
    let served = serve_tls(builder.build().unwrap());
    let shown = |name: &'static str| {
        let mut client = Client::new(&authority).name(name);
        trust_anything(&mut client);
        let mut caller = client.call(address(&served));
        caller.ask("hello\n");
        let shown = caller.server();
        identities.iter().position(|identity| identity.certificate() == shown)
    };
    assert_eq!(shown("first.test"), Some(0));
    assert_eq!(shown("SECOND.test"), Some(1));
    assert_eq!(shown("any.wild.test"), Some(1));
    assert_eq!(shown("exact.wild.test"), Some(2));
    assert_eq!(shown("a.b.wild.test"), Some(0), "a wildcard stands for one part of a name");
    assert_eq!(shown("unknown.test"), Some(0));
    assert_eq!(shown("127.0.0.1"), Some(0), "an address is no name");
}

/// Leaves it to the test to look at the certificate.
fn trust_anything(client: &mut Client) {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    #[derive(Debug)]
    struct Anything;
    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    client.config.dangerous().set_certificate_verifier(std::sync::Arc::new(Anything));
}

#[test]
fn a_protocol_is_agreed_on_and_one_that_is_not_spoken_is_refused() {
    let authority = Authority::new();
    let tls =
        authority.identity(&["localhost"]).of(Tls::builder()).alpn(["line/2", "line/1"]).build().unwrap();
    let served = serve_tls(tls);
    let agreed = |offered: &[&str]| {
        let mut caller = Client::new(&authority).alpn(offered).call(address(&served));
        caller.is_answered().map(|()| caller.0.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(&["line/1", "line/2"]), Ok(Some(b"line/2".to_vec())));
    assert_eq!(agreed(&["line/1"]), Ok(Some(b"line/1".to_vec())));
    assert_eq!(agreed(&[]), Ok(None));
    for _ in 0..3 {
        close(&served);
    }
    assert!(agreed(&["http/1.1"]).unwrap_err().contains("NoApplicationProtocol"));
    let expected = "the client speaks none of this listener's protocols (ALPN)";
    assert_eq!(close(&served), (CloseReason::HandshakeFailed, expected.to_owned()));
}

#[test]
fn a_listener_that_takes_only_the_newest_version_refuses_the_one_before() {
    let authority = Authority::new();
    let tls =
        authority.identity(&["localhost"]).of(Tls::builder()).minimum(TlsVersion::V1_3).build().unwrap();
    let served = serve_tls(tls);
    let call = |version| Client::with(&authority, &[version], None).call(address(&served)).is_answered();
    assert_eq!(call(&rustls::version::TLS13), Ok(()));
    close(&served);
    assert!(call(&rustls::version::TLS12).unwrap_err().contains("ProtocolVersion"));
    let expected = "the client offers only versions of TLS that are too old here";
    assert_eq!(close(&served), (CloseReason::HandshakeFailed, expected.to_owned()));
}

#[test]
fn a_self_signed_certificate_serves_this_machine_and_has_a_fingerprint() {
    let made = self_signed(["192.0.2.1", "localhost"]).unwrap();
    let tls = Tls::builder().identity(&made.certificate, &made.key).build().unwrap();
    assert_eq!(tls.fingerprint().len(), 32 * 3 - 1);
    assert!(tls.fingerprint().split(':').all(|pair| u8::from_str_radix(pair, 16).is_ok()));
    let served = serve_tls(tls);
    let certificate = CertificateDer::from_pem_slice(&made.certificate).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "192.0.2.1"] {
        let authority = Authority::new();
        let mut client = Client::new(&authority).name(name);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        client.config =
            rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        client.call(address(&served)).ask("hello\n");
    }
}

#[test]
fn a_handler_of_the_first_level_sees_plain_bytes_and_their_end() {
    let authority = Authority::new();
    let handler = async |mut conn: Connection| {
        conn.write_all(b"hello, ").await?;
        let mut text = String::new();
        conn.read_to_string(&mut text).await?;
        conn.write_all(text.as_bytes()).await?;
        Ok(())
    };
    let served = serve(|server| server.tls(tls(&authority)), handler);
    let mut caller = Client::new(&authority).call(address(&served));
    caller.hear("hello, ");
    caller.say("world");
    caller.end();
    assert_eq!(caller.hear_out().unwrap(), "world");
    assert_eq!(close(&served).0, CloseReason::PeerClosed);
    // Without an end that was said, it gets an error in its place.
    let mut caller = Client::new(&authority).call(address(&served));
    caller.hear("hello, ");
    caller.say("wor");
    drop(caller);
    assert_eq!(close(&served).0, CloseReason::MessageTruncated);
}

#[test]
fn a_drain_says_goodbye_in_tls_to_whoever_is_idle() {
    let authority = Authority::new();
    let served = serve_tls(tls(&authority));
    let mut caller = Client::new(&authority).call(address(&served));
    caller.ask("hello\n");
    let (draining, _) = served.drain();
    assert_eq!(caller.hear_out().unwrap(), "");
    drop(caller);
    let report = draining.join().unwrap();
    assert_eq!((report.finished, report.cut.len()), (1, 0));
}

/// Whether the second of two calls goes on with the session of the first.
fn resumes(client: &Client, first: &Served, second: &Served) -> Result<bool, String> {
    for served in [first, second] {
        let mut caller = client.call(address(served));
        caller.is_answered()?;
        caller.end();
        let _ = caller.hear_out();
        if std::ptr::eq(served, second) {
            return Ok(caller.0.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed));
        }
    }
    unreachable!()
}

#[test]
fn a_session_is_resumed_where_it_began_and_nowhere_else() {
    let authority = Authority::new();
    let identity = authority.identity(&["localhost"]);
    let tls = || identity.of(Tls::builder()).client_ca(authority.pem.as_bytes()).build().unwrap();
    let (served, other) = (serve_tls(tls()), serve_tls(tls()));
    for version in VERSIONS {
        let client = || {
            let mut client = Client::with(&authority, &[version], Some(&identity));
            client.config.resumption = Resumption::in_memory_sessions(8);
            client
        };
        let at_home = client();
        resumes(&at_home, &served, &served).unwrap();
        assert_eq!(resumes(&at_home, &served, &served), Ok(true), "{version:?}");
        assert_eq!(resumes(&client(), &served, &other), Ok(false), "{version:?}");
        // Whoever was let in by the rules before is asked again by the new ones.
        let before = client();
        resumes(&before, &served, &served).unwrap();
        let stranger = Authority::new();
        let stricter = identity.of(Tls::builder()).client_ca(stranger.pem.as_bytes()).build().unwrap();
        let anew = serve_tls(stricter);
        assert!(resumes(&before, &served, &anew).is_err(), "{version:?}");
    }
}

#[test]
fn a_reload_takes_other_certificates_and_live_connections_keep_theirs() {
    let authority = Authority::new();
    let (first, second) = (authority.identity(&["localhost"]), authority.identity(&["localhost"]));
    let bound = Server::bind("127.0.0.1:0").unwrap();
    let monitor = bound.monitor();
    let tls = |identity: &Identity| identity.of(Tls::builder()).build().unwrap();
    let served =
        Served::start(bound.tls(tls(&first)), |server| server.serve(framed(Framing::Line, landline::Upper)));
    let client = Client::new(&authority);
    let mut live = client.call(address(&served));
    live.ask("hello\n");
    assert_eq!(live.server(), first.certificate());
    let anew =
        monitor.bind("127.0.0.1:0").unwrap().tls(tls(&second)).serve(framed(Framing::Line, landline::Upper));
    served.reload(anew).unwrap();
    live.ask("still here\n");
    let mut caller = client.call(address(&served));
    caller.ask("hello\n");
    assert_eq!(caller.server(), second.certificate());
}
