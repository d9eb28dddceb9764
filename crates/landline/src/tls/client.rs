//! TLS as a client speaks it.

mod issuer;
mod opening;
mod stream;
mod trust;
mod words;

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;

pub(crate) use self::stream::TlsStream;
use self::trust::Credentials;
use super::pem;
use crate::address::Address;
use crate::client::{Limit, Stream, cannot_speak};
use crate::error::{Error, Kind, TlsTrouble};
use crate::event::{Charset, escape};

/// How long a name of an application protocol may be, in bytes: ALPN has one byte to say it.
const ALPN_NAME_MAX: usize = 255;

/// How a client speaks TLS: whom it trusts, and who it is.
///
/// TLS 1.3 and 1.2 are spoken. The server has to prove that it is whom the address names: its certificate has
/// to be valid now, to be issued by someone who is trusted, and to have that very name; an IP address has to
/// be in it as an IP address. Whether it was revoked since is not asked on Linux. Nothing is kept for the
/// next connection, which verifies for itself.
///
/// ```no_run
/// use landline::client::{ClientTls, Connector, Options};
///
/// # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = ClientTls::new().cacert(&std::fs::read("ca.pem")?)?;
/// let options = Options::new().connector(Connector::new().tls(tls));
/// let mut client = options.converse("db.internal:8443").await?;
/// assert_eq!(client.ask(b"hello").await?, "HELLO");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a client connects with it"]
pub struct ClientTls {
    /// Those who are trusted in place of whom the system trusts.
    authorities: Option<Arc<dyn ServerCertVerifier>>,
    /// Those whom the system trusts, read when they are first needed. Whatever else they are told, clones
    /// share them.
    platform: Arc<OnceLock<Arc<dyn ServerCertVerifier>>>,
    identity: Option<Arc<CertifiedKey>>,
    server_name: Option<ServerName<'static>>,
    alpn: Vec<Vec<u8>>,
    insecure: bool,
}

impl ClientTls {
    /// The defaults: whoever this system trusts is trusted, the server is verified by the host of its
    /// address, and this end has no certificate.
    pub fn new() -> Self {
        Self {
            authorities: None,
            platform: Arc::default(),
            identity: None,
            server_name: None,
            alpn: Vec::new(),
            insecure: false,
        }
    }

    /// Trusts whom one of these certificates (PEM) has issued, the one itself included, and nobody else: no
    /// more whom the system trusts.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) when there is no certificate in it, or one that can't be read.
    pub fn cacert(mut self, pem: &[u8]) -> Result<Self, Error> {
        let trusted = pem::certificates(pem).and_then(trust::only);
        let wrong = |cause| Error::new(Kind::Config, "cannot trust these certificates", cause);
        self.authorities = Some(trusted.map_err(wrong)?);
        Ok(self)
    }

    /// Says who this is if the server asks: a certificate, followed by those that lead to its authority, and
    /// its private key, both PEM; they may be one file.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) when one of them is not there, can't be read, is encrypted, or when
    /// the two don't belong together.
    pub fn identity(mut self, certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        let operation = "cannot use this certificate and its key";
        let wrong = |cause| Error::new(Kind::Config, operation, cause);
        let chain = pem::certificates(certificate_pem).map_err(wrong)?;
        let key = pem::private_key(key_pem).map_err(wrong)?;
        let identity = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| wrong(words::of_our_key(&error).to_owned()))?;
        self.identity = Some(Arc::new(identity));
        Ok(self)
    }

    /// The name that is sent to the server (SNI) and that its certificate has to have, in place of the host
    /// of the address. An IP address is verified and not sent.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) when it is neither a name that the DNS can have nor an IP address.
    pub fn server_name(mut self, name: &str) -> Result<Self, Error> {
        self.server_name = Some(verifiable(name)?);
        Ok(self)
    }

    /// The application protocols (ALPN) to offer, the one that is liked best first. Which one the server
    /// chose is told by [`Stream::alpn`]; one that does not know ALPN chooses none, and that is no error.
    /// By default none is offered.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config) when one is empty or longer than 255 bytes.
    pub fn alpn<I>(mut self, protocols: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: Into<Vec<u8>>,
    {
        let protocols: Vec<Vec<u8>> = protocols.into_iter().map(Into::into).collect();
        if protocols.iter().any(|name| name.is_empty() || name.len() > ALPN_NAME_MAX) {
            let cause = format!("the name of a protocol has 1 to {ALPN_NAME_MAX} bytes");
            return Err(Error::new(Kind::Config, "cannot offer these application protocols (ALPN)", cause));
        }
        self.alpn = protocols;
        Ok(self)
    }

    /// Verifies nothing: whoever answers is taken for the server and can read everything. The bytes are
    /// encrypted all the same. It goes before [`cacert`](Self::cacert).
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Whatever can be known before the server at `address` is called. With the defaults, the first call
    /// reads the certificates that the system trusts, which takes some milliseconds.
    pub(crate) fn terms<'a>(&self, address: &'a Address) -> Result<Terms<'a>, Error> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => verifiable(address.host().unwrap_or("localhost"))?,
        };
        let credentials = Arc::new(Credentials::new(self.identity.clone()));
        let config = self.config(credentials.clone())?;
        Ok(Terms { address, name, config, credentials })
    }

    /// What rustls is to be told for one connection.
    fn config(&self, credentials: Arc<Credentials>) -> Result<Arc<ClientConfig>, Error> {
        let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        // With this provider, and with both versions compiled in, there are always some.
        let builder = versions.map_err(|error| {
            Error::new(Kind::Config, "cannot speak TLS", words::words(&error, "this program"))
        })?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?)
            .with_client_cert_resolver(credentials);
        config.alpn_protocols.clone_from(&self.alpn);
        // A resumed connection would not ask for certificates again, so that nobody could tell what the
        // server wants.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        if self.insecure {
            return Ok(trust::anybody());
        }
        if let Some(verifier) = self.authorities.as_ref().or(self.platform.get()) {
            return Ok(verifier.clone());
        }
        let verifier = trust::platform().map_err(|cause| {
            Error::new(Kind::Tls, "cannot tell which servers to trust", cause)
                .with_trouble(TlsTrouble::UnknownIssuer)
        })?;
        Ok(self.platform.get_or_init(|| verifier).clone())
    }
}

/// How TLS is to be spoken on one connection.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    address: &'a Address,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    credentials: Arc<Credentials>,
}

impl Terms<'_> {
    /// Speaks TLS with whoever has accepted, until both ends know with whom.
    pub(crate) async fn secure(self, stream: Stream, limit: &Limit) -> Result<TlsStream, Error> {
        let address = self.address;
        let handshake = stream::shake_hands(address, self.config, self.name, stream, self.credentials);
        limit
            .bound(handshake, |limit| {
                let cause = format!("the handshake was not done within {limit:?}");
                let stalled = Error::new(Kind::Timeout, cannot_speak(address), cause);
                stalled.with_trouble(TlsTrouble::Stalled)
            })
            .await
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys stay out of it.
        f.debug_struct("ClientTls")
            .field("own_authorities", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .field("alpn", &self.alpn)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

/// Where all cryptography comes from. It is passed by hand wherever it is needed: nothing is installed for
/// the whole process, which is not this library's to decide.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What the server's certificate has to have.
fn verifiable(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let name = escape(name.as_bytes(), Charset::Utf8);
        let cause = "it is neither a name that the DNS can have nor an IP address";
        Error::new(Kind::Config, format!("cannot verify a server as '{name}'"), cause)
    })
}
