//! How evenly callers are served who ask as fast as they are answered, next to three servers on tokio.
//!
//! A server that lets some callers wait while it serves others again and again finds those in the processor's
//! caches, and takes less CPU time for a reply. So what a reply costs is half of what there is to know, and
//! this is the other half: how long the slowest in a hundred wait, next to those in the middle.

use std::process::Command;

use super::duel::{Rival, SERVER_CORE, need_two_cores};
use super::figures::{median, number, spread};
use super::generator::{Measured, measure};
use super::program::{part, serve};
use super::report::Report;
use crate::Outcome;
use crate::bench::{BARE_TOKIO, NAIVE_TOKIO, NAIVE_TOKIO_IN_TURN};

/// How many callers.
const CROWDS: [&str; 2] = ["1000", "10000"];
/// How many times its p50 landline's p99 may be. Where everybody has a turn before anybody has two, it is
/// about 2 at most.
const BOUND: f64 = 2.5;
/// How long a run is measured, after this warm-up.
const RUN: &str = "4s";
const WARM_UP: &str = "2s";
const ROUNDS: usize = 3;

pub(super) fn run(report: &mut Report) -> Outcome {
    need_two_cores()?;
    report.tell(format!(
        "messages of 64 B, one in flight on each connection, every reply verified; {ROUNDS} runs of {RUN} after \
         {WARM_UP}, each server anew, in turns, on core {SERVER_CORE}; medians"
    ));
    for connections in CROWDS {
        report.tell(format!("{connections} connections:"));
        let mut servers = servers().map(|rival| (rival, Vec::new()));
        for _ in 0..ROUNDS {
            for (rival, runs) in &mut servers {
                runs.push(one(rival, connections)?);
            }
        }
        let [landline, ..] = servers.each_ref().map(|(rival, runs)| tell(report, &rival.name, runs));
        report.at_most(
            &format!("{connections} connections: p99 to p50 of landline, the least"),
            landline,
            BOUND,
            "",
        );
    }
    Ok(())
}

/// Landline first.
fn servers() -> [Rival; 4] {
    let rival = |name: &str, command: Command| Rival::new(name, command);
    [
        rival("landline", serve(&["--threads", "1", "--quiet", "--max-connections", "11k"])),
        rival("tokio, bare loop", part(&[BARE_TOKIO, "raw"])),
        rival("tokio, as in tutorials", part(&[NAIVE_TOKIO, "raw"])),
        rival("the same with one queue", part(&[NAIVE_TOKIO_IN_TURN, "raw"])),
    ]
}

fn one(rival: &mut Rival, connections: &str) -> Outcome<Measured> {
    let served = rival.start()?;
    let pid = served.pid().to_string();
    let whom = ["--connections", connections, "--expect", "upper", "--server-pid", &pid];
    measure(served.port, &[&whom[..], &["--duration", RUN, "--warmup", WARM_UP]].concat())
}

/// Says what the runs of a server came to; returns the least p99 to p50 of them, since whatever else a
/// machine does only makes it more.
fn tell(report: &Report, name: &str, runs: &[Measured]) -> f64 {
    let of = |figure: fn(&Measured) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
    let [half, most_of, all] = [of(|run| run.half), of(|run| run.most_of), of(|run| run.longest)]
        .map(|times| number(median(&times) / 1e3));
    let (ratios, cpu) = (of(|run| run.most_of / run.half), of(|run| run.server_cpu.unwrap_or(f64::NAN)));
    report.tell(format!(
        "  {name}: p50 {half} ms, p99 {most_of} ms, at most {all} ms; p99 to p50 {}; {} us of CPU a reply",
        spread(&ratios),
        number(median(&cpu))
    ));
    ratios.into_iter().fold(f64::INFINITY, f64::min)
}
