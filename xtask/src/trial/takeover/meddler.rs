//! Somebody between callers and the server who does wrong on purpose, once: whoever verifies has to notice.
//!
//! What is lost or comes twice there is what would be lost or come twice if a process went on at a wrong
//! position.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::callers::{Callers, Life};
use crate::Outcome;
use crate::trial::program::Served;
use crate::trial::report::Report;

/// What is done to the server's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A message, or as much as one, is lost.
    Loses,
    LosesOneByte,
    Doubles,
    /// Two messages come in the other's place.
    Exchanges,
    Alters,
    Cuts,
}

const ALL: [Wrong; 7] = [
    Wrong::Nothing,
    Wrong::Loses,
    Wrong::LosesOneByte,
    Wrong::Doubles,
    Wrong::Exchanges,
    Wrong::Alters,
    Wrong::Cuts,
];

/// How long a message is that is lost, or comes twice or at another's place, with its line feed.
const MESSAGE: usize = 65;
/// It is the first time that so much has come at once.
const AT_ONCE: usize = 4 * MESSAGE;
const READ: usize = 64 << 10;
const LENGTH: Duration = Duration::from_millis(300);
/// How many do wrong in turn.
const CONNECTIONS: usize = 4;

/// Sees to it that all callers of the trial notice what is done, and nothing else.
pub(super) fn prove(report: &mut Report) -> Outcome {
    let served = Served::start(&["--quiet", "--framing", "line"])?;
    report.tell("somebody between callers and the server, who once does wrong to a reply:");
    let lasting = Callers {
        connections: CONNECTIONS,
        framing: "line",
        size: "64",
        depth: "16",
        life: Life::Stay,
        rate: None,
    };
    for callers in [lasting, Callers { life: Life::Part, ..lasting }] {
        report.tell(callers.words());
        for wrong in ALL {
            let port = between(served.port, wrong).map_err(|error| format!("cannot meddle: {error}"))?;
            let heard = callers.start(port, Duration::ZERO, LENGTH)?.end()?;
            let words = format!("  who {} is noticed", wrong.words());
            match wrong {
                Wrong::Nothing => report.at_most(&words, heard.faults(), 0.0, ""),
                _ => report.at_least(&words, heard.faults(), 1.0, ""),
            }
        }
    }
    served.stop()
}

/// Forwards what comes on a port to another, and does wrong once. Its threads end with their connections, but
/// the one that accepts only with the trial.
fn between(server: u16, wrong: Wrong) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let was_done = Arc::new(AtomicBool::new(wrong == Wrong::Nothing));
    thread::spawn(move || -> io::Result<()> {
        loop {
            let (caller, _) = listener.accept()?;
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
            let (up, down) = ((caller.try_clone()?, server.try_clone()?), (server, caller));
            thread::spawn(move || forward(up, |chunk| Some(chunk.to_vec())));
            let was_done = Arc::clone(&was_done);
            thread::spawn(move || {
                forward(down, |chunk| {
                    let is_now = chunk.len() >= AT_ONCE && !was_done.swap(true, Relaxed);
                    if is_now { wrong.done_to(chunk) } else { Some(chunk.to_vec()) }
                })
            });
        }
    });
    Ok(port)
}

/// Forwards up to the end of the stream, or until there is nothing to be forwarded any more.
fn forward(
    (mut from, mut to): (TcpStream, TcpStream),
    mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut room = vec![0; READ];
    loop {
        let count = from.read(&mut room)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        match change(&room[..count]) {
            Some(bytes) => to.write_all(&bytes)?,
            None => return to.shutdown(Shutdown::Both),
        }
    }
}

impl Wrong {
    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "does nothing",
            Self::Loses => "loses a message",
            Self::LosesOneByte => "loses one byte",
            Self::Doubles => "says a message twice",
            Self::Exchanges => "exchanges two messages",
            Self::Alters => "alters one byte",
            Self::Cuts => "ends a connection",
        }
    }

    /// What goes on to the caller in place of these bytes; none if nothing more does.
    fn done_to(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (first, rest) = bytes.split_at(MESSAGE);
        let (second, others) = rest.split_at(MESSAGE);
        Some(match self {
            Self::Nothing => bytes.to_vec(),
            Self::Loses => rest.to_vec(),
            Self::LosesOneByte => bytes[1..].to_vec(),
            Self::Doubles => [first, bytes].concat(),
            Self::Exchanges => [second, first, others].concat(),
            // It stays a capital, or whatever it was.
            Self::Alters => [&[bytes[0] ^ 1], &bytes[1..]].concat(),
            Self::Cuts => return None,
        })
    }
}

#[test]
fn what_is_done_is_what_it_is_called() {
    let bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    let done = |wrong: Wrong| wrong.done_to(&bytes);
    assert_eq!(done(Wrong::Nothing).as_deref(), Some(&bytes[..]));
    assert_eq!(done(Wrong::Loses).as_deref(), Some(&bytes[MESSAGE..]));
    assert_eq!(done(Wrong::LosesOneByte).as_deref(), Some(&bytes[1..]));
    assert_eq!(done(Wrong::Doubles).map(|bytes| bytes.len()), Some(bytes.len() + MESSAGE));
    let mut sorted = done(Wrong::Exchanges).unwrap();
    assert_ne!(sorted, bytes);
    sorted[..2 * MESSAGE].sort_unstable();
    assert_eq!(sorted, bytes);
    assert_eq!(done(Wrong::Alters).map(|bytes| bytes[..2].to_vec()), Some(vec![1, 1]));
    assert_eq!(done(Wrong::Cuts), None);
}
