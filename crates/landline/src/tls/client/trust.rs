//! Whom a client trusts, and what it says of itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::issuer::is_self_signed;
use super::provider;
use super::words::SelfSigned;

/// Trusts whom the system trusts; the error is in words.
pub(super) fn platform() -> Result<Arc<dyn ServerCertVerifier>, &'static str> {
    match rustls_platform_verifier::Verifier::new(provider()) {
        Ok(inner) => Ok(Arc::new(Telling { inner: Arc::new(inner), named: Vec::new() })),
        Err(_) => Err("this system has no certificates of authorities"),
    }
}

/// Trusts whom these have issued, and nobody else; the error is in words.
pub(super) fn only(authorities: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for (at, authority) in authorities.iter().enumerate() {
        let added = roots.add(authority.clone());
        added.map_err(|_| format!("certificate {} in it can't be read", at + 1))?;
    }
    // There is at least one root, which is all that it asks for.
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let inner = built.map_err(|_| "there is no certificate in it".to_owned())?;
    Ok(Arc::new(Telling { inner, named: authorities }))
}

/// Trusts anybody.
pub(super) fn anybody() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anybody)
}

/// A verifier that says it when a certificate is signed by itself alone: another cause, and another remedy,
/// than an issuer that is not known.
#[derive(Debug)]
struct Telling {
    inner: Arc<dyn ServerCertVerifier>,
    /// Certificates that were named one by one.
    named: Vec<CertificateDer<'static>>,
}

impl Telling {
    /// Whether a certificate that was refused is one that was named, and was refused only because it says
    /// that it is an authority's. Those that `openssl req -x509` makes say so.
    ///
    /// webpki looks at that after the dates, and before it looks for an issuer, which would be the
    /// certificate itself.
    fn is_named(&self, certificate: &CertificateDer<'_>, refused: &OtherError) -> bool {
        self.named.iter().any(|named| named == certificate) && refused.to_string() == "CaUsedAsEndEntity"
    }
}

impl ServerCertVerifier for Telling {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.or_else(|error| match error {
            Error::InvalidCertificate(CertificateError::Other(refused))
                if self.is_named(end_entity, &refused) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            // Some verifiers know that an authority's certificate was presented as a server's, and nothing
            // more.
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_))
                if is_self_signed(end_entity) =>
            {
                Err(SelfSigned.into_error())
            }
            other => Err(other),
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Accepts whatever is presented. Signatures are not looked at either: they would only prove that the
/// server has the key to a certificate that anybody could have made.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What this end can say of itself on one connection, and whether it was asked to.
pub(super) struct Credentials {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Credentials {
    pub(super) fn new(identity: Option<Arc<CertifiedKey>>) -> Self {
        Self { identity, asked: AtomicBool::new(false) }
    }

    /// Whether the server has asked for a certificate and got none.
    pub(super) fn were_missed(&self) -> bool {
        self.identity.is_none() && self.asked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of it.
        let identity = self.identity.is_some();
        f.debug_struct("Credentials").field("identity", &identity).field("asked", &self.asked).finish()
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}
