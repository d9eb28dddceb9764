//! What a reply costs two servers in CPU time, next to each other.
//!
//! Server and client have a core each. Runs alternate as A B B A, so that a machine that grows faster or
//! slower favours neither; pairs of A with itself say how much of a difference means nothing.

use std::process::Command;

use rustix::thread::sched_getaffinity;

use super::figures::{float, median, number, spread};
use super::load::{Load, MESSAGE};
use super::proc::cpu;
use super::program::{Program, Served};
use super::report::Report;
use crate::Outcome;

const CONNECTIONS: [usize; 2] = [50, 1_000];
const MESSAGES: u64 = 200_000;
const ROUNDS: usize = 4;
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// One of the two: its name, and the command line of a server that says its port and has one thread.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) name: String,
    pub(super) command: Command,
}

impl Rival {
    pub(super) fn new(name: &str, command: Command) -> Self {
        Self { name: name.to_owned(), command }
    }

    /// Nanoseconds of CPU time on the server's side, all its threads, for each reply.
    fn cost(&mut self, connections: usize) -> Outcome<f64> {
        let served = Served::hear(Program::start_on(SERVER_CORE, &mut self.command)?)?;
        let mut load = Load::start_on(CLIENT_CORE, served.port, connections)?;
        // Caches and branch predictors, and the kernel's, get to know the work first.
        load.exchange(MESSAGES / 10)?;
        let before = cpu(served.pid())?;
        let messages = load.exchange(MESSAGES)?;
        let after = cpu(served.pid())?;
        Ok((after - before) / float(messages))
    }
}

/// Measures A and B at each number of connections.
pub(super) fn compare(report: &mut Report, mut a: Rival, mut b: Rival) -> Outcome {
    let cores = sched_getaffinity(None).map_err(|error| format!("cannot see the cores: {error}"))?;
    if !cores.is_set(SERVER_CORE) || !cores.is_set(CLIENT_CORE) {
        return Err(format!("this needs cores {SERVER_CORE} and {CLIENT_CORE}"));
    }
    report.tell(format!(
        "{MESSAGES} messages of {MESSAGE} B a run, one in flight on each connection, every reply verified; \
         server on core {SERVER_CORE}, client on core {CLIENT_CORE}"
    ));
    CONNECTIONS.into_iter().try_for_each(|connections| compare_at(connections, report, &mut a, &mut b))
}

fn compare_at(connections: usize, report: &Report, a: &mut Rival, b: &mut Rival) -> Outcome {
    let (mut costs_a, mut costs_b) = (Vec::new(), Vec::new());
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let a1 = a.cost(connections)?;
        let b1 = b.cost(connections)?;
        let b2 = b.cost(connections)?;
        let a2 = a.cost(connections)?;
        let a3 = a.cost(connections)?;
        costs_a.extend([a1, a2, a3]);
        costs_b.extend([b1, b2]);
        ratios.extend([b1 / a1, b2 / a2]);
        noise.push(a3 / a2);
    }
    let (a, b) = (&a.name, &b.name);
    report.tell(format!("{connections} connections:"));
    report.tell(format!("  {a}, median: {} ns a reply", number(median(&costs_a))));
    report.tell(format!("  {b}, median: {} ns a reply", number(median(&costs_b))));
    report.tell(format!("  {b} to {a}, {} pairs: {}", ratios.len(), spread(&ratios)));
    report.tell(format!("  {a} to itself, {} pairs: {}", noise.len(), spread(&noise)));
    Ok(())
}
