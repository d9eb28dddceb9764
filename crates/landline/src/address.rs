//! Addresses as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Kind};
use crate::event::{Charset, escape};

/// An address as people write it: `PORT`, `:PORT`, `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; for a listener
/// also `fd:N` or `systemd:NAME`.
///
/// `PORT` alone means this machine only (127.0.0.1). `:PORT` means, for a listener, every address of
/// this machine, IPv6 and IPv4; for a client, this machine under either. `fd:N` is a socket that listens
/// already, which whoever started the program left open under this number; `systemd:NAME` stands for those
/// that systemd has opened for it under this name (`FileDescriptorName=`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Place);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    /// Every address of this machine.
    Any { port: u16 },
    /// An address or a name. IPv6 addresses have no brackets here.
    Host { name: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
    /// An inherited descriptor.
    Descriptor(i32),
    /// Sockets that systemd has opened, by their name.
    Systemd(String),
}

impl Address {
    /// The port; 0 where there is none.
    pub fn port(&self) -> u16 {
        match self.0 {
            Place::Any { port } | Place::Host { port, .. } => port,
            Place::Unix(_) | Place::Descriptor(_) | Place::Systemd(_) => 0,
        }
    }

    /// The host name or IP address (IPv6 without brackets); `None` for `:PORT` and where there is none.
    pub fn host(&self) -> Option<&str> {
        match &self.0 {
            Place::Host { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The path of a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// The number of an inherited descriptor.
    pub fn descriptor(&self) -> Option<i32> {
        match self.0 {
            Place::Descriptor(number) => Some(number),
            _ => None,
        }
    }
}

impl Address {
    /// The name of sockets that systemd has opened.
    pub fn systemd(&self) -> Option<&str> {
        match &self.0 {
            Place::Systemd(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it stands for what listens already when the program is started.
    pub fn is_inherited(&self) -> bool {
        matches!(self.0, Place::Descriptor(_) | Place::Systemd(_))
    }
}

/// What `sockaddr_un` holds on every system, without the zero at its end.
const UNIX_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const FORMS: &str = "an address is PORT, :PORT, HOST:PORT, [IPV6]:PORT or unix:PATH";

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |cause: &str| {
            Error::new(Kind::Config, format!("cannot read the address '{}'", text.escape_debug()), cause)
        };
        match text.split_once(':') {
            Some(("unix", path)) => return unix(path).map_err(|cause| wrong(&cause)),
            Some(("fd", number)) => return descriptor(number).map_err(|cause| wrong(&cause)),
            Some(("systemd", name)) => return systemd(name).map_err(|cause| wrong(&cause)),
            _ => {}
        }
        let (host, port) = match text.rsplit_once(':') {
            None if text.bytes().all(|b| b.is_ascii_digit()) => ("127.0.0.1", text),
            None => return Err(wrong(&format!("it has no port; {FORMS}"))),
            Some(parts) => parts,
        };
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong(&format!("'{}' is not a port; {FORMS}", port.escape_debug())));
        }
        let port = port.parse().map_err(|_| wrong("a port is at most 65535"))?;
        let name = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(_) => return Err(wrong("what stands in brackets is not an IPv6 address")),
            None if host.is_empty() => return Ok(Self(Place::Any { port })),
            None if host.contains(':') => {
                return Err(wrong("an IPv6 address needs brackets before its port, as in [::1]:8081"));
            }
            None if host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]/@".contains(c)) => {
                return Err(wrong(&format!("the host has a character that no host name has; {FORMS}")));
            }
            None => host,
        };
        Ok(Self(Place::Host { name: name.to_owned(), port }))
    }
}

fn unix(path: &str) -> Result<Address, String> {
    if path.is_empty() {
        return Err("the path of a Unix socket is missing, as in unix:/run/landline.sock".to_owned());
    }
    if path.len() > UNIX_PATH_MAX {
        return Err(format!("the path of a Unix socket is at most {UNIX_PATH_MAX} bytes long"));
    }
    if path.contains('\0') {
        return Err("no path has a zero byte".to_owned());
    }
    Ok(Address(Place::Unix(path.into())))
}

fn descriptor(number: &str) -> Result<Address, String> {
    match number.parse() {
        Ok(number @ 3..) => Ok(Address(Place::Descriptor(number))),
        Ok(0..3) => Err("descriptors 0 to 2 are the standard streams".to_owned()),
        _ => Err("a descriptor is a number from 3 on, as in fd:3".to_owned()),
    }
}

fn systemd(name: &str) -> Result<Address, String> {
    if name.is_empty() {
        return Err("the name of the socket is missing, as in systemd:web".to_owned());
    }
    // `FileDescriptorName=` takes no others.
    if name.len() > 255
        || !name.bytes().all(|byte| byte.is_ascii() && byte != b':' && !byte.is_ascii_control())
    {
        return Err("the name of a socket has up to 255 printable ASCII characters, and no colon".to_owned());
    }
    Ok(Address(Place::Systemd(name.to_owned())))
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
        Self(Place::Host { name: address.ip().to_string(), port: address.port() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Any { port } => write!(f, ":{port}"),
            Place::Host { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Place::Host { name, port } => write!(f, "{name}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", escape(path.as_os_str().as_bytes(), Charset::Utf8)),
            Place::Descriptor(number) => write!(f, "fd:{number}"),
            Place::Systemd(name) => write!(f, "systemd:{name}"),
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
            ("unix:/run/a:1.sock", "unix:/run/a:1.sock"),
            ("unix:/tmp/a\nb", "unix:/tmp/a\\nb"),
            ("fd:3", "fd:3"),
            ("systemd:web", "systemd:web"),
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
            ("unix:", "is missing"),
            (&format!("unix:/{}", "x".repeat(107)), "bytes long"),
            ("fd:x", "from 3 on"),
            ("fd:-1", "from 3 on"),
            ("fd:1", "standard streams"),
            ("systemd:", "is missing"),
            ("systemd:a:b", "no colon"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.is_config() && error.to_string().contains(cause), "{text}: {error}");
        }
    }
}
