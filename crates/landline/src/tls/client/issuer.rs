//! Whether a certificate was issued by itself, which is all that is read of one here.

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Whether issuer and subject of a certificate (DER) are the same. It only chooses words: nothing is trusted
/// or refused for it.
pub(super) fn is_self_signed(certificate: &[u8]) -> bool {
    names(certificate).is_some_and(|(issuer, subject)| issuer == subject)
}

/// The issuer and the subject, as they are encoded: `Certificate { TBSCertificate { [0] version, serial,
/// signature, issuer, validity, subject, … } … }`.
fn names(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, certificate, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, body, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (tag, _, after) = element(body)?;
    let (_, _, after_serial) = if tag == VERSION { element(after)? } else { element(body)? };
    let (_, _, after_signature) = element(after_serial)?;
    let (_, issuer, after_issuer) = element(after_signature)?;
    let (_, _, after_validity) = element(after_issuer)?;
    let (_, subject, _) = element(after_validity)?;
    Some((issuer, subject))
}

/// The tag and the content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No certificate is longer than what three bytes can say.
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(len)?;
    Some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_certificate_of_its_own_is_told_from_one_that_was_issued() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = params.self_signed(&key).unwrap();
        assert!(is_self_signed(own.der()));
        params.distinguished_name.push(rcgen::DnType::CommonName, "another");
        let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), &key);
        assert!(!is_self_signed(params.signed_by(&key, &issuer).unwrap().der()));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes: Vec<u8>, inner: Vec<u8>) {
            is_self_signed(&bytes);
            let len = u8::try_from(inner.len() % 128).unwrap();
            is_self_signed(&[&[SEQUENCE, len, SEQUENCE, len], &inner[..]].concat());
        }
    }
}
