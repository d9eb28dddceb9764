//! What TLS costs the server in CPU time, next to nginx and to `HAProxy` that end TLS before a plain server.
//!
//! All speak TLS 1.3 with the same certificate, cipher and key exchange, on the servers' core, with one thread;
//! the plain server behind the others has the callers' core, and does not count. The callers verify every
//! reply. Told are a handshake, a message of 64 B, and what an idle connection holds.

mod callers;
mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use super::duel::{CLIENT_CORE, Contest, SERVER_CORE, Side, need_two_cores};
use super::figures::{float, median, number};
use super::proc::{cpu_with_children, resident};
use super::program::{Program, Served, part, serve};
use super::reference;
use super::report::Report;
use crate::Outcome;
use crate::packages::provide;
use callers::Callers;

const CONNECTIONS: usize = 50;
/// How many handshakes, and how many messages on each connection, are one measurement.
const HANDSHAKES: u64 = 300;
const EXCHANGES: u64 = 300;
const ROUNDS: usize = 6;
const IDLE: usize = 1_000;

/// A certificate and its key, in a folder that goes with them.
#[derive(Debug)]
pub(super) struct Certificate {
    folder: PathBuf,
    /// For whoever verifies it.
    der: Vec<u8>,
}

impl Certificate {
    fn new() -> Outcome<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.map_err(|error| format!("cannot make a certificate: {error}"))?;
        let folder = std::env::temp_dir().join(format!("landline-tls-{}", process::id()));
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let certificate = Self { folder, der: made.cert.der().to_vec() };
        let write = |name, text: &str| fs::write(certificate.path(name), text);
        let written = fs::create_dir_all(&certificate.folder)
            .and_then(|()| write("cert.pem", &chain))
            .and_then(|()| write("key.pem", &key))
            .and_then(|()| write("both.pem", &(chain.clone() + &key)));
        written.map_err(|error| format!("cannot write a certificate: {error}"))?;
        Ok(certificate)
    }

    /// `cert.pem`, `key.pem` or `both.pem`, or any other file beside them.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What is left of it is in the way of nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A server that ends TLS.
#[derive(Debug)]
pub(super) struct Ending {
    program: Program,
    port: u16,
}

impl Ending {
    fn landline(certificate: &Certificate) -> Outcome<Self> {
        let path = |name| certificate.path(name).display().to_string();
        let flags =
            ["--quiet", "--threads", "1", "--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")];
        let program = Program::start_on(SERVER_CORE, &mut serve(&flags))?;
        let Served { program, port, .. } = Served::hear(program)?;
        Ok(Self { program, port })
    }

    fn cpu(&self) -> Outcome<f64> {
        cpu_with_children(self.program.pid())
    }

    /// Nanoseconds of its CPU time for each of so many things that are done.
    fn cost(&self, count: u64, act: impl FnOnce() -> Outcome) -> Outcome<f64> {
        let before = self.cpu()?;
        act()?;
        Ok((self.cpu()? - before) / float(count))
    }

    fn handshakes(&self, callers: &Callers) -> Outcome<f64> {
        self.cost(HANDSHAKES, || (0..HANDSHAKES).try_for_each(|_| callers.call(self.port).map(drop)))
    }

    /// What each idle connection holds, in bytes.
    fn idle(&self, callers: &Callers) -> Outcome<f64> {
        // What the first ones bring about stays.
        let mut calls = (0..IDLE / 10).map(|_| callers.call(self.port)).collect::<Outcome<Vec<_>>>()?;
        let serving =
            super::proc::children(self.program.pid()).first().copied().unwrap_or(self.program.pid());
        let before = resident(serving)?;
        for _ in 0..IDLE {
            calls.push(callers.call(self.port)?);
        }
        Ok((float(resident(serving)?) - float(before)) / float(IDLE as u64))
    }
}

pub(super) fn run(report: &mut Report) -> Outcome {
    need_two_cores()?;
    provide(peers::NEEDS)?;
    let certificate = Certificate::new()?;
    let callers = Callers::new(&certificate)?;
    let behind = Served::hear(Program::start_on(CLIENT_CORE, &mut plain())?)?;
    report.tell(format!(
        "TLS 1.3, ECDSA P-256, X25519, AES-128-GCM, nobody resumes; servers on core {SERVER_CORE}, callers and the \
         plain server behind nginx and HAProxy on core {CLIENT_CORE}"
    ));
    let landline = Ending::landline(&certificate)?;
    for (name, peer) in [
        ("nginx", Ending::nginx(&certificate, behind.port)?),
        ("HAProxy", Ending::haproxy(&certificate, behind.port)?),
    ] {
        compare(report, &callers, name, &peer, &landline)?;
        report
            .tell(format!("{name}: {} B for each of {IDLE} idle connections", number(peer.idle(&callers)?)));
    }
    report.tell(format!(
        "landline: {} B for each of {IDLE} idle connections",
        number(landline.idle(&callers)?)
    ));
    Ok(())
}

/// The plain server.
fn plain() -> Command {
    part(&[reference::PART, "raw"])
}

fn compare(report: &Report, callers: &Callers, name: &str, peer: &Ending, landline: &Ending) -> Outcome {
    let mut handshakes = Contest::default();
    // The first of a process cost more.
    peer.handshakes(callers)?;
    landline.handshakes(callers)?;
    for _ in 0..ROUNDS {
        handshakes.round(|side| match side {
            Side::A => peer.handshakes(callers),
            Side::B => landline.handshakes(callers),
        })?;
    }
    report.tell("a handshake:");
    handshakes.tell(report, [name, "landline"], "ns");
    let rate = |costs: &[f64]| number((1e9 / median(costs)).round());
    let (theirs, ours) = (rate(&handshakes.costs_a), rate(&handshakes.costs_b));
    report.tell(format!("  in a second of one core: {name} {theirs}, landline {ours}"));

    let mut messages = Contest::default();
    let mut talks = [callers.talk(peer.port, CONNECTIONS)?, callers.talk(landline.port, CONNECTIONS)?];
    let count = EXCHANGES * CONNECTIONS as u64;
    for _ in 0..ROUNDS {
        messages.round(|side| match side {
            Side::A => peer.cost(count, || talks[0].exchange(EXCHANGES)),
            Side::B => landline.cost(count, || talks[1].exchange(EXCHANGES)),
        })?;
    }
    report.tell(format!("a message of {} B on one of {CONNECTIONS} connections:", callers::MESSAGE.len()));
    messages.tell(report, [name, "landline"], "ns");
    Ok(())
}

fn words(path: &Path) -> String {
    path.display().to_string()
}
