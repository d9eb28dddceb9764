//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, HeaderError, Parsed, Proxied};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line, its end included: section 2.1.
const LINE_MAX: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(newline) = seen.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_MAX { Ok(Parsed::Incomplete) } else { Err(HeaderError::TooLong) };
    };
    let line = seen[..newline].strip_suffix(b"\r").ok_or(HeaderError::Malformed)?;
    let rest = line.strip_prefix(SIGNATURE).ok_or(HeaderError::Malformed)?;
    let rest = std::str::from_utf8(rest).map_err(|_| HeaderError::Malformed)?;
    Ok(Parsed::Complete(Header { len: newline + 1, says: proxied(rest)? }))
}

fn proxied(rest: &str) -> Result<Proxied, HeaderError> {
    let mut words = rest.split(' ');
    let is_v4 = match words.next() {
        // Whatever else it has is to be ignored.
        Some("UNKNOWN") => return Ok(Proxied::Unknown),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(HeaderError::Malformed),
    };
    let mut word = || words.next().ok_or(HeaderError::Malformed);
    let (source, destination, source_port, destination_port) = (word()?, word()?, word()?, word()?);
    let client = SocketAddr::new(ip(source, is_v4)?, port(source_port)?);
    // It is of no use here, and has to be in order all the same.
    let _ = (ip(destination, is_v4)?, port(destination_port)?);
    if words.next().is_some() { Err(HeaderError::Malformed) } else { Ok(Proxied::Client(client)) }
}

fn ip(word: &str, is_v4: bool) -> Result<IpAddr, HeaderError> {
    let ip = if is_v4 {
        word.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        word.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    ip.map_err(|_| HeaderError::Malformed)
}

/// Decimal digits without a sign, and without zeros before them.
fn port(word: &str) -> Result<u16, HeaderError> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    let port = word.parse().ok().filter(|_| is_plain);
    port.ok_or(HeaderError::Malformed)
}
