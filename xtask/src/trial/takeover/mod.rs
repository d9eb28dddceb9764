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

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::figures::{float, number};
use super::program::{Lines, Program, Served, pause, serve};
use super::report::Report;
use crate::Outcome;
use callers::{Heard, Run};
use dice::Dice;
use held::Held;
use rows::{ROWS, Row};

/// How long a row is measured without kills, and then with them.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(60);
/// A run has been going on for so long when it is first struck, and goes on for so long after the last.
const MARGIN: Duration = Duration::from_millis(300);
/// So many lines of the log are shown when something went wrong.
const LOG_SHOWN: usize = 6;
/// How much more memory it may take than before.
const MEMORY_MIB: f64 = 4.0;

/// About three minutes.
pub(super) fn run(report: &mut Report) -> Outcome {
    all_rows(report, SHORT)
}

/// A minute and a hundred kills for each row.
pub(super) fn run_long(report: &mut Report) -> Outcome {
    all_rows(report, LONG)
}

fn all_rows(report: &mut Report, length: Duration) -> Outcome {
    meddler::prove(report)?;
    report.tell(format!(
        "`landline serve --crash-survival on`, {length:?} without strikes and then with them, every byte verified:"
    ));
    let mut strikes = 0;
    for row in ROWS {
        strikes += measure(report, row, length)?;
    }
    report.tell(format!("struck {strikes} times in all"));
    Ok(())
}

/// Measures a row; how often the server was struck.
fn measure(report: &mut Report, row: &Row, length: Duration) -> Outcome<usize> {
    let flags = ["--crash-survival", "on", "--quiet", "--max-connections", "11k", "--framing"];
    let mut command = serve(&[&flags[..], &[row.callers.framing]].concat());
    let mut program = Program::start(command.stderr(Stdio::piped()))?;
    let log = program.errors()?;
    let served = Served::hear(program)?;
    report.tell(row.words());
    let ask = || row.callers.start(served.port, row.callers.warm_up(), length);
    let calm = ask()?.end()?;
    if calm.faults() > 0.0 {
        return Err(format!("without a single strike: {}", calm.faults_in_words()));
    }
    let before = Held::settled(served.program.pid())?;
    let run = ask()?;
    let strikes = strike(row, served.program.pid(), &run)?;
    let struck = run.end()?;
    let after = Held::settled(served.program.pid())?;
    judge(report, row, strikes, [&calm, &struck], [&before, &after]);
    if struck.faults() > 0.0 || row.longer_ms.is_some_and(|bound| longer(&calm, &struck) > bound) {
        tell_log(report, &log);
    }
    served.stop()?;
    Ok(strikes)
}

/// Strikes at random moments while callers ask; how often.
fn strike(row: &Row, keeper: Pid, run: &Run) -> Outcome<usize> {
    let (mut dice, mut strikes) = (Dice::new(), 0);
    let from = run.measured_from + MARGIN;
    pause(from.saturating_duration_since(Instant::now()));
    loop {
        pause(dice.time(row.pause()));
        // A run that is over can't tell what the next one would have done.
        if Instant::now() + MARGIN > run.until {
            return Ok(strikes);
        }
        row.faults[strikes % row.faults.len()].strike(keeper)?;
        strikes += 1;
        if let Some(again) = row.again {
            pause(dice.time(again));
            row.faults[strikes % row.faults.len()].strike(keeper)?;
            strikes += 1;
        }
    }
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
