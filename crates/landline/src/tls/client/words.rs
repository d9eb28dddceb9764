//! What went wrong with TLS, in words for people.
//!
//! The texts of rustls are for whoever writes TLS libraries, and some hold what the peer sent.

use std::fmt;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use crate::error::TlsTrouble;
use crate::event::{Charset, escape};

/// How many names of a certificate are told.
const NAMES_MAX: usize = 8;

/// How much of a name is told, in bytes; no name in the DNS is longer.
const NAME_MAX: usize = 253;

/// That a certificate has no issuer but itself. A verifier gives it to rustls, which hands it through.
#[derive(Debug)]
pub(super) struct SelfSigned;

impl SelfSigned {
    pub(super) fn into_error(self) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(self))))
    }

    fn is(other: &OtherError) -> bool {
        other.0.is::<Self>()
    }
}

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is signed by nobody but itself")
    }
}

impl std::error::Error for SelfSigned {}

/// What happened; `peer` is what to call the other end, as in `the server`.
pub(super) fn words(error: &Error, peer: &str) -> String {
    match error {
        Error::InvalidCertificate(cause) => certificate(cause),
        Error::AlertReceived(alert) => of_alert(*alert, peer),
        Error::NoCertificatesPresented => format!("{peer} has no certificate"),
        Error::PeerIncompatible(cause) => incompatible(cause, peer),
        Error::NoApplicationProtocol => format!("{peer} offers no application protocol (ALPN) of ours"),
        Error::DecryptError => format!("what came can't be decrypted: it is damaged, or not from {peer}"),
        Error::PeerMisbehaved(_)
        | Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => format!("{peer} does not keep to the rules of TLS"),
        Error::FailedToGetCurrentTime => "this machine does not know the time".to_owned(),
        Error::FailedToGetRandomBytes => "this machine gives no random numbers".to_owned(),
        _ => "this is not possible with TLS".to_owned(),
    }
}

/// What a program can do something about.
pub(super) fn trouble(error: &Error) -> TlsTrouble {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            TlsTrouble::UnknownIssuer
        }
        Error::InvalidCertificate(CertificateError::Other(other)) if SelfSigned::is(other) => {
            TlsTrouble::SelfSigned
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => TlsTrouble::WrongName,
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => TlsTrouble::OutOfDate,
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::NoCertificate) => {
            TlsTrouble::CertificateWanted
        }
        _ => TlsTrouble::Other,
    }
}

fn certificate(cause: &CertificateError) -> String {
    match cause {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("the certificate has expired {} ago", Span::between(*not_after, *time))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("the certificate is not valid yet, but in {}", Span::between(*time, *not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => wrong_name(expected, presented),
        CertificateError::Other(other) if SelfSigned::is(other) => SelfSigned.to_string(),
        other => plain(other).to_owned(),
    }
}

fn plain(cause: &CertificateError) -> &'static str {
    match cause {
        CertificateError::Expired => "the certificate has expired",
        CertificateError::NotValidYet => "the certificate is not valid yet",
        CertificateError::NotValidForName => "the certificate is for another name",
        CertificateError::UnknownIssuer => "nobody who is trusted here has issued the certificate",
        CertificateError::Revoked => "the certificate was revoked",
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "nothing says whether the certificate was revoked"
        }
        CertificateError::BadEncoding => "the certificate can't be read",
        CertificateError::BadSignature => "the authority that the certificate names has not signed it",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate is signed in a way that is not supported, or no longer safe"
        }
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has conditions that are not known here"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is for another purpose"
        }
        CertificateError::InvalidOcspResponse => {
            "what came with the certificate about its revocation is wrong"
        }
        _ => "the certificate is not one that can be trusted for this",
    }
}

fn incompatible(cause: &PeerIncompatible, peer: &str) -> String {
    match cause {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => no_version(peer),
        _ => format!("{peer} knows no way to encrypt that is known here"),
    }
}

fn no_version(peer: &str) -> String {
    format!("{peer} speaks neither TLS 1.3 nor TLS 1.2, which are those that are safe")
}

fn of_alert(alert: AlertDescription, peer: &str) -> String {
    let refuses = |why: &str| format!("{peer} does not accept our certificate: {why}");
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => wanted(peer),
        AlertDescription::UnknownCA => refuses("nobody whom it trusts has issued it"),
        AlertDescription::CertificateExpired => refuses("it has expired, or is not valid yet"),
        AlertDescription::CertificateRevoked => refuses("it was revoked"),
        AlertDescription::UnsupportedCertificate => refuses("it is of a kind that it does not support"),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            refuses("it does not say why")
        }
        AlertDescription::AccessDenied => format!("{peer} knows who this is, and denies access"),
        AlertDescription::ProtocolVersion => no_version(peer),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!("{peer} found nothing that both ends can do")
        }
        AlertDescription::NoApplicationProtocol => {
            format!("{peer} speaks none of the application protocols (ALPN) that were offered")
        }
        AlertDescription::UnrecognisedName => format!("{peer} does not answer to this name"),
        AlertDescription::InternalError => format!("{peer} has trouble of its own"),
        AlertDescription::DecryptError => format!("{peer} can't verify what this end has signed"),
        AlertDescription::UserCanceled => format!("{peer} has given up"),
        _ => format!("{peer} says that what it got was wrong (alert {})", u8::from(alert)),
    }
}

