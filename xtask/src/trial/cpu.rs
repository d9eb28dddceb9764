//! What a reply costs the server in CPU time, next to a bare epoll loop that does the same.
//!
//! Server and client have a core each. Runs alternate as A B B A, so that a machine that grows faster or
//! slower favours neither; pairs of the reference with itself say how much of a difference means nothing.

use rustix::thread::sched_getaffinity;

use super::figures::{float, median, number, spread};
use super::load::{Load, MESSAGE};
use super::proc::cpu;
use super::program::{Program, Served, part, serve};
use super::reference;
use super::report::Report;
use crate::Outcome;

const CONNECTIONS: [usize; 2] = [50, 1_000];
const MESSAGES: u64 = 200_000;
const ROUNDS: usize = 4;
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

pub(super) fn run(report: &mut Report) -> Outcome {
    let cores = sched_getaffinity(None).map_err(|error| format!("cannot see the cores: {error}"))?;
    if !cores.is_set(SERVER_CORE) || !cores.is_set(CLIENT_CORE) {
        return Err(format!("this needs cores {SERVER_CORE} and {CLIENT_CORE}"));
    }
    report.tell(format!(
        "{MESSAGES} messages of {MESSAGE} B a run, one in flight on each connection, every reply verified; \
         server on core {SERVER_CORE}, client on core {CLIENT_CORE}"
    ));
    CONNECTIONS.into_iter().try_for_each(|connections| compare(report, connections))
}

/// Who serves.
#[derive(Debug, Clone, Copy)]
enum Who {
    Reference,
    Landline,
}

fn compare(report: &mut Report, connections: usize) -> Outcome {
    let (mut reference, mut landline) = (Vec::new(), Vec::new());
    let (mut ratios, mut noise) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let a1 = cost(Who::Reference, connections)?;
        let b1 = cost(Who::Landline, connections)?;
        let b2 = cost(Who::Landline, connections)?;
        let a2 = cost(Who::Reference, connections)?;
        let a3 = cost(Who::Reference, connections)?;
        reference.extend([a1, a2, a3]);
        landline.extend([b1, b2]);
        ratios.extend([b1 / a1, b2 / a2]);
        noise.push(a3 / a2);
    }
    report.tell(format!("{connections} connections:"));
    report.tell(format!("  bare epoll loop, median: {} ns a reply", number(median(&reference))));
    report.tell(format!("  landline, median: {} ns a reply", number(median(&landline))));
    report.tell(format!("  landline to bare epoll, {} pairs: {}", ratios.len(), spread(&ratios)));
    report.tell(format!("  bare epoll to itself, {} pairs: {}", noise.len(), spread(&noise)));
    Ok(())
}

/// Nanoseconds of CPU time on the server's side, all its threads, for each reply.
fn cost(who: Who, connections: usize) -> Outcome<f64> {
    let mut command = match who {
        Who::Reference => part(&[reference::PART]),
        Who::Landline => serve(&["--quiet", "--threads", "1"]),
    };
    let served = Served::hear(Program::start_on(SERVER_CORE, &mut command)?)?;
    let mut load = Load::start_on(CLIENT_CORE, served.port, connections)?;
    // Caches and branch predictors, and the kernel's, get to know the work first.
    load.exchange(MESSAGES / 10)?;
    let before = cpu(served.pid())?;
    let messages = load.exchange(MESSAGES)?;
    let after = cpu(served.pid())?;
    Ok((after - before) / float(messages))
}
