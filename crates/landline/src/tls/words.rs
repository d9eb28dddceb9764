//! What went wrong in TLS, in words. Nothing that a peer sent is in them.

use std::fmt::Debug;

use rustls::{CertificateError, Error, PeerIncompatible};

/// Why a handshake failed, or a connection after it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => format!("the client gave up: {}", plain(alert)),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => {
            "what the client sent is not what TLS allows there".into()
        }
        Error::PeerIncompatible(why) => incompatible(why),
        Error::PeerMisbehaved(why) => format!("the client broke the rules of TLS: {}", plain(why)),
        Error::NoCertificatesPresented => "the client showed no certificate, and one is required".into(),
        Error::InvalidCertificate(why) => format!("the client's certificate {}", certificate(why)),
        Error::NoApplicationProtocol => "the client speaks none of this listener's protocols (ALPN)".into(),
        Error::DecryptError => "a record does not decrypt: it was changed on its way".into(),
        Error::PeerSentOversizedRecord => "a record is larger than TLS allows".into(),
        other => format!("TLS failed: {}", plain(other)),
    }
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        // What is older than TLS 1.2 does not have it, and that is looked at first.
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            "the client offers only versions of TLS that are too old here".into()
        }
        PeerIncompatible::NoCipherSuitesInCommon => {
            "the client offers no cipher suite that is spoken here".into()
        }
        PeerIncompatible::NoKxGroupsInCommon => {
            "the client offers no key exchange that is spoken here".into()
        }
        PeerIncompatible::NoSignatureSchemesInCommon => {
            "the client can't check a signature by any certificate of this listener".into()
        }
        other => format!("the client lacks something of TLS: {}", plain(other)),
    }
}

fn certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "was revoked",
        CertificateError::UnknownIssuer => "is of an authority that is not trusted here",
        CertificateError::UnknownRevocationStatus => {
            "has an issuer of whom there is no list of revoked certificates"
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "can't be checked: the list of revoked certificates has expired"
        }
        CertificateError::BadSignature => "has a signature that is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not one for clients"
        }
        CertificateError::BadEncoding => "can't be read",
        _ => "is not accepted",
    }
}

/// The name that a library has given to something, as words: `UnknownCA` is `unknown ca`.
fn plain(name: &impl Debug) -> String {
    let name = format!("{name:?}");
    let end = name.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(name.len());
    let mut text = String::new();
    let mut was_lower = false;
    for letter in name[..end].chars() {
        if letter.is_ascii_uppercase() && was_lower {
            text.push(' ');
        }
        was_lower = !letter.is_ascii_uppercase();
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::AlertDescription;

    #[test]
    fn names_of_the_library_become_words() {
        assert_eq!(
            words(&Error::AlertReceived(AlertDescription::UnknownCA)),
            "the client gave up: unknown ca"
        );
        assert_eq!(
            words(&Error::AlertReceived(AlertDescription::BadCertificate)),
            "the client gave up: bad certificate"
        );
        assert_eq!(plain(&Error::General("secret\n".into())), "general");
    }
}
