//! From an address as written to a connected stream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::race::{Race, Step};
use crate::address::Address;
use crate::error::{Error, Kind};

/// Connects to `address`, by whichever of its IP addresses answers first.
///
/// A name is resolved; its addresses are tried in the manner of RFC 8305 ("happy eyeballs"): IPv6 and IPv4
/// take turns, an attempt that has not ended after 250 ms gets the next one beside it, the first that
/// succeeds is returned and the others are dropped. So a dead IPv6 address costs a quarter of a second.
/// `:PORT` means this machine, under `::1` or `127.0.0.1`. The stream has `TCP_NODELAY` set: small messages
/// leave at once.
///
/// `timeout` bounds the whole of it, the name lookup included; with `None` the operating system decides,
/// which on Linux takes about two minutes for an address that never answers.
///
/// # Errors
/// [`is_config`](Error::is_config) for a Unix socket or a descriptor, [`is_resolve`](Error::is_resolve) when
/// the name has no address, [`is_connect`](Error::is_connect) when
/// every address refused or can't be reached (the error tells of the one that came nearest to an answer),
/// [`is_lost`](Error::is_lost) when the peer took the connection and reset it at once, and
/// [`is_timeout`](Error::is_timeout) when there was no answer in time.
///
/// # Cancel safety
/// Dropping the future drops every attempt. A name lookup that has begun goes on in a background thread until
/// the system's resolver gives up; its result is thrown away.
pub async fn connect(address: &Address, timeout: Option<Duration>) -> Result<TcpStream, Error> {
    let attempt = resolve_and_race(address);
    match timeout {
        None => attempt.await,
        Some(limit) => tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, cannot_connect(address), format!("no answer within {limit:?}")))
        }),
    }
}

async fn resolve_and_race(address: &Address) -> Result<TcpStream, Error> {
    let resolved = resolve(address).await?;
    race(resolved).await.map_err(|cause| {
        let kind = match cause.kind() {
            io::ErrorKind::TimedOut => Kind::Timeout,
            // Whoever has nothing to connect to refuses; this is a peer that took the connection and dropped
            // it.
            io::ErrorKind::ConnectionReset => Kind::Lost,
            _ => Kind::Connect,
        };
        Error::io(kind, cannot_connect(address), cause)
    })
}

async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Error> {
    if address.path().is_some() || address.is_inherited() {
        let cause = "only addresses of the network can be called yet";
        return Err(Error::new(Kind::Config, format!("cannot connect to {address}"), cause));
    }
    let Some(host) = address.host() else {
        let loopback = [IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)];
        return Ok(loopback.map(|ip| SocketAddr::new(ip, address.port())).into());
    };
    let cannot_resolve = || format!("cannot resolve {host}");
    let found = lookup_host((host, address.port()));
    let found: Vec<SocketAddr> =
        found.await.map_err(|cause| Error::io(Kind::Resolve, cannot_resolve(), cause))?.collect();
    if found.is_empty() {
        return Err(Error::new(Kind::Resolve, cannot_resolve(), "the name has no address"));
    }
    Ok(found)
}

