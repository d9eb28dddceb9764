//! Clients that speak TLS, with servers that are nothing but rustls.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use landline::client::{ClientTls, Connector, Conversation, Options, Stream, lost};
use landline::error::TlsTrouble;
use landline::{Address, Framing};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::support::PATIENCE;

type Accepted = StreamOwned<ServerConnection, TcpStream>;

/// A certificate for these names that nobody but itself has signed, as PEM, and a server with it.
fn identity(names: &[&str]) -> (Vec<u8>, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.der().clone()];
    let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    (certificate.pem().into_bytes(), config)
}

/// Does `serve` with the only caller, in a thread; the handshake is part of the first read.
fn server<T: Send + 'static>(
    config: ServerConfig,
    serve: impl FnOnce(&mut Accepted) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        serve(&mut StreamOwned::new(connection, stream))
    });
    (address, thread)
}

/// Piece by piece, as it comes.
fn answer_in_upper_case(stream: &mut Accepted) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        piece.make_ascii_uppercase();
        stream.write_all(&piece[..count]).unwrap();
    }
}

fn close(stream: &mut Accepted) {
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
}

#[tokio::test]
async fn a_conversation_is_the_same_over_tls_down_to_a_long_message_that_is_answered_in_pieces() {
    const LEN: usize = 4 << 20;
    let (pem, config) = identity(&["127.0.0.1"]);
    let (address, _) = server(config, answer_in_upper_case);
    let tls = ClientTls::new().cacert(&pem).unwrap();
    let mut client =
        Options::new().max_message(LEN).connector(Connector::new().tls(tls)).converse(address).await.unwrap();
    assert_eq!(client.ask(b"hello").await.unwrap(), "HELLO");
    let answer = client.ask(&vec![b'a'; LEN]).await.unwrap();
    assert!(answer.len() == LEN && answer.iter().all(|byte| *byte == b'A'));
    assert_eq!(client.ask(b"bye").await.unwrap(), "BYE");
}

#[tokio::test]
async fn many_ask_at_once_over_tls_too() {
    let (pem, config) = identity(&["127.0.0.1"]);
    let (address, _) = server(config, answer_in_upper_case);
    let connector = Connector::new().tls(ClientTls::new().cacert(&pem).unwrap());
    let client = Options::new().connector(connector).connect(address).await.unwrap();
    let mut asks = JoinSet::new();
    for at in 0..50 {
        let client = client.clone();
        asks.spawn(
            async move { assert_eq!(client.ask(format!("ask {at}")).await.unwrap(), format!("ASK {at}")) },
        );
    }
    assert_eq!(asks.join_all().await.len(), 50);
}

#[tokio::test]
async fn a_stream_tells_what_is_spoken_and_each_side_ends_by_itself() {
    let (pem, mut config) = identity(&["localhost"]);
    config.alpn_protocols = vec![b"two".to_vec()];
    let (address, thread) = server(config, |stream| {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
        close(stream);
        heard
    });
    let tls = ClientTls::new().cacert(&pem).unwrap().alpn(["one", "two"]).unwrap();
    let address = format!("localhost:{}", address.port()).parse().unwrap();
    let mut stream = Connector::new().tls(tls).connect(&address).await.unwrap();
    assert_eq!((stream.alpn(), stream.tls_version()), (Some(&b"two"[..]), Some("TLS 1.3")));
    stream.write_all(b"to the end").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!((&heard[..], &thread.join().unwrap()[..]), (&b"to the end"[..], &b"to the end"[..]));
}

#[tokio::test]
async fn a_connection_that_ends_without_the_end_of_tls_is_lost_after_all_that_came() {
    let (pem, config) = identity(&["127.0.0.1"]);
    let (address, _) = server(config, |stream| {
        stream.write_all(b"half of").unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
    });
    let address = Address::from(address);
    let tls = ClientTls::new().cacert(&pem).unwrap();
    let mut stream = Connector::new().tls(tls).connect(&address).await.unwrap();
    let mut heard = Vec::new();
    let error = stream.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!(heard, b"half of");
    let error = lost(&address, error);
    assert!(error.is_lost() && error.to_string().contains("without a TLS close"), "{error}");
}

#[tokio::test]
async fn programs_are_told_what_was_wrong_without_reading_words() {
    let (pem, _) = identity(&["127.0.0.1"]);
    let connect = async |pem: &[u8], config: ServerConfig| {
        let (address, _) = server(config, |stream| {
            let _ = stream.conn.complete_io(&mut stream.sock);
        });
        let tls = ClientTls::new().cacert(pem).unwrap();
        let error = Options::new().connector(Connector::new().tls(tls)).converse(address).await.unwrap_err();
        assert!(error.is_tls() && !error.is_lost(), "{error}");
        error.tls_trouble().unwrap()
    };
    assert_eq!(connect(&pem, identity(&["127.0.0.1"]).1).await, TlsTrouble::UnknownIssuer);
    let (other, config) = identity(&["10.0.0.1", "localhost"]);
    assert_eq!(connect(&other, config).await, TlsTrouble::WrongName);
}

#[tokio::test]
async fn in_plain_text_a_server_that_speaks_tls_is_recognised_and_what_it_sent_is_no_answer() {
    for framing in [Framing::Line, Framing::Raw, Framing::Length] {
        let (address, _) = server(identity(&["localhost"]).1, |stream| {
            let _ = stream.conn.complete_io(&mut stream.sock);
            let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
        });
        let mut client = Options::new().framing(framing).converse(address).await.unwrap();
        let error = client.ask(b"hello, is anybody there?").await.unwrap_err();
        assert_eq!(error.tls_trouble(), Some(TlsTrouble::PlainText));
        assert_eq!(error.to_string(), format!("{address} speaks TLS, and this was sent in plain text"));
        assert!(client.unfinished().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_limit_holds_for_connecting_and_for_the_handshake_together() {
    // Whoever calls is accepted by the kernel, and hears nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connector = Connector::new().tls(ClientTls::new().insecure());
    let error = connector.connect(&address.into()).await.unwrap_err();
    assert!(error.is_timeout() && error.tls_trouble() == Some(TlsTrouble::Stalled));
    let words = format!("cannot speak TLS with {address}: the handshake was not done within 10s");
    assert_eq!(error.to_string(), words);
}

#[test]
fn clients_with_tls_may_cross_threads_and_keep_keys_to_themselves() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Conversation>();
    crosses::<Stream>();
    crosses::<ClientTls>();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["me".to_owned()]).unwrap().self_signed(&key).unwrap();
    let tls = ClientTls::new().identity(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    let shown = format!("{:?}", tls.unwrap());
    assert!(shown.contains("identity: true") && !shown.contains("key"), "{shown}");
}
