//! From an address as written to a connected stream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::connector::{Connector, Family, Limit, Step, impossible};
use super::race::{self, Race};
use super::socket::Socket;
use super::stream::Stream;
use crate::address::Address;
use crate::error::{Error, Kind};
use crate::server::ListenAddr;

/// Connects to `address`, in plain text; [`Connector::connect`] says how.
pub(super) async fn reach(by: &Connector, address: &Address, limit: &Limit) -> Result<Stream, Error> {
    let attempt = async {
        match address.path() {
            Some(path) => call_path(by, address, path).await,
            None => resolve_and_race(by, address).await,
        }
    };
    limit
        .bound(attempt, |limit| {
            Error::new(Kind::Timeout, cannot_connect(address), format!("no answer within {limit:?}"))
        })
        .await
}

async fn call_path(by: &Connector, address: &Address, path: &Path) -> Result<Stream, Error> {
    let listener = ListenAddr::Unix(path.to_owned());
    by.tell(&Step::Trying { listener: &listener });
    match UnixStream::connect(path).await {
        Ok(socket) => Ok(announced(by, Socket::Unix(socket))),
        Err(cause) => {
            by.tell(&Step::Failed { listener: &listener, cause: &cause });
            Err(Error::io(Kind::Connect, cannot_connect(address), cause))
        }
    }
}

async fn resolve_and_race(by: &Connector, address: &Address) -> Result<Stream, Error> {
    let resolved = resolve(by, address).await?;
    race(by, resolved).await.map(|socket| announced(by, Socket::Tcp(socket))).map_err(|cause| {
        let kind = match cause.kind() {
            io::ErrorKind::TimedOut => Kind::Timeout,
            // Whoever has nothing to connect to refuses; this is a peer that took the connection and dropped
            // it.
            io::ErrorKind::ConnectionReset => Kind::Lost,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse if by.source.is_some() => Kind::Config,
            _ => Kind::Connect,
        };
        let from = by.source.filter(|_| kind == Kind::Config).map(|source| format!(" from {source}"));
        Error::io(kind, cannot_connect(address) + &from.unwrap_or_default(), cause)
    })
}

/// A stream of it, which the observer has seen.
fn announced(by: &Connector, socket: Socket) -> Stream {
    let stream = Stream::plain(socket);
    by.tell(&Step::Connected { stream: &stream });
    stream
}

async fn resolve(by: &Connector, address: &Address) -> Result<Vec<SocketAddr>, Error> {
    if address.is_inherited() {
        return Err(impossible(address, "it stands for what listens already, which nobody can call"));
    }
    let host = address.host().unwrap_or("localhost");
    let cannot_resolve = |cause: &str| Error::new(Kind::Resolve, format!("cannot resolve {host}"), cause);
    by.tell(&Step::Resolving { host });
    let found: Vec<SocketAddr> = match address.host() {
        None => {
            let loopback = [IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)];
            loopback.map(|ip| SocketAddr::new(ip, address.port())).into()
        }
        Some(host) => lookup_host((host, address.port()))
            .await
            .map_err(|cause| Error::io(Kind::Resolve, format!("cannot resolve {host}"), cause))?
            .collect(),
    };
    if found.is_empty() {
        return Err(cannot_resolve("the name has no address"));
    }
    by.tell(&Step::Resolved { addresses: &found });
    let of_family: Vec<SocketAddr> = found.into_iter().filter(|found| by.allows(found.ip())).collect();
    if of_family.is_empty() {
        let wanted_v4 = match (by.family, by.source) {
            (Some(family), _) => family == Family::V4,
            (None, source) => source.is_some_and(|source| source.is_ipv4()),
        };
        return Err(cannot_resolve(if wanted_v4 {
            "it has no IPv4 address"
        } else {
            "it has no IPv6 address"
        }));
    }
    Ok(of_family)
}

