//! Pools of clients, with servers that are nothing but sockets.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use landline::client::{Backoff, Options, Pool};

use crate::support::PATIENCE;

/// A server that says of each line on which of its connections it came. Connections that are ill by their
/// number answer a check wrongly.
struct Numbered {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    is_ill: Arc<[AtomicBool; 8]>,
}

impl Numbered {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, is_ill) = (Arc::new(AtomicUsize::new(0)), Arc::<[AtomicBool; 8]>::default());
        let (count, ill) = (connections.clone(), is_ill.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (number, ill) = (count.fetch_add(1, Relaxed), ill.clone());
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                std::thread::spawn(move || {
                    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                        let Ok(line) = line else { return };
                        let well = !ill[number % 8].load(Relaxed);
                        let answer = if line == "well?" { format!("{well}") } else { format!("{number}") };
                        if writeln!(stream, "{answer}").is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, connections, is_ill }
    }
}

/// Looks until it is so; the runtime's other tasks go on meanwhile.
async fn until(is_so: impl Fn() -> bool) {
    let looks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.unwrap();
}

fn options() -> Options {
    Options::new().reconnect(Some(Backoff::new(Duration::ZERO, Duration::ZERO)))
}

async fn where_is_it_asked(pool: &Pool) -> usize {
    String::from_utf8(pool.ask("where").await.unwrap().to_vec()).unwrap().parse().unwrap()
}

#[tokio::test]
async fn asks_are_spread_over_all_connections() {
    let server = Numbered::start();
    let pool = Pool::new(&options(), &server.address.into(), 3);
    let mut times = [0; 3];
    for _ in 0..30 {
        times[where_is_it_asked(&pool).await] += 1;
    }
    assert_eq!((times, server.connections.load(Relaxed)), ([10, 10, 10], 3));
}

#[tokio::test]
async fn a_connection_that_fails_its_check_is_left_out_until_it_passes_again() {
    let server = Numbered::start();
    let pool = Pool::new(&options(), &server.address.into(), 3);
    let pool = pool.check_every(Duration::from_millis(2), "well?", |answer| answer == b"true");
    until(|| server.connections.load(Relaxed) == 3).await;
    server.is_ill[1].store(true, Relaxed);
    until(|| pool.size() == (3, 2)).await;
    for _ in 0..12 {
        assert_ne!(where_is_it_asked(&pool).await, 1);
    }
    server.is_ill[1].store(false, Relaxed);
    until(|| pool.size() == (3, 3)).await;
    let mut seen = [false; 3];
    for _ in 0..12 {
        seen[where_is_it_asked(&pool).await] = true;
    }
    assert_eq!(seen, [true; 3]);
}

#[tokio::test]
async fn without_a_server_all_are_ill_and_with_one_they_get_well() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let pool = Pool::new(&options(), &address.into(), 2);
    let pool = pool.check_every(Duration::from_millis(2), "well?", |answer| answer == b"WELL?");
    until(|| pool.size() == (2, 0)).await;
    assert!(pool.ask("hello").await.unwrap_err().is_refused());
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                    let _ = writeln!(stream, "{}", line.to_uppercase());
                }
            });
        }
    });
    until(|| pool.size() == (2, 2)).await;
    assert_eq!(pool.ask("hello").await.unwrap(), "HELLO");
}
