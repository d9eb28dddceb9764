//! What the failure of a connection means.

use std::{fmt, io};

use crate::address::Address;
use crate::error::{Error, Kind, TlsTrouble};

/// The length of a TLS alert that is not encrypted, in bytes.
const ALERT_LEN: usize = 7;

/// A server may send an alert and then the one that closes.
const ALERTS_MAX: usize = 2;

/// How many bytes at the start of what a server says can show that it speaks TLS; see [`speaks_tls`].
pub const TLS_ALERTS_LEN_MAX: usize = ALERT_LEN * ALERTS_MAX;

/// The error for the failure of a read or of a write on a connection to `address`.
///
/// It [`is_tls`](Error::is_tls) when TLS failed or the peer has refused to go on with it, and
/// [`is_lost`](Error::is_lost) otherwise: also when the connection ended without TLS's own end, so that
/// nobody can know whether what came is all that was sent.
pub fn lost(address: &Address, cause: io::Error) -> Error {
    match TlsFailure::of(&cause) {
        None => Error::io(Kind::Lost, format!("lost the connection to {address}"), cause),
        Some(TlsFailure::CutOff) => {
            Error::io(Kind::Lost, format!("cannot read all that {address} says"), cause)
        }
        Some(TlsFailure::Refused { trouble, .. }) => {
            let trouble = *trouble;
            Error::io(Kind::Tls, cannot_speak(address), cause).with_trouble(trouble)
        }
    }
}

/// The error for a server at `address` that was spoken to in plain text, when `all` that it said before it
/// closed are the alerts of a server that speaks TLS.
///
/// No protocol in plain text begins like that by chance: an alert is seven bytes, all but one of them fixed.
/// Of what came, [`TLS_ALERTS_LEN_MAX`] bytes and one more are enough to know.
pub fn speaks_tls(address: &Address, all: &[u8]) -> Option<Error> {
    are_alerts(all).then(|| {
        let text = format!("{address} speaks TLS, and this was sent in plain text");
        Error::new(Kind::Tls, text, "").with_trouble(TlsTrouble::PlainText)
    })
}

fn are_alerts(bytes: &[u8]) -> bool {
    let is_alert = |bytes: &[u8]| matches!(bytes, [0x15, 0x03, 0..=4, 0, 2, 1..=2, _]);
    (ALERT_LEN..=TLS_ALERTS_LEN_MAX).contains(&bytes.len()) && bytes.chunks(ALERT_LEN).all(is_alert)
}

pub(crate) fn cannot_speak(address: impl fmt::Display) -> String {
    format!("cannot speak TLS with {address}")
}

/// What a stream with TLS has found out, within the [`io::Error`] of a read or a write.
#[derive(Debug)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "without TLS, it can't fail"))]
pub(crate) enum TlsFailure {
    /// One of the two ends does not go on.
    Refused { trouble: TlsTrouble, words: String },
    /// The connection ended, but not TLS.
    CutOff,
}

impl TlsFailure {
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFailure::Refused { words, .. } => f.write_str(words),
            TlsFailure::CutOff => {
                f.write_str("the connection ended without a TLS close: what came may be cut off")
            }
        }
    }
}

impl std::error::Error for TlsFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_alerts_and_nothing_else_show_that_a_server_speaks_tls() {
        let address: Address = "8443".parse().unwrap();
        let alert = b"\x15\x03\x01\0\x02\x02\x46";
        let error = speaks_tls(&address, alert).unwrap();
        assert_eq!(error.to_string(), "127.0.0.1:8443 speaks TLS, and this was sent in plain text");
        assert!(error.is_tls() && error.tls_trouble() == Some(TlsTrouble::PlainText));
        assert!(speaks_tls(&address, &[&alert[..], b"\x15\x03\x03\0\x02\x01\0"].concat()).is_some());
        for other in [&b""[..], &alert[..6], &[&alert[..], b"\n"].concat(), b"\x15\x03\x01\0\x03\x02\x46"] {
            assert!(speaks_tls(&address, other).is_none(), "{other:?}");
        }
    }
}
