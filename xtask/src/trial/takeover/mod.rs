//! What callers notice when the process that serves is killed, at random moments and again and again.
//!
//! They verify every byte. Each row is run twice on one server: without kills, and with them. Held to a bound
//! are what went wrong, by how much the longest wait is longer than without kills, and what the server holds
//! afterwards that it did not hold before. Before all that, callers have to notice what goes wrong on
//! purpose.

mod callers;
pub(super) mod causes;
mod cgroup;
mod dice;
mod fault;
mod held;
mod meddler;
pub(super) mod parting;
mod rows;
mod speech;
pub(super) mod steps;
mod subject;
mod upgrade;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::figures::{float, number};
use super::program::{Lines, Program, Served, pause, serve};
use super::report::Report;
use crate::Outcome;
use callers::{Heard, Run};
use dice::Dice;
use fault::Fault;
use held::Held;
use rows::{KILL_ROWS, ROWS, Row, UPGRADE_MANY_ROWS, UPGRADE_ROWS};
use upgrade::Orphanage;

/// How long a row is measured with kills, and before that without.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(60);
/// As long as twenty upgrades take; where there are many connections; and fifty during which something is
/// killed.
const UPGRADING: Duration = Duration::from_secs(6);
const UPGRADING_MANY: Duration = Duration::from_secs(12);
const KILLING: Duration = Duration::from_secs(16);
/// A run has been going on for so long when it is first struck, and goes on for so long after the last.
const MARGIN: Duration = Duration::from_millis(300);
/// So many lines of the log are shown when something went wrong.
const LOG_SHOWN: usize = 6;
/// How much more memory it may take than before.
const MEMORY_MIB: f64 = 4.0;

/// About three minutes.
pub(super) fn run(report: &mut Report) -> Outcome {
    meddler::prove(report)?;
    all_rows(report, ROWS, SHORT)
}

/// A minute and a hundred kills for each row.
pub(super) fn run_long(report: &mut Report) -> Outcome {
    meddler::prove(report)?;
    all_rows(report, ROWS, LONG)
}

/// Twenty upgrades for each row, and a hundred more during which something is killed: about three minutes.
pub(super) fn run_upgrade(report: &mut Report) -> Outcome {
    let _orphanage = Orphanage::open()?;
    all_rows(report, UPGRADE_ROWS, UPGRADING)?;
    all_rows(report, UPGRADE_MANY_ROWS, UPGRADING_MANY)?;
    all_rows(report, KILL_ROWS, KILLING)
}

fn all_rows(report: &mut Report, rows: &[Row], length: Duration) -> Outcome {
    report.tell(format!(
        "`landline serve --crash-survival on`, without strikes and then {length:?} with them, every byte verified:"
    ));
    let mut strikes = 0;
    for row in rows {
        strikes += measure(report, row, length)?;
    }
    report.tell(format!("struck {strikes} times in all"));
    Ok(())
}

/// Measures a row; how often the server was struck.
fn measure(report: &mut Report, row: &Row, length: Duration) -> Outcome<usize> {
    let (served, log) = start(row)?;
    report.tell(row.words());
    if row.is_upgraded() {
        // The first upgrade adds a process that stays: what is held is compared from then on.
        upgrade::serves(&served)?;
        Fault::Upgrade.strike(&served)?;
    }
    let ask = |length| row.callers.start(served.port, row.callers.warm_up(), length);
    // With no bound on its longest wait, it is enough that nothing goes wrong.
    let calm_length = if row.is_upgraded() && row.longer_ms.is_none() { SHORT } else { length };
    let run = ask(calm_length)?;
    strike_before(row, &served, &run)?;
    let calm = run.end()?;
    if calm.faults() > 0.0 {
        return Err(format!("without a single strike: {}", calm.faults_in_words()));
    }
    let before = Held::settled(served.program.pid())?;
    let run = ask(length)?;
    let strikes = strike(row, &served, &run).inspect_err(|_| tell_log(report, &log))?;
    let struck = run.end()?;
    let after = Held::settled(served.program.pid())?;
    tell_of_upgrades(report, row, &strikes);
    let count = strikes.values().sum();
    judge(report, row, count, [&calm, &struck], [&before, &after]);
    if struck.faults() > 0.0 || row.longer_ms.is_some_and(|bound| longer(&calm, &struck) > bound) {
        tell_log(report, &log);
    }
    served.stop()?;
    Ok(count)
}