/// Runs the attempts; the error is the most telling one.
async fn race(by: &Connector, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut race = Race::new(addresses);
    // Dropping the set ends the attempts in it.
    let mut attempts = JoinSet::new();
    let mut failure: Option<io::Error> = None;
    loop {
        let wait_until = match race.step(Instant::now()) {
            race::Step::Start(address) => {
                by.tell(&Step::Trying { listener: &ListenAddr::Ip(address) });
                let source = by.source;
                attempts
                    .spawn(async move { attempt(address, source).await.map_err(|error| (address, error)) });
                continue;
            }
            race::Step::WaitUntil(at) => Some(at),
            race::Step::Wait => None,
        };
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep_until(wait_until.unwrap_or_else(Instant::now)), if wait_until.is_some() => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err((address, error)))) => {
                by.tell(&Step::Failed { listener: &ListenAddr::Ip(address), cause: &error });
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

async fn attempt(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source {
        // A port that was asked for by its number may still be busy with the end of an earlier connection.
        socket.set_reuseaddr(true)?;
        socket.bind(source)?;
    }
    let stream = socket.connect(address).await?;
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
        None if address.path().is_none() => format!("cannot connect to localhost:{}", address.port()),
        _ => format!("cannot connect to {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// A port that is taken and has no listener: it refuses, and nobody else can be given it meanwhile.
    fn closed() -> (socket2::Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    async fn connect(address: &str) -> Result<Stream, Error> {
        Connector::new().connect(&address.parse().unwrap()).await
    }

    #[tokio::test]
    async fn a_port_alone_connects_under_either_family_and_small_messages_leave_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for text in [format!(":{port}"), format!("{port}"), format!("localhost:{port}")] {
            let stream = connect(&text).await.unwrap();
            let Some(Socket::Tcp(stream)) = stream.socket() else { panic!("{text}") };
            assert!(stream.nodelay().unwrap(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_refuses_in_the_words_of_the_person_who_typed_it() {
        let (_socket, address) = closed();
        let port = address.port();
        for (text, told) in [(format!("{port}"), "127.0.0.1"), (format!(":{port}"), "localhost")] {
            let error = connect(&text).await.unwrap_err();
            assert!(error.is_refused());
            assert_eq!(error.to_string(), format!("cannot connect to {told}:{port}: connection refused"));
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_an_error_of_resolution() {
        let error = connect("nosuch.invalid:80").await.unwrap_err();
        assert!(error.is_resolve(), "{error}");
        assert!(error.to_string().starts_with("cannot resolve nosuch.invalid: "), "{error}");
        assert!(!error.to_string().contains("lookup"), "{error}");
    }

    #[tokio::test]
    async fn what_listens_already_can_not_be_called() {
        let error = connect("fd:3").await.unwrap_err();
        assert!(error.is_config() && error.to_string().starts_with("cannot connect to fd:3"));
    }

    #[tokio::test]
    async fn only_the_family_and_the_source_that_were_asked_for_are_used() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address =
            format!("localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let source: SocketAddr = "127.0.0.9:0".parse().unwrap();
        let connector = Connector::new().family(Family::V4).source(source);
        let stream = connector.connect(&address).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), source.ip());
        assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());

        let literal = Address::from(listener.local_addr().unwrap());
        let error = Connector::new().family(Family::V6).connect(&literal).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot resolve 127.0.0.1: it has no IPv6 address");
        let elsewhere = "192.0.2.1:0".parse().unwrap();
        let error = Connector::new().source(elsewhere).connect(&literal).await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains(" from 192.0.2.1:0: "), "{error}");
    }

    #[tokio::test]
    async fn an_observer_is_told_of_each_step_in_its_order() {
        let (_socket, refusing) = closed();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let steps = told.clone();
        let connector = Connector::new().observe(move |step| {
            steps.lock().unwrap().push(match step {
                Step::Resolving { host } => format!("resolving {host}"),
                Step::Resolved { addresses } => format!("{} found", addresses.len()),
                Step::Trying { listener } => format!("trying {listener}"),
                Step::Failed { listener, cause } => format!("{listener}: {:?}", cause.kind()),
                Step::Connected { stream } => format!("reached {}", stream.peer_addr().unwrap()),
                Step::Secured { .. } => unreachable!("nobody speaks TLS here"),
            });
        });
        let good = listener.local_addr().unwrap();
        connector.connect(&good.into()).await.unwrap();
        connector.connect(&refusing.into()).await.unwrap_err();
        let expected = [
            "resolving 127.0.0.1".to_owned(),
            "1 found".to_owned(),
            format!("trying {good}"),
            format!("reached {good}"),
            "resolving 127.0.0.1".to_owned(),
            "1 found".to_owned(),
            format!("trying {refusing}"),
            format!("{refusing}: ConnectionRefused"),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_unix_socket_is_called_by_its_path() {
        let path = std::env::temp_dir().join(format!("landline-connect-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let address = format!("unix:{}", path.display());
        let error = connect(&address).await.unwrap_err();
        assert!(error.is_connect(), "{error}");
        assert!(
            error.to_string().starts_with(&format!("cannot connect to {address}: no such file")),
            "{error}"
        );
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (mut reader, writer) = connect(&address).await.unwrap().into_split();
        let (mut accepted, _) = listener.accept().unwrap();
        drop(writer);
        std::io::copy(&mut accepted, &mut std::io::sink()).unwrap();
        drop(accepted);
        assert_eq!(tokio::io::AsyncReadExt::read(&mut reader, &mut [0]).await.unwrap(), 0);
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_answers_is_a_timeout_that_names_its_limit() {
        let silent = Silent::new();
        let error = connect(&silent.address().to_string()).await.unwrap_err();
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
        let stream = race(&Connector::new(), vec![silent.address(), good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begun.elapsed() >= race::ATTEMPT_DELAY);
        assert!(begun.elapsed() < 2 * race::ATTEMPT_DELAY);
    }

    #[tokio::test]
    async fn a_refused_address_gives_way_to_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (_socket, bad) = closed();
        let stream = race(&Connector::new(), vec![bad, good]).await.unwrap();
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
