//! The header by which a proxy says for whom it calls: "The PROXY protocol, versions 1 and
//! 2". Pure: it looks at the bytes that are there, and says what they are or that more have to come.

mod v1;
mod v2;

use std::net::SocketAddr;

/// The longest header that is taken, in bytes, whatever it adds to the addresses.
pub(crate) const HEADER_MAX: usize = 4096;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// How long it is, in bytes: what comes after it is the client's.
    pub(crate) len: usize,
    pub(crate) says: Proxied,
}

/// For whom a proxy calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxied {
    /// A client that called it by TCP, from this address.
    Client(SocketAddr),
    /// Itself.
    Local,
    /// It does not say.
    Unknown,
    /// A client that called it by a Unix socket.
    Unix,
}

/// What a beginning of a stream is, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    Complete(Header),
    /// More of the header has to come.
    Incomplete,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// There is none: the stream begins with something else.
    Missing,
    /// It is longer than [`HEADER_MAX`], or than its version allows.
    TooLong,
    /// It breaks the rules of its version.
    Malformed,
    /// Its checksum is not that of what came.
    WrongChecksum,
    /// Its version, or the kind of connection that it is for, is not known here.
    Unsupported,
}

/// Looks at the beginning of a stream. The same bytes and more of them never contradict what was said.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    if begins_like(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins_like(bytes, v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Whether what has come of a stream agrees with this.
fn begins_like(bytes: &[u8], signature: &[u8]) -> bool {
    let len = bytes.len().min(signature.len());
    bytes[..len] == signature[..len]
}

#[cfg(test)]
mod tests;
