//! From an address as people write it to sockets that listen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::Socket;

use crate::address::Address;
use crate::error::{Error, Kind};
use crate::sys::socket;

/// A bound, listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: Socket,
    pub(crate) address: SocketAddr,
}

/// How often to look for a free port that is free on every address of a name.
const PORT_TRIES: u32 = 16;

/// Listens on every address that the text stands for, all with the same port.
pub(crate) fn listen(address: &Address, backlog: u32) -> Result<Vec<Listener>, Error> {
    let candidates = candidates(address)?;
    let mut tries = 1;
    loop {
        match listen_on_all(address, &candidates, backlog) {
            // Port 0 got one on the first address that is taken on another.
            Err(error) if address.port() == 0 && error.is_address_in_use() && tries < PORT_TRIES => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn listen_on_all(address: &Address, candidates: &[SocketAddr], backlog: u32) -> Result<Vec<Listener>, Error> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let mut listeners: Vec<Listener> = Vec::new();
    for &candidate in candidates {
        let port = listeners.first().map_or(candidate.port(), |first| first.address.port());
        let candidate = SocketAddr::new(candidate.ip(), port);
        match listen_on(candidate, address.host().is_none(), backlog) {
            Ok(listener) => listeners.push(listener),
            // A host may have no IPv6 although its name has: the other addresses will do.
            Err(error) if is_unavailable(&error) && address.host().is_none_or(|host| !is_ip(host)) => {}
            Err(error) => return Err(cannot_listen(&candidate.to_string(), error)),
        }
        if address.host().is_none() && !listeners.is_empty() {
            break;
        }
    }
    if listeners.is_empty() {
        return Err(cannot_listen(&address.to_string(), io::ErrorKind::AddrNotAvailable.into()));
    }
    Ok(listeners)
}

/// What to try, in order; for `:PORT`, only the first that this machine has.
fn candidates(address: &Address) -> Result<Vec<SocketAddr>, Error> {
    let port = address.port();
    let Some(host) = address.host() else {
        let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        return Ok(any.map(|ip| SocketAddr::new(ip, port)).to_vec());
    };
    let resolved = (host, port)
        .to_socket_addrs()
        .map_err(|error| Error::io(Kind::Resolve, format!("cannot resolve {host}"), error))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in resolved {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn listen_on(address: SocketAddr, dual_stack: bool, backlog: i32) -> io::Result<Listener> {
    let socket = socket::listen(address, dual_stack, backlog)?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Listener { socket, address })
}

fn cannot_listen(address: &str, error: io::Error) -> Error {
    Error::io(Kind::Listen, format!("cannot listen on {address}"), error)
}

fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Whether this machine does not have the address or its whole family.
fn is_unavailable(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        let listeners = listen(&text.parse().unwrap(), 16).unwrap();
        listeners.iter().map(|listener| listener.address).collect()
    }

    #[test]
    fn a_name_listens_on_each_of_its_addresses_with_one_port() {
        let addresses = addresses("localhost:0");
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    }

    #[test]
    fn a_port_alone_is_this_machine_and_a_colon_is_the_network() {
        assert!(addresses("0")[0].ip().is_loopback());
        assert!(addresses(":0")[0].ip().is_unspecified());
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_names_it() {
        let taken = addresses_held();
        let error = listen(&Address::from(taken.address), 16).unwrap_err();
        assert!(error.is_address_in_use());
        assert_eq!(error.to_string(), format!("cannot listen on {}: address already in use", taken.address));
    }

    fn addresses_held() -> Listener {
        listen(&"0".parse().unwrap(), 16).unwrap().remove(0)
    }
}
