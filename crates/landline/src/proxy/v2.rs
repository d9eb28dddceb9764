//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{HEADER_MAX, Header, HeaderError, Parsed, Proxied};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and protocol, and the length of the rest.
const FIXED: usize = 16;
/// The type of the addition that is a checksum.
const CRC32C: u8 = 0x03;
/// How long an addition is without its value: a type and a length.
const ADDITION: usize = 3;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    // What can be known is told as soon as it has come.
    let is_local = bytes.get(12).map(|byte| command(*byte)).transpose()?;
    let kind = bytes.get(13).map(|byte| match is_local {
        // Who calls for itself may leave anything in the place of kind and addresses.
        Some(true) => Ok(Kind::Unspecified),
        _ => Kind::of(*byte),
    });
    let (Some(is_local), Some(kind), Some(len)) = (is_local, kind.transpose()?, bytes.get(14..FIXED)) else {
        return Ok(Parsed::Incomplete);
    };
    let len = FIXED + usize::from(u16::from_be_bytes([len[0], len[1]]));
    if len > HEADER_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(header) = bytes.get(..len) else { return Ok(Parsed::Incomplete) };
    let rest = &header[FIXED..];
    let (addresses, additions) = rest.split_at_checked(kind.len()).ok_or(HeaderError::Malformed)?;
    if is_local {
        return Ok(Parsed::Complete(Header { len, says: Proxied::Local }));
    }
    if let Some(checksum) = checksum(additions)? {
        verify(header, len - additions.len() + checksum)?;
    }
    Ok(Parsed::Complete(Header { len, says: kind.proxied(addresses) }))
}

/// Whether the proxy calls for itself.
fn command(byte: u8) -> Result<bool, HeaderError> {
    match byte {
        0x20 => Ok(true),
        0x21 => Ok(false),
        _ if byte >> 4 != 2 => Err(HeaderError::Unsupported),
        _ => Err(HeaderError::Malformed),
    }
}

/// What kind of connection the client has to the proxy.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Unspecified,
    V4,
    V6,
    Unix,
}

impl Kind {
    /// By family and protocol; datagrams don't come to a server of streams.
    fn of(byte: u8) -> Result<Self, HeaderError> {
        match byte {
            0x00 => Ok(Self::Unspecified),
            0x11 => Ok(Self::V4),
            0x21 => Ok(Self::V6),
            0x31 => Ok(Self::Unix),
            0x12 | 0x22 | 0x32 => Err(HeaderError::Unsupported),
            _ => Err(HeaderError::Malformed),
        }
    }

    /// How long its addresses are, in bytes.
    fn len(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
        }
    }

    /// Whom addresses of that length name.
    fn proxied(self, addresses: &[u8]) -> Proxied {
        let client = |ip: IpAddr, port: &[u8]| {
            let port = port.first_chunk().map_or(0, |port| u16::from_be_bytes(*port));
            Proxied::Client(SocketAddr::new(ip, port))
        };
        match (self, addresses.first_chunk::<4>(), addresses.first_chunk::<16>()) {
            (Self::V4, Some(source), _) => client(Ipv4Addr::from(*source).into(), &addresses[8..]),
            (Self::V6, _, Some(source)) => client(Ipv6Addr::from(*source).into(), &addresses[32..]),
            (Self::Unix, _, _) => Proxied::Unix,
            _ => Proxied::Unknown,
        }
    }
}

/// Where in the additions the checksum is, if there is one. They have to be whole.
fn checksum(additions: &[u8]) -> Result<Option<usize>, HeaderError> {
    let (mut at, mut found) = (0, None);
    while at < additions.len() {
        let head: &[u8; ADDITION] = additions[at..].first_chunk().ok_or(HeaderError::Malformed)?;
        let (value, len) = (at + ADDITION, usize::from(u16::from_be_bytes([head[1], head[2]])));
        if additions.len() - value < len {
            return Err(HeaderError::Malformed);
        }
        if head[0] == CRC32C && (len != 4 || found.replace(value).is_some()) {
            return Err(HeaderError::Malformed);
        }
        at = value + len;
    }
    Ok(found)
}

/// The checksum is that of the header with zeros in its place.
fn verify(header: &[u8], at: usize) -> Result<(), HeaderError> {
    let (before, rest) = header.split_at(at);
    let (stands, after) = rest.split_first_chunk().ok_or(HeaderError::Malformed)?;
    let crc = [before, &[0; 4], after].into_iter().fold(!0, crc32c);
    if !crc == u32::from_be_bytes(*stands) { Ok(()) } else { Err(HeaderError::WrongChecksum) }
}

/// The checksum of Castagnoli (RFC 3720, section 12.1), bit by bit: a header is short, and most have none.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_castagnoli() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
