//! A certificate for which nobody vouches, for trying out.

use std::fmt;

use rcgen::{CertificateParams, DnType, KeyPair};

use crate::error::{Error, Kind};

/// A certificate that vouches for itself, and its key.
#[derive(Clone)]
pub struct SelfSigned {
    /// The certificate, in PEM.
    pub certificate: Vec<u8>,
    /// Its private key, in PEM.
    pub key: Vec<u8>,
}

/// Makes a certificate for which nobody vouches, with a new key: for `localhost`, `127.0.0.1`, `::1` and
/// `names`, each a DNS name or an address. Whoever is to trust it compares its
/// [fingerprint](super::Tls::fingerprint).
///
/// # Errors
/// [`is_config`](Error::is_config) for what is no name.
pub fn self_signed<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<SelfSigned, Error> {
    let cannot = |error: rcgen::Error| {
        let cause = crate::error::describe(&std::io::Error::other(error));
        Error::new(Kind::Config, "cannot make a certificate", cause)
    };
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    for name in names.into_iter().map(Into::into) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let key = KeyPair::generate().map_err(cannot)?;
    let mut parameters = CertificateParams::new(all).map_err(cannot)?;
    parameters.distinguished_name.push(DnType::CommonName, "landline, self-signed");
    let certificate = parameters.self_signed(&key).map_err(cannot)?;
    Ok(SelfSigned { certificate: certificate.pem().into(), key: key.serialize_pem().into() })
}

/// Nothing of its key.
impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelfSigned")
    }
}
