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
        let found = CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        self.at_least_one(found, "certificate", "-----BEGIN CERTIFICATE-----")
    }

    /// Every list of revoked certificates in it, of which there has to be one.
    pub(super) fn revocations(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        let found = CertificateRevocationListDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        self.at_least_one(found, "list of revoked certificates", "-----BEGIN X509 CRL-----")
    }

    /// The first private key in it.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            _ if contains(&self.bytes, b"ENCRYPTED PRIVATE KEY") => self.fault(
                "its private key is encrypted; store it without a password, readable by the server alone",
            ),
            PemError::NoItemsFound => self.fault(
                "there is no private key in it; one begins with a line such as '-----BEGIN PRIVATE KEY-----'",
            ),
            error => self.fault(&in_words(&error)),
        })
    }

    fn at_least_one<T>(
        &self,
        found: Result<Vec<T>, PemError>,
        noun: &str,
        first_line: &str,
    ) -> Result<Vec<T>, Error> {
        match found {
            Ok(found) if found.is_empty() => Err(self
                .fault(&format!("there is no {noun} in it; in PEM one begins with the line '{first_line}'"))),
            Ok(found) => Ok(found),
            Err(error) => Err(self.fault(&in_words(&error))),
        }
    }

    /// `cause` says what is wrong, and what may be done about it.
    pub(super) fn fault(&self, cause: &str) -> Error {
        Error::new(Kind::Config, format!("cannot use {}", self.name), cause)
    }
}

fn in_words(error: &PemError) -> String {
    let what = match error {
        PemError::MissingSectionEnd { .. } => "a section has no end",
        PemError::IllegalSectionStart { .. } => "a section begins with a line that is none of PEM",
        PemError::Base64Decode(_) => "a section is not in base64",
        _ => "it can't be read",
    };
    format!("it is not valid PEM: {what}; was it cut off while it was copied?")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}
