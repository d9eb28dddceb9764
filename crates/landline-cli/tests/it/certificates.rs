//! Certificates of the tests' own authorities, and servers that have them.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::support::{Server, server};

pub(crate) type Tls = StreamOwned<ServerConnection, TcpStream>;

/// A folder of its own, which goes away with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("landline-tls-{}-{}", std::process::id(), number()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and returns its path as it is typed.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        typed(&path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A number that nothing else here has.
fn number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn typed(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// An authority that only tests trust.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Two of the same name would be taken for one that has lost its key.
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", number()));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for whoever is called `localhost` and has the address 127.0.0.1.
    pub(crate) fn issue(&self) -> Issued {
        self.issue_as(&params())
    }

    pub(crate) fn issue_as(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        Issued { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

/// What a good certificate has.
pub(crate) fn params() -> CertificateParams {
    let mut params = named(&["localhost"]);
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::from(Ipv4Addr::LOCALHOST)));
    params
}

/// What a certificate for these names has.
pub(crate) fn named(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Not through `new`: it takes no name that is none.
    params.subject_alt_names =
        names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
    params.distinguished_name.push(DnType::CommonName, "a server of the tests");
    params
}

/// A certificate that nobody but itself has signed.
pub(crate) fn self_signed(params: &CertificateParams) -> Issued {
    let key = KeyPair::generate().unwrap();
    Issued { certificate: params.self_signed(&key).unwrap(), key }
}

impl Issued {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.der().clone()], PrivateKeyDer::try_from(self.key.serialize_der()).unwrap())
    }

    /// The certificate and its key in one file, as it is typed.
    pub(crate) fn in_one_file(&self, folder: &Folder) -> String {
        folder.file("both.pem", &(self.certificate.pem() + &self.key.serialize_pem()))
    }

    /// How a server with this certificate is set up.
    pub(crate) fn server(&self) -> ServerConfig {
        self.server_for(None, rustls::ALL_VERSIONS)
    }

    /// How a server is set up that lets in only callers with a certificate of `authority`.
    pub(crate) fn server_for(
        &self,
        authority: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).unwrap();
        let (chain, key) = self.der();
        let Some(authority) = authority else {
            return builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.unwrap()).with_single_cert(chain, key).unwrap()
    }
}

/// Does `serve` with the first caller; the handshake is part of the first read.
pub(crate) fn tls_server<T: Send + 'static>(
    config: ServerConfig,
    serve: impl FnOnce(Tls) -> T + Send + 'static,
) -> Server<T> {
    server(move |stream| serve(StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)))
}

/// A server for which the handshake fails; it says so to its caller, as rustls does.
pub(crate) fn failing_server(config: ServerConfig) -> Server<String> {
    tls_server(config, |mut stream| {
        let error = stream.conn.complete_io(&mut stream.sock).unwrap_err();
        // Whatever the caller has sent is read, so that the alert is not lost in a reset.
        let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
        error.to_string()
    })
}

/// Ends TLS, and then the connection.
pub(crate) fn close(mut stream: Tls) {
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock).unwrap();
    }
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    // Unread bytes would make a reset of it.
    let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
}
