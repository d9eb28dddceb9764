//! What it costs to outlive a kill: CPU time for a reply with `--crash-survival on`, next to without.

use super::duel::{Rival, contest, need_two_cores};
use super::figures::median;
use super::program::{built, serve_with};
use super::raise_open_files;
use super::report::Report;
use super::traffic::Traffic;
use crate::Outcome;

/// What surviving may cost: so many times what a reply costs without.
const BOUND: f64 = 1.05;

pub(super) fn run(report: &mut Report) -> Outcome {
    need_two_cores()?;
    raise_open_files()?;
    let serve = |survival| {
        let flags = ["--quiet", "--threads", "1", "--crash-survival", survival];
        Rival::new(&format!("crash survival {survival}"), serve_with(built("landline"), &flags))
    };
    let (mut without, mut with) = (serve("off"), serve("on"));
    for (title, traffic) in [
        ("64 B, 50 connections", Traffic::ping_pong(50)),
        ("64 B, 1,000 connections", Traffic::ping_pong(1_000)),
        ("64 B, 10,000 connections", Traffic::ping_pong(10_000)),
        ("64 B, 50 connections, 16 in flight", Traffic { depth: 16, ..Traffic::ping_pong(50) }),
        ("64 KiB, 50 connections", Traffic { size: 64 << 10, ..Traffic::ping_pong(50) }),
    ] {
        let contest = contest(&mut without, &mut with, [&traffic; 2])?;
        report.tell(format!("{title}:"));
        contest.tell(report, [&without.name, &with.name], "ns a reply");
        report.at_most("  with to without, median", median(&contest.ratios), BOUND, "");
    }
    Ok(())
}