/// A server for a row, and what it says.
fn start(row: &Row) -> Outcome<(Served, Lines)> {
    let flags = ["--crash-survival", "on", "--quiet", "--max-connections", "11k", "--framing"];
    let mut command = serve(&[&flags[..], &[row.callers.framing]].concat());
    if row.is_upgraded() {
        command.arg("--control").arg(upgrade::control());
    }
    let mut program = Program::start(command.stderr(Stdio::piped()))?;
    let log = program.errors()?;
    Ok((Served::hear(program)?, log))
}

/// Strikes once before anything is measured: what a process holds that has gone on with connections is compared
/// with what another such one holds.
fn strike_before(row: &Row, served: &Served, run: &Run) -> Outcome {
    pause(run.connected.saturating_duration_since(Instant::now()));
    let fault = if row.is_upgraded() { Fault::Upgrade } else { row.faults[0] };
    fault.strike(served).map(drop)
}

/// What was done, and how often.
type Strikes = BTreeMap<&'static str, usize>;

/// Strikes at random moments while callers ask.
fn strike(row: &Row, served: &Served, run: &Run) -> Outcome<Strikes> {
    let (mut dice, mut strikes, mut count) = (Dice::new(), Strikes::new(), 0);
    let mut strike = || {
        let done = row.faults[count % row.faults.len()].strike(served)?;
        *strikes.entry(done).or_default() += 1;
        count += 1;
        Ok::<usize, String>(count)
    };
    let from = run.measured_from + MARGIN;
    pause(from.saturating_duration_since(Instant::now()));
    loop {
        pause(dice.time(row.pause()));
        // A run that is over can't tell what the next one would have done.
        if Instant::now() + MARGIN > run.until {
            return Ok(strikes);
        }
        let mut count = strike()?;
        if let Some(again) = row.again {
            pause(dice.time(again));
            count = strike()?;
        }
        if row.times == Some(count) {
            return Ok(strikes);
        }
    }
}

/// What became of upgrades, each of which has an outcome by now.
fn tell_of_upgrades(report: &mut Report, row: &Row, strikes: &Strikes) {
    let Some(times) = row.times else { return };
    for (done, times) in strikes {
        report.tell(format!("  {done}: {times} times"));
    }
    let count: usize = strikes.values().sum();
    report.at_least("  upgrades in a row", float(count as u64), float(times as u64), "");
}

fn judge(report: &mut Report, row: &Row, strikes: usize, heard: [&Heard; 2], held: [&Held; 2]) {
    let ([calm, struck], [before, after]) = (heard, held);
    report.tell(format!("  struck {strikes} times in {} replies", number(struck.replies)));
    let [waits, calm_waits] = [struck, calm].map(|heard| {
        format!(
            "{} ms, in half of the seconds at most {}",
            number(heard.longest),
            number(heard.longest_of_seconds)
        )
    });
    report.tell(format!("  the longest wait {waits}; without that {calm_waits}"));
    if struck.faults() > 0.0 {
        report.tell(format!("  {}", struck.faults_in_words()));
    }
    let wrong = "  replies lost, doubled, out of order or wrong, connections cut, callers refused";
    report.at_most(wrong, struck.faults(), 0.0, "");
    if let Some(bound) = row.longer_ms {
        report.at_most("  the longest wait is longer by", longer(calm, struck), bound, "ms");
    }
    let more = |before: u64, after: u64| float(after.saturating_sub(before));
    report.at_most("  descriptors more than before", more(before.descriptors, after.descriptors), 0.0, "");
    let mib = |before, after| more(before, after) / float(1 << 20);
    let memory = mib(before.memory, after.memory) + mib(before.nameless, after.nameless);
    report.at_most("  memory more than before", memory, MEMORY_MIB, "MiB");
}

/// By how many milliseconds the longest wait is longer.
fn longer(calm: &Heard, struck: &Heard) -> f64 {
    (struck.longest - calm.longest).max(0.0)
}

/// What the server said last.
fn tell_log(report: &Report, log: &Lines) {
    let lines: Vec<String> = log.try_iter().map(|(_, line)| line).collect();
    for line in &lines[lines.len().saturating_sub(LOG_SHOWN)..] {
        report.tell(format!("    {line}"));
    }
}
