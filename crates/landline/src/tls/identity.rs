//! Who a server says it is: certificates with their keys, chosen by the name that a caller asks for.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pem::Pem;
use crate::error::Error;

/// One certificate with those that vouch for it, and its key, checked to belong together.
pub(super) fn certified(
    chain: &Pem,
    key: &Pem,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), Error> {
    let certificates = chain.certificates()?;
    let names = names(&certificates[0]).ok_or_else(|| {
        chain.fault("its first certificate can't be read; it has to be an X.509 certificate of version 3")
    })?;
    let secret = key.key()?;
    let signing = provider.key_provider.load_private_key(secret);
    let signing = signing.map_err(|_| {
        key.fault("its private key is of a kind that is not supported; use ECDSA (P-256, P-384), Ed25519, or RSA of 2048 bits or more")
    })?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        // Some keys can't tell.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok((certified, names))
        }
        Err(_) => Err(key.fault(&format!(
            "its private key does not belong to the first certificate of {}; \
             the server's own certificate has to come first, before those that vouch for it",
            chain.name
        ))),
    }
}

/// The DNS names in a certificate, in lower case; none if it is no certificate.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// The SHA-256 of a certificate, as other tools show it.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() else { return String::new() };
    let digest = suite.common.hash_provider.hash(certificate);
    let mut text = String::new();
    for (index, byte) in digest.as_ref().iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a string can't fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// Every identity of a listener.
pub(super) struct Identities {
    /// For callers who ask for no name, or for one that is nobody's.
    first: Arc<CertifiedKey>,
    /// By name; `*.` and what follows for those with a wildcard. There can be several of different kinds for
    /// one name.
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Identities {
    /// None if there is not one.
    pub(super) fn new(all: Vec<(CertifiedKey, Vec<String>)>) -> Option<Self> {
        let mut first = None;
        let mut named: HashMap<String, Vec<_>> = HashMap::new();
        for (certified, names) in all {
            let certified = Arc::new(certified);
            first.get_or_insert_with(|| Arc::clone(&certified));
            for name in names {
                named.entry(name).or_default().push(Arc::clone(&certified));
            }
        }
        Some(Self { first: first?, named })
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Arc<CertifiedKey> {
        let exact = name.map(str::to_ascii_lowercase);
        let wildcard =
            exact.as_deref().and_then(|name| name.split_once('.')).map(|(_, rest)| format!("*.{rest}"));
        let mut named =
            [exact, wildcard].into_iter().flatten().filter_map(|name| self.named.get(&name)).flatten();
        // The first that the caller can check; if it can check none, it is to find out by the first.
        let suits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        let first = named.next();
        first.into_iter().chain(named).find(suits).or(first).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name(), hello.signature_schemes())))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.named.keys()).finish()
    }
}