/// Runs the attempts; the error is the most telling one.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut race = Race::new(addresses);
    // Dropping the set ends the attempts in it.
    let mut attempts = JoinSet::new();
    let mut failure: Option<io::Error> = None;
    loop {
        let wait_until = match race.step(Instant::now()) {
            Step::Start(address) => {
                attempts.spawn(attempt(address));
                continue;
            }
            Step::WaitUntil(at) => Some(at),
            Step::Wait => None,
        };
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep_until(wait_until.unwrap_or_else(Instant::now)), if wait_until.is_some() => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => {
                race.failed();
                failure = Some(match failure.take() {
                    Some(earlier) => more_telling(earlier, error),
                    None => error,
                });
            }
            Some(Err(stopped)) => return Err(io::Error::other(stopped)),
            // Nothing runs and nothing waits: every address failed.
            None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

async fn attempt(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // With nobody listening on a port of the ephemeral range, the kernel may give that very port to this end,
    // and TCP then connects the socket to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The error that says more about the peer, as opposed to this machine: someone who reads `connection
/// refused` knows more than someone who reads that there is no IPv6 here.
fn more_telling(one: io::Error, other: io::Error) -> io::Error {
    let rank = |error: &io::Error| match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => 0,
        io::ErrorKind::HostUnreachable => 1,
        io::ErrorKind::ConnectionRefused => 3,
        _ => 2,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

fn cannot_connect(address: &Address) -> String {
    match address.host() {
        Some(_) => format!("cannot connect to {address}"),
        None => format!("cannot connect to localhost:{}", address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A port that is taken and has no listener: it refuses, and nobody else can be given it meanwhile.
    fn closed() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn a_port_alone_connects_under_either_family_and_small_messages_leave_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for text in [format!(":{port}"), format!("{port}"), format!("localhost:{port}")] {
            let stream = connect(&text.parse().unwrap(), None).await.unwrap();
            assert!(stream.nodelay().unwrap(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_refuses_in_the_words_of_the_person_who_typed_it() {
        let (_socket, address) = closed();
        let port = address.port();
        for (text, told) in [(format!("{port}"), "127.0.0.1"), (format!(":{port}"), "localhost")] {
            let error = connect(&text.parse().unwrap(), None).await.unwrap_err();
            assert!(error.is_refused());
            assert_eq!(error.to_string(), format!("cannot connect to {told}:{port}: connection refused"));
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_an_error_of_resolution() {
        let error = connect(&"nosuch.invalid:80".parse().unwrap(), None).await.unwrap_err();
        assert!(error.is_resolve(), "{error}");
        assert!(error.to_string().starts_with("cannot resolve nosuch.invalid: "), "{error}");
        assert!(!error.to_string().contains("lookup"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_address_of_the_network_can_not_be_called() {
        for text in ["unix:/run/landline.sock", "fd:3"] {
            let error = connect(&text.parse().unwrap(), None).await.unwrap_err();
            assert!(error.is_config() && error.to_string().starts_with(&format!("cannot connect to {text}")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_answers_is_a_timeout_that_names_its_limit() {
        let silent = Silent::new();
        let limit = Some(Duration::from_secs(10));
        let error = connect(&silent.address().into(), limit).await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(
            error.to_string(),
            format!("cannot connect to {}: no answer within 10s", silent.address())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_never_answers_costs_a_quarter_of_a_second() {
        let silent = Silent::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let begun = Instant::now();
        let stream = race(vec![silent.address(), good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begun.elapsed() >= super::super::race::ATTEMPT_DELAY);
        assert!(begun.elapsed() < 2 * super::super::race::ATTEMPT_DELAY);
    }

    #[tokio::test]
    async fn a_refused_address_gives_way_to_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (_socket, bad) = closed();
        let stream = race(vec![bad, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[test]
    fn of_several_failures_the_one_that_came_nearest_to_an_answer_is_told() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let no_ipv6 = || io::Error::from(io::ErrorKind::NetworkUnreachable);
        assert_eq!(more_telling(no_ipv6(), refused()).kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(more_telling(refused(), no_ipv6()).kind(), io::ErrorKind::ConnectionRefused);
    }

    /// A listener that leaves callers without an answer: its queue holds one connection, and that one is in
    /// it.
    struct Silent {
        listener: socket2::Socket,
        _first: std::net::TcpStream,
    }

    impl Silent {
        fn new() -> Self {
            let (listener, address) = closed();
            listener.listen(0).unwrap();
            Self { listener, _first: std::net::TcpStream::connect(address).unwrap() }
        }

        fn address(&self) -> SocketAddr {
            self.listener.local_addr().unwrap().as_socket().unwrap()
        }
    }
}
