//! Addresses as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::error::{Error, Kind};

/// An address as people write it: `PORT`, `:PORT`, `HOST:PORT` or `[IPV6]:PORT`.
///
/// `PORT` alone means this machine only (127.0.0.1). `:PORT` means, for a listener, every address of
/// this machine, IPv6 and IPv4; for a client, this machine under either.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    /// Nothing was said: every address.
    Any,
    /// An address or a name. IPv6 addresses have no brackets here.
    Named(String),
}

impl Address {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host name or IP address (IPv6 without brackets); `None` for `:PORT`.
    pub fn host(&self) -> Option<&str> {
        match &self.host {
            Host::Any => None,
            Host::Named(name) => Some(name),
        }
    }
}

const FORMS: &str = "an address is PORT, :PORT, HOST:PORT or [IPV6]:PORT";

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |cause: &str| {
            Error::new(Kind::Config, format!("cannot read the address '{}'", text.escape_debug()), cause)
        };
        let (host, port) = match text.rsplit_once(':') {
            None if text.bytes().all(|b| b.is_ascii_digit()) => ("127.0.0.1", text),
            None => return Err(wrong(&format!("it has no port; {FORMS}"))),
            Some((scheme @ ("unix" | "fd" | "systemd"), _)) => {
                return Err(wrong(&format!("'{scheme}:' is not supported yet; {FORMS}")));
            }
            Some(parts) => parts,
        };
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong(&format!("'{}' is not a port; {FORMS}", port.escape_debug())));
        }
        let port = port.parse().map_err(|_| wrong("a port is at most 65535"))?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => Host::Named(v6.to_owned()),
            Some(_) => return Err(wrong("what stands in brackets is not an IPv6 address")),
            None if host.is_empty() => Host::Any,
            None if host.contains(':') => {
                return Err(wrong("an IPv6 address needs brackets before its port, as in [::1]:8081"));
            }
            None if host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]/@".contains(c)) => {
                return Err(wrong(&format!("the host has a character that no host name has; {FORMS}")));
            }
            None => Host::Named(host.to_owned()),
        };
        Ok(Self { host, port })
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Named(address.ip().to_string()), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => write!(f, ":{}", self.port),
            Host::Named(v6) if v6.contains(':') => write!(f, "[{v6}]:{}", self.port),
            Host::Named(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_is_read_and_written() {
        for (text, written) in [
            ("8081", "127.0.0.1:8081"),
            (":8081", ":8081"),
            ("localhost:0", "localhost:0"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]:65535", "[::1]:65535"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_wrong_about_it() {
        for (text, cause) in [
            ("", "'' is not a port"),
            ("localhost", "it has no port"),
            ("localhost:", "'' is not a port"),
            ("localhost:http", "'http' is not a port"),
            ("localhost:70000", "a port is at most 65535"),
            ("::1:8081", "needs brackets"),
            ("[localhost]:80", "not an IPv6 address"),
            ("http://localhost:80", "needs brackets"),
            ("a b:80", "a character that no host name has"),
            ("unix:/tmp/socket", "not supported yet"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.is_config() && error.to_string().contains(cause), "{text}: {error}");
        }
    }
}
