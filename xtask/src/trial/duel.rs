//! What a reply costs two servers in CPU time, next to each other.
//!
//! Servers and callers have a core each. Runs alternate as A B B A, so that a machine that grows faster or
//! slower favours neither; pairs of A with itself say how much of a difference means nothing. Both servers
//! stay for some rounds, and are then started anew: where a process happens to lie in memory is luck, too.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::thread::sched_getaffinity;

use super::figures::{float, median, number, spread};
use super::load::Load;
use super::proc::cpu_with_children;
use super::program::{Program, Served};
use super::report::Report;
use super::traffic::Traffic;
use crate::Outcome;

const CONNECTIONS: [usize; 2] = [50, 1_000];
/// How often the servers are started, and how many rounds of A B B A and A they then go through.
const SITTINGS: usize = 3;
const ROUNDS: usize = 4;
/// How long a run takes, about: many short ones lie closer together than few long ones.
const RUN: Duration = Duration::from_millis(120);
/// This part of a run goes before it, and is not measured.
const WARM_UP: u64 = 4;
/// No fewer messages than this are a run, for each connection.
const EXCHANGES_MIN: usize = 2;
pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const CLIENT_CORE: usize = 1;

/// One of the two: its name, and how it is started. It has one thread.
#[derive(Debug)]
pub(crate) struct Rival {
    pub(crate) name: String,
    command: Command,
    ready: Ready,
}

/// How a server says that it listens.
#[derive(Debug, Clone)]
pub(crate) enum Ready {
    /// By its port, on a line of its own.
    Port,
    /// By some words; it was told the port.
    Words(&'static str, u16),
}

impl Rival {
    pub(crate) fn new(name: &str, command: Command) -> Self {
        Self { name: name.to_owned(), command, ready: Ready::Port }
    }

    /// It does not say its port, but is ready with these words.
    pub(crate) fn on_port(self, port: u16, words: &'static str) -> Self {
        Self { ready: Ready::Words(words, port), ..self }
    }

    /// Starts it on the servers' core.
    pub(crate) fn start(&mut self) -> Outcome<Served> {
        let program = Program::start_on(SERVER_CORE, &mut self.command)?;
        match self.ready {
            Ready::Port => Served::hear(program),
            Ready::Words(words, port) => loop {
                let (ready, line) = program.line()?;
                if line.contains(words) {
                    return Ok(Served { program, port, ready });
                }
            },
        }
    }
}

/// A server with its callers.
struct Seat {
    served: Served,
    load: Load,
    /// How many messages a run is.
    messages: u64,
}

impl Seat {
    fn prepare(rival: &mut Rival, traffic: &Traffic) -> Outcome<Self> {
        let served = rival.start()?;
        let load = callers(served.port, traffic)?;
        let mut seat = Self { served, load, messages: 0 };
        // Caches and branch predictors, and the kernel's, get to know the work meanwhile.
        let least = (traffic.connections * traffic.depth * EXCHANGES_MIN) as u64;
        let mut sample = least;
        loop {
            let begun = Instant::now();
            let exchanged = seat.load.exchange(sample)?;
            let taken = begun.elapsed();
            if taken >= RUN / 4 {
                let share = RUN.as_secs_f64() / taken.as_secs_f64();
                seat.messages = whole(float(exchanged) * share).max(least);
                return Ok(seat);
            }
            sample *= 2;
        }
    }

    /// Nanoseconds of CPU time on the server's side, all its threads, for each reply.
    fn cost(&mut self) -> Outcome<f64> {
        // Whoever ran before has had the caches; who runs after itself would be at an advantage.
        self.load.exchange(self.messages / WARM_UP)?;
        let before = cpu_with_children(self.served.pid())?;
        let messages = self.load.exchange(self.messages)?;
        let after = cpu_with_children(self.served.pid())?;
        Ok((after - before) / float(messages))
    }
}

/// Callers on their core; each has been answered.
pub(crate) fn callers(port: u16, traffic: &Traffic) -> Outcome<Load> {
    Load::start_on(CLIENT_CORE, port, traffic)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
fn whole(figure: f64) -> u64 {
    figure as u64
}

/// One of two that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// What came out of it: what each run took, and pairs.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    pub(crate) costs_a: Vec<f64>,
    pub(crate) costs_b: Vec<f64>,
    /// B to A.
    pub(crate) ratios: Vec<f64>,
    /// A to itself.
    pub(crate) noise: Vec<f64>,
}

impl Contest {
    /// Measures A B B A, and A once more.
    pub(crate) fn round(&mut self, mut measure: impl FnMut(Side) -> Outcome<f64>) -> Outcome {
        let a1 = measure(Side::A)?;
        let b1 = measure(Side::B)?;
        let b2 = measure(Side::B)?;
        let a2 = measure(Side::A)?;
        let a3 = measure(Side::A)?;
        self.costs_a.extend([a1, a2, a3]);
        self.costs_b.extend([b1, b2]);
        self.ratios.extend([b1 / a1, b2 / a2]);
        self.noise.push(a3 / a2);
        Ok(())
    }

    /// Says what both took, in some unit, and how they compare.
    pub(crate) fn tell(&self, report: &Report, [a, b]: [&str; 2], unit: &str) {
        let Self { costs_a, costs_b, ratios, noise } = self;
        report.tell(format!("  {a}, median: {} {unit}", number(median(costs_a))));
        report.tell(format!("  {b}, median: {} {unit}", number(median(costs_b))));
        report.tell(format!("  {b} to {a}, {} pairs: {}", ratios.len(), spread(ratios)));
        report.tell(format!("  {a} to itself, {} pairs: {}", noise.len(), spread(noise)));
    }
}

/// Has both answer the same callers in turns.
pub(crate) fn contest(a: &mut Rival, b: &mut Rival, traffic: [&Traffic; 2]) -> Outcome<Contest> {
    let mut contest = Contest::default();
    for _ in 0..SITTINGS {
        let (mut a, mut b) = (Seat::prepare(a, traffic[0])?, Seat::prepare(b, traffic[1])?);
        for _ in 0..ROUNDS {
            contest.round(|side| match side {
                Side::A => a.cost(),
                Side::B => b.cost(),
            })?;
        }
    }
    Ok(contest)
}

/// Servers and callers must not share a core.
pub(crate) fn need_two_cores() -> Outcome {
    let cores = sched_getaffinity(None).map_err(|error| format!("cannot see the cores: {error}"))?;
    if cores.is_set(SERVER_CORE) && cores.is_set(CLIENT_CORE) {
        Ok(())
    } else {
        Err(format!("this needs cores {SERVER_CORE} and {CLIENT_CORE}"))
    }
}

/// Measures A and B at each number of connections.
pub(crate) fn compare(report: &mut Report, mut a: Rival, mut b: Rival) -> Outcome {
    need_two_cores()?;
    report.tell(format!(
        "runs of {RUN:?} with messages of {} B, one in flight on each connection, every reply verified; \
         server on core {SERVER_CORE}, client on core {CLIENT_CORE}",
        Traffic::USUAL_SIZE
    ));
    for connections in CONNECTIONS {
        let traffic = Traffic::ping_pong(connections);
        let contest = contest(&mut a, &mut b, [&traffic; 2])?;
        report.tell(format!("{connections} connections:"));
        contest.tell(report, [&a.name, &b.name], "ns a reply");
    }
    Ok(())
}
