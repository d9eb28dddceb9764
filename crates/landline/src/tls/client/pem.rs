//! Certificates and keys, as people keep them in files.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates in a file, at least one, in their order; or what is wrong with it, in words.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| words(&error))?;
    if found.is_empty() {
        return Err("there is no certificate in it; certificates have to be in PEM".to_owned());
    }
    Ok(found)
}

/// The first private key in a file; or what is wrong with it, in words.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(text, b"ENCRYPTED PRIVATE KEY") => {
            "the private key in it is encrypted, and nobody is asked for passwords here".to_owned()
        }
        pem::Error::NoItemsFound => "there is no private key in it; keys have to be in PEM".to_owned(),
        error => words(&error),
    })
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it is cut off: there is a 'BEGIN' without its 'END'",
        pem::Error::IllegalSectionStart { .. } => "a line that starts with '-----BEGIN' is damaged",
        pem::Error::SectionTooLarge => "there is too much in it",
        _ => "what stands between 'BEGIN' and 'END' is damaged",
    }
    .to_owned()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
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
