//! How long a connection outlives a peer who vanishes without a word.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::network::{Network, SERVER};
use super::program::{Lines, PATIENCE, Program, Served, built};
use super::report::Report;
use crate::Outcome;

/// The user timeout where it can be set, and where it is what it is.
const SHORT: Duration = Duration::from_secs(5);
const DEFAULT: Duration = Duration::from_secs(60);
const FLAG: &str = "--user-timeout";
/// How much longer than that it may take.
const SLACK: f64 = 1.1;
/// A write that has to wait for so long waits for a window that is closed.
const STALLED: Duration = Duration::from_millis(500);

pub(super) fn run(report: &mut Report) -> Outcome {
    let settable = has_flag()?;
    let limit = if settable { SHORT } else { DEFAULT };
    let network = Network::new()?;
    let (served, log) = start(&network, settable.then_some(limit))?;
    let (mut asking, mut deaf) = (network.call(served.port)?, network.call(served.port)?);
    ask(&mut asking)?;
    pour(&mut deaf)?;
    // The last question arrives, the answer does not; then there is nobody any more.
    network.lose_what_the_server_sends()?;
    asking.write_all(b"still there?").map_err(|error| format!("cannot send: {error}"))?;
    let asked = Instant::now();
    network.lose_what_the_client_sends()?;
    let lost = Instant::now();
    report.tell(format!("the user timeout is {limit:?}"));
    let from_asking =
        Ending { what: "a reply that is never acknowledged", address: address(&asking)?, since: asked };
    let from_deaf = Ending { what: "a window that never opens", address: address(&deaf)?, since: lost };
    let mut left = vec![from_asking, from_deaf];
    while !left.is_empty() {
        let (at, line) = log.recv_timeout(limit + PATIENCE).map_err(|_| "a connection does not close")?;
        if let Some(place) = left.iter().position(|ending| ending.is_in(&line)) {
            left.remove(place).judge(report, at, &line, limit)?;
        }
    }
    served.stop()
}

/// Whether this build lets the user timeout be set.
fn has_flag() -> Outcome<bool> {
    let help = Command::new(built("landline")).args(["serve", "--help"]).output();
    let help = help.map_err(|error| format!("cannot start landline: {error}"))?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(FLAG))
}

fn start(network: &Network, user_timeout: Option<Duration>) -> Outcome<(Served, Lines)> {
    let mut command = network.by_the_server();
    command.arg(built("landline")).arg("serve").arg(format!("{SERVER}:0")).arg("--print-port");
    // Its own limit on writing would come first.
    command.args(["--log-format", "json", "--write-timeout", "none"]);
    if let Some(limit) = user_timeout {
        command.arg(FLAG).arg(format!("{}s", limit.as_secs()));
    }
    let mut program = Program::start(command.stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let log = program.errors()?;
    Ok((Served::hear(program)?, log))
}

fn ask(stream: &mut TcpStream) -> Outcome {
    let mut heard = [0; 5];
    let asked = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut heard));
    match asked {
        Ok(()) if heard == *b"HELLO" => Ok(()),
        Ok(()) => Err("a wrong reply".to_owned()),
        Err(error) => Err(format!("no reply: {error}")),
    }
}

/// Sends without reading, until nothing goes on: the server waits for a window.
fn pour(stream: &mut TcpStream) -> Outcome {
    static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
    const PIECES_MAX: usize = 10_000;
    let waits = stream.set_write_timeout(Some(STALLED));
    waits.map_err(|error| format!("cannot limit a write: {error}"))?;
    let stalls = (0..PIECES_MAX).any(|_| stream.write_all(&PIECE).is_err());
    if stalls { Ok(()) } else { Err("the server takes everything from a client that never reads".to_owned()) }
}

fn address(stream: &TcpStream) -> Outcome<SocketAddr> {
    stream.local_addr().map_err(|error| format!("a socket without an address: {error}"))
}

/// The end of a connection that is waited for.
struct Ending {
    what: &'static str,
    address: SocketAddr,
    since: Instant,
}

impl Ending {
    /// Whether a line of the log tells of it.
    fn is_in(&self, line: &str) -> bool {
        line.contains(r#""event":"closed""#) && line.contains(&format!(r#""peer":"{}""#, self.address))
    }

    fn judge(&self, report: &mut Report, at: Instant, line: &str, limit: Duration) -> Outcome {
        if !line.contains(r#""reason":"peer_vanished""#) {
            return Err(format!("{}: it was closed for another reason: {line}", self.what));
        }
        let took = at.duration_since(self.since).as_secs_f64();
        report.at_most(&format!("{}: closed after", self.what), took, limit.as_secs_f64() * SLACK, "s");
        Ok(())
    }
}
