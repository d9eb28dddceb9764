//! Who calls, by way of whom, and why somebody is not let in.

use std::fmt;
use std::net::SocketAddr;

/// Why a caller was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "log", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Refusal {
    /// As many connections are open as may be.
    Busy,
    /// As many connections are open from this address, or its IPv6 network, as may be.
    TooManyPerIp,
    /// More callers came in this second than may.
    TooFast,
    /// This address may not call.
    Denied,
    /// As many callers are at their handshakes as may be.
    TooManyHandshakes,
    /// It is none of the proxies that may call there.
    NotAProxy,
    /// It sent something else in the place of a PROXY header, or nothing.
    NoProxyHeader,
    /// Its PROXY header took longer than `handshake_timeout`.
    ProxyHeaderTimeout,
    /// It ended its side within its PROXY header.
    ProxyHeaderTruncated,
    /// Its PROXY header is longer than may be.
    ProxyHeaderTooLong,
    /// Its PROXY header breaks the rules of those.
    ProxyHeaderMalformed,
    /// Its PROXY header's checksum is not that of what came.
    ProxyHeaderChecksum,
    /// Its PROXY header is of a version, or for a kind of connection, that is not known here.
    ProxyHeaderUnsupported,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// An address of the network.
    Ip(SocketAddr),
    /// A process of this machine that called by a Unix socket.
    Local {
        /// Its number, as it was then; 0 if it is not for us to know.
        pid: u32,
        /// Its user.
        uid: u32,
    },
    /// Nobody with an address: a stream that is no network socket.
    Unnamed,
}

/// A proxy by way of which somebody called, and what its PROXY header said of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "log", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Via {
    /// The proxy's own address.
    pub proxy: PeerAddr,
    /// Whom its header named.
    pub named: Named,
}

impl Via {
    /// By way of this proxy, whose header named this.
    pub const fn new(proxy: PeerAddr, named: Named) -> Self {
        Self { proxy, named }
    }
}

/// Whom a PROXY header named. Where that is nobody with an address, the proxy counts as who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "log", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Named {
    /// A client with an address.
    Client,
    /// The proxy itself, as when it looks whether the server is there (`LOCAL`).
    Proxy,
    /// Nobody: the proxy does not know (`UNKNOWN`, `UNSPEC`).
    Nobody,
    /// Somebody who called the proxy by a Unix socket.
    Local,
}

impl Named {
    /// All of them, in the order the docs list them.
    pub const ALL: [Named; 4] = [Self::Client, Self::Proxy, Self::Nobody, Self::Local];

    /// The name under which JSON and the metrics know it.
    pub const fn name(self) -> &'static str {
        match self {
            Named::Client => "client",
            Named::Proxy => "proxy",
            Named::Nobody => "nobody",
            Named::Local => "local",
        }
    }
}

impl Refusal {
    /// Every reason, in the order the docs list them.
    pub const ALL: [Refusal; 13] = [
        Self::Busy,
        Self::TooManyPerIp,
        Self::TooFast,
        Self::Denied,
        Self::TooManyHandshakes,
        Self::NotAProxy,
        Self::NoProxyHeader,
        Self::ProxyHeaderTimeout,
        Self::ProxyHeaderTruncated,
        Self::ProxyHeaderTooLong,
        Self::ProxyHeaderMalformed,
        Self::ProxyHeaderChecksum,
        Self::ProxyHeaderUnsupported,
    ];

    /// The name under which JSON and the metrics know it.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Busy => "busy",
            Refusal::TooManyPerIp => "too_many_per_ip",
            Refusal::TooFast => "too_fast",
            Refusal::Denied => "denied",
            Refusal::TooManyHandshakes => "too_many_handshakes",
            Refusal::NotAProxy => "not_a_proxy",
            Refusal::NoProxyHeader => "no_proxy_header",
            Refusal::ProxyHeaderTimeout => "proxy_header_timeout",
            Refusal::ProxyHeaderTruncated => "proxy_header_truncated",
            Refusal::ProxyHeaderTooLong => "proxy_header_too_long",
            Refusal::ProxyHeaderMalformed => "proxy_header_malformed",
            Refusal::ProxyHeaderChecksum => "proxy_header_checksum",
            Refusal::ProxyHeaderUnsupported => "proxy_header_unsupported",
        }
    }

    /// Its words, as the log has them.
    pub const fn words(self) -> &'static str {
        match self {
            Refusal::Busy => "busy",
            Refusal::TooManyPerIp => "too many connections from this address",
            Refusal::TooFast => "too many new connections",
            Refusal::Denied => "denied",
            Refusal::TooManyHandshakes => "too many handshakes at a time",
            Refusal::NotAProxy => "no proxy of this listener",
            Refusal::NoProxyHeader => "no PROXY header",
            Refusal::ProxyHeaderTimeout => "its PROXY header took too long",
            Refusal::ProxyHeaderTruncated => "it ended within its PROXY header",
            Refusal::ProxyHeaderTooLong => "its PROXY header is too long",
            Refusal::ProxyHeaderMalformed => "its PROXY header is malformed",
            Refusal::ProxyHeaderChecksum => "its PROXY header has a wrong checksum",
            Refusal::ProxyHeaderUnsupported => "its PROXY header is of an unknown kind",
        }
    }

    /// The one line that the caller is told: `busy` if it may try again later, `denied` if it need not.
    pub const fn line(self) -> &'static str {
        match self {
            Refusal::Busy | Refusal::TooManyPerIp | Refusal::TooFast | Refusal::TooManyHandshakes => "busy\n",
            _ => "denied\n",
        }
    }
}

impl From<Option<SocketAddr>> for PeerAddr {
    fn from(address: Option<SocketAddr>) -> Self {
        address.map_or(PeerAddr::Unnamed, PeerAddr::Ip)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddr::Ip(address) => write!(f, "{address}"),
            PeerAddr::Local { pid, uid } => write!(f, "pid {pid} (uid {uid})"),
            PeerAddr::Unnamed => f.write_str("unnamed"),
        }
    }
}

#[cfg(feature = "log")]
impl serde::Serialize for PeerAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
