//! Authorities and certificates for the tests, made anew each time, and a caller that speaks TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use landline::tls::{Tls, TlsBuilder};
use landline::{Echo, Event, Framing, Server, Upper, framed};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::support::{PATIENCE, Served, serve};

/// Somebody who vouches for others.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut about = CertificateParams::new(Vec::new()).unwrap();
        about
            .distinguished_name
            .push(rcgen::DnType::CommonName, format!("authority {:?}", std::time::Instant::now()));
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        about.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = about.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(about, key), pem }
    }

    /// A certificate as told, for servers and clients.
    pub(crate) fn identity_with(
        &self,
        names: &[&str],
        tell: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut about = CertificateParams::new(names).unwrap();
        about.use_authority_key_identifier_extension = true;
        about.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        tell(&mut about);
        let chain = about.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        self.identity_with(names, |_| {})
    }

    /// A list of those who were revoked, good until a year.
    pub(crate) fn revokes(&self, serials: &[u64], until: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Identity {
    pub(crate) fn of(&self, builder: TlsBuilder) -> TlsBuilder {
        builder.identity(self.chain.as_bytes(), self.key.as_bytes())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }
}

/// What a client knows and offers.
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
    pub(crate) name: &'static str,
}

/// Every version.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

impl Client {
    /// One that trusts an authority.
    pub(crate) fn new(authority: &Authority) -> Self {
        Self::with(authority, &VERSIONS, None)
    }

    pub(crate) fn with(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let chain =
                    CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain.unwrap(), key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Self { config, name: "localhost" }
    }

    pub(crate) fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Connects; the handshake is done when something is said.
    pub(crate) fn call(&self, address: SocketAddr) -> TlsCaller {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(self.name).unwrap();
        let session = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        TlsCaller(StreamOwned::new(session, stream))
    }
}

/// A caller with blocking calls, within TLS.
pub(crate) struct TlsCaller(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl TlsCaller {
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
        self.0.flush().unwrap();
    }

    pub(crate) fn hear(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
    }

    pub(crate) fn ask(&mut self, line: &str) {
        self.say(line);
        self.hear(line.to_ascii_uppercase());
    }

    /// Whether a line is answered; what went wrong if it is not.
    pub(crate) fn is_answered(&mut self) -> Result<(), String> {
        let mut heard = [0; 6];
        let asked = self.0.write_all(b"hello\n").and_then(|()| self.0.read_exact(&mut heard));
        asked.map_err(|error| error.to_string())?;
        assert_eq!(&heard, b"HELLO\n");
        Ok(())
    }

    /// Says in TLS that it has nothing more to say.
    pub(crate) fn end(&mut self) {
        self.0.conn.send_close_notify();
        self.0.conn.complete_io(&mut self.0.sock).unwrap();
    }

    /// Reads to the end, which has to be said in TLS.
    pub(crate) fn hear_out(&mut self) -> std::io::Result<String> {
        let mut heard = String::new();
        self.0.read_to_string(&mut heard).map(|_| heard)
    }

    /// The certificate that the server showed.
    pub(crate) fn server(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// Answers lines in upper case, within TLS.
pub(crate) fn serve_tls(tls: Tls) -> Served {
    serve(|server| server.tls(tls), framed(Framing::Line, Upper))
}

/// Answers with what it was sent, within TLS.
pub(crate) fn serve_raw(tls: Tls, settings: impl FnOnce(Server) -> Server) -> Served {
    serve(|server| settings(server.tls(tls)), framed(Framing::Raw, Echo))
}

pub(crate) fn address(served: &Served) -> SocketAddr {
    served.running().local_addr()
}

/// Waits for the next close: its reason and its detail.
pub(crate) fn close(served: &Served) -> (landline::CloseReason, String) {
    match served.wait_for_close() {
        Event::Closed { reason, detail, .. } => (reason, detail.unwrap_or_default().into()),
        other => panic!("{other}"),
    }
}
