//! Callers who speak TLS, with blocking calls.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Certificate;
use crate::Outcome;
use crate::trial::program::PATIENCE;

pub(super) const MESSAGE: &[u8; 64] = b"the quick brown fox jumps over the lazy dog and runs on and on!\n";

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// How all of them speak.
#[derive(Debug)]
pub(super) struct Callers(Arc<ClientConfig>);

/// Connections that ask in turns.
#[derive(Debug)]
pub(super) struct Talk(Vec<Stream>);

impl Callers {
    /// They trust this certificate. What they offer is what all servers under trial have.
    pub(super) fn new(certificate: &Certificate) -> Outcome<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut roots = RootCertStore::empty();
        let wrong = |error: rustls::Error| format!("cannot speak TLS: {error}");
        roots.add(CertificateDer::from(certificate.der.clone())).map_err(wrong)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(wrong)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// Calls, and shakes hands.
    pub(super) fn call(&self, port: u16) -> Outcome<Stream> {
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| error.to_string())?;
        let call = || {
            let socket = TcpStream::connect(("127.0.0.1", port))?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let mut stream = StreamOwned::new(session, socket);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock)?;
            }
            Ok(stream)
        };
        call().map_err(|error: std::io::Error| format!("cannot speak TLS with port {port}: {error}"))
    }

    pub(super) fn talk(&self, port: u16, connections: usize) -> Outcome<Talk> {
        (0..connections).map(|_| self.call(port)).collect::<Outcome<_>>().map(Talk)
    }
}

impl Talk {
    /// Each connection asks so often; all ask before the first is heard.
    pub(super) fn exchange(&mut self, times: u64) -> Outcome {
        let expected = MESSAGE.to_ascii_uppercase();
        for _ in 0..times {
            for stream in &mut self.0 {
                stream.write_all(MESSAGE).map_err(|error| format!("cannot send: {error}"))?;
            }
            for stream in &mut self.0 {
                let mut heard = [0; MESSAGE.len()];
                stream.read_exact(&mut heard).map_err(|error| format!("no reply: {error}"))?;
                if heard[..] != expected {
                    return Err(format!("a wrong reply: {}", heard.escape_ascii()));
                }
            }
        }
        Ok(())
    }
}