/// What is wrong with a certificate and a key of our own.
pub(super) fn of_our_key(error: &Error) -> &'static str {
    match error {
        Error::InconsistentKeys(_) => "the private key is not that of the certificate",
        Error::InvalidCertificate(_) => "the certificate can't be read",
        _ => "the private key can't be read, or is of a kind that is not supported",
    }
}

/// Whether this is what peers say, one or the other, to someone who has sent them no certificate.
pub(super) fn may_want_a_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
    )
}

/// That the peer wants to know who this is.
pub(super) fn wanted(peer: &str) -> String {
    format!("{peer} asks for a certificate of ours")
}

fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let names: Vec<String> = presented.iter().filter_map(|name| name_of(name)).collect();
    let wanted = escape(expected.to_str().as_bytes(), Charset::Ascii);
    if names.is_empty() {
        return format!("the certificate names no host, so it is not for {wanted}");
    }
    let told = names[..names.len().min(NAMES_MAX)].join(", ");
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the certificate is for {told}{more}, not for {wanted}")
}

/// A name out of rustls's text for it, which is `DnsName("…")` or `IpAddress(…)`, escaped: it is the peer's.
fn name_of(presented: &str) -> Option<String> {
    let name = presented
        .strip_prefix("DnsName(\"")
        .and_then(|rest| rest.strip_suffix("\")"))
        .or_else(|| presented.strip_prefix("IpAddress(").and_then(|rest| rest.strip_suffix(')')))?;
    let end = name.len().min(NAME_MAX);
    Some(escape(&name.as_bytes()[..end], Charset::Ascii))
}

/// A time between two moments, in the largest unit that it fills.
struct Span(u64);

impl Span {
    fn between(from: UnixTime, to: UnixTime) -> Self {
        Self(to.as_secs().saturating_sub(from.as_secs()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            seconds @ 0..60 => (seconds, "second"),
            seconds @ 60..3600 => (seconds / 60, "minute"),
            seconds @ 3600..86_400 => (seconds / 3600, "hour"),
            seconds => (seconds / 86_400, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn presented(names: &[&str]) -> String {
        let presented: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        wrong_name(&ServerName::try_from("example.com").unwrap(), &presented)
    }

    #[test]
    fn a_wrong_name_is_told_with_those_that_would_be_right() {
        assert_eq!(
            presented(&["DnsName(\"*.a.example\")", "IpAddress(127.0.0.1)", "DirectoryName"]),
            "the certificate is for *.a.example, 127.0.0.1, not for example.com"
        );
        assert_eq!(
            presented(&["Unsupported(0x81)"]),
            "the certificate names no host, so it is not for example.com"
        );
        let many = vec!["DnsName(\"x\")"; 20];
        assert!(presented(&many).contains("x, x, x, x, x, x, x, x and 12 more, not for"));
    }

    #[test]
    fn times_are_told_in_the_unit_that_they_fill() {
        let told = |seconds| Span(seconds).to_string();
        assert_eq!((told(1), told(119)), ("1 second".to_owned(), "1 minute".to_owned()));
        assert_eq!((told(7200), told(86_400 * 400)), ("2 hours".to_owned(), "400 days".to_owned()));
    }

    #[test]
    fn a_peer_s_alert_is_told_as_what_it_means() {
        for (alert, told) in [
            (AlertDescription::CertificateRequired, "the server asks for a certificate of ours"),
            (
                AlertDescription::UnknownCA,
                "the server does not accept our certificate: nobody whom it trusts",
            ),
            (AlertDescription::ProtocolVersion, "the server speaks neither TLS 1.3 nor TLS 1.2"),
            (AlertDescription::Unknown(200), "(alert 200)"),
        ] {
            let words = words(&Error::AlertReceived(alert), "the server");
            assert!(words.contains(told), "{words}");
        }
    }

    #[test]
    fn nothing_that_is_wrong_with_a_certificate_is_told_in_the_words_of_a_debugger() {
        for (cause, told) in [
            (CertificateError::Revoked, "the certificate was revoked"),
            (CertificateError::InvalidPurpose, "the certificate is for another purpose"),
            (
                CertificateError::Other(OtherError(std::sync::Arc::new(fmt::Error))),
                "the certificate is not one",
            ),
        ] {
            let words = words(&Error::InvalidCertificate(cause), "the server");
            assert!(words.starts_with(told), "{words}");
        }
    }

    proptest! {
        #[test]
        fn no_name_in_a_certificate_steers_a_terminal(name: Vec<u8>) {
            let name = format!("DnsName(\"{}\")", String::from_utf8_lossy(&name));
            prop_assert!(presented(&[&name]).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
