//! What is in PEM, and what is wrong with it.

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::error::{Error, Kind};

/// Bytes in PEM, with the name of where they come from.
#[derive(Clone)]
pub(super) struct Pem {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Pem {
    /// Every certificate in it, of which there has to be one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        certificates(&self.bytes).map_err(|cause| self.fault(&cause))
    }

    /// Every list of revoked certificates in it, of which there has to be one.
    pub(super) fn revocations(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        let found = all(&self.bytes, "list of revoked certificates", "-----BEGIN X509 CRL-----");
        found.map_err(|cause| self.fault(&cause))
    }

    /// The first private key in it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        private_key(&self.bytes).map_err(|cause| self.fault(&cause))
    }

    /// `cause` says what is wrong, and what may be done about it.
    pub(super) fn fault(&self, cause: &str) -> Error {
        Error::new(Kind::Config, format!("cannot use {}", self.name), cause)
    }
}

/// All certificates, at least one, in their order; or what is wrong, in words.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    all(text, "certificate", "-----BEGIN CERTIFICATE-----")
}

/// The first private key; or what is wrong, in words.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let is_encrypted = memchr::memmem::find(text, b"ENCRYPTED PRIVATE KEY").is_some();
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        _ if is_encrypted => {
            "its private key is encrypted; store it without a password, readable by its owner alone"
                .to_owned()
        }
        PemError::NoItemsFound => {
            "there is no private key in it; one begins with a line such as '-----BEGIN PRIVATE KEY-----'"
                .to_owned()
        }
        error => in_words(&error),
    })
}

/// All there is of a kind, at least one.
fn all<T: PemObject>(text: &[u8], noun: &str, first_line: &str) -> Result<Vec<T>, String> {
    let found: Vec<T> =
        T::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| in_words(&error))?;
    if found.is_empty() {
        return Err(format!("there is no {noun} in it; in PEM one begins with the line '{first_line}'"));
    }
    Ok(found)
}

fn in_words(error: &PemError) -> String {
    let what = match error {
        PemError::MissingSectionEnd { .. } => "there is a 'BEGIN' without its 'END'",
        PemError::IllegalSectionStart { .. } => "a line that starts with '-----BEGIN' is damaged",
        PemError::SectionTooLarge => "there is too much in it",
        _ => "what stands between 'BEGIN' and 'END' is damaged",
    };
    format!("it is not valid PEM: {what}; was it cut off while it was copied?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_in_words() {
        for (text, cause) in [
            ("", "no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "without its 'END'"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is damaged"),
        ] {
            assert!(certificates(text.as_bytes()).unwrap_err().contains(cause), "{text}");
        }
        for (text, cause) in [
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no private key in it"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "encrypted",
            ),
        ] {
            assert!(private_key(text.as_bytes()).unwrap_err().contains(cause), "{text}");
        }
    }
}
