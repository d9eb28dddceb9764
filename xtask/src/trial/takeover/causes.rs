//! Causes of death that take more than a signal, and a thousand deaths in a row.
//!
//! The kernel kills a process when memory runs out, the keeper kills one that stands still, and a kill can
//! come while callers are being accepted. What a server holds is compared with what it held after the first
//! deaths.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::callers::{Callers, Life, Run};
use super::cgroup::Cgroup;
use super::dice::Dice;
use super::fault::{send, wait_for_another};
use super::subject::{Findings, Subject};
use crate::Outcome;
use crate::trial::program::{PATIENCE, pause, serve};
use crate::trial::report::Report;

/// No strike comes so close to the end of a round: what callers hear of it is to be told.
const MARGIN: Duration = Duration::from_millis(300);
/// How often a limit on memory is looked at while somebody is to die of it.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// A limit may lie so far below what is held, in bytes.
const SHORT_OF: u64 = 256 << 10;

/// What the server dies of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Kill,
    /// It stands still, until the watchdog kills it.
    Stop,
    /// There is less memory than it holds, and the kernel kills who holds most.
    Memory,
}

/// One row of the trial.
struct Row {
    cause: Cause,
    callers: Callers,
    /// How often it dies until what it holds is looked at, and then again until the end.
    deaths: [u32; 2],
    /// Callers ask for so long at a time.
    round: Duration,
    /// Between two deaths, in milliseconds.
    pause: [u64; 2],
    /// How long somebody may wait at most, in milliseconds.
    longest_ms: Option<f64>,
}

const fn callers(connections: usize, framing: &'static str, size: &'static str, life: Life) -> Callers {
    Callers { connections, framing, size, depth: "1", life, rate: None }
}

/// The watchdog's own time, by default, and a second for looking once a second.
const STILL_MS: f64 = 6_000.0;
const ROUND: Duration = Duration::from_secs(5);

const ROWS: [Row; 5] = [
    Row {
        cause: Cause::Memory,
        callers: callers(50, "line", "64", Life::Churn),
        deaths: [5, 20],
        round: ROUND,
        pause: [100, 200],
        longest_ms: None,
    },
    Row {
        cause: Cause::Stop,
        callers: callers(50, "line", "64", Life::Stay),
        deaths: [1, 3],
        round: Duration::from_secs(8),
        pause: [0, 1_000],
        longest_ms: Some(STILL_MS),
    },
    Row {
        cause: Cause::Kill,
        callers: callers(50, "line", "64", Life::Churn),
        deaths: [20, 200],
        round: ROUND,
        pause: [1, 20],
        longest_ms: None,
    },
    Row {
        cause: Cause::Kill,
        callers: callers(1_000, "raw", "64", Life::Churn),
        deaths: [20, 100],
        round: ROUND,
        pause: [20, 100],
        longest_ms: None,
    },
    Row {
        cause: Cause::Kill,
        callers: callers(50, "line", "1KiB", Life::Stay),
        deaths: [50, 1_000],
        round: ROUND,
        pause: [1, 20],
        longest_ms: None,
    },
];

/// About two minutes.
pub(in crate::trial) fn run(report: &mut Report) -> Outcome {
    report.tell("a server whose process dies, every byte verified:");
    for row in &ROWS {
        row.measure(report)?;
    }
    Ok(())
}

impl Row {
    fn measure(&self, report: &mut Report) -> Outcome {
        let group = if self.cause == Cause::Memory { Cgroup::new() } else { None };
        if self.cause == Cause::Memory && group.is_none() {
            report.tell("no control group can be made here, so nobody dies of a lack of memory");
            return Ok(());
        }
        report.tell(format!("{}; {}", self.callers.words(), self.cause.words()));
        let mut command = serve(&["--threads", "2"]);
        if let Some(group) = &group {
            command = group.starting(&command);
        }
        let mut subject = Subject::start(&mut command, self.callers.framing)?;
        let mut findings = Findings::default();
        let [first, all] = self.deaths;
        let mut deaths = self.rounds(&subject, group.as_ref(), first, &mut findings)?;
        let before = subject.held()?;
        deaths += self.rounds(&subject, group.as_ref(), all - first, &mut findings)?;
        let restarts = subject.restarts();
        subject.end(&before, &mut findings)?;
        findings.judge(report, restarts);
        report.at_least("  deaths", restarts.into(), deaths.into(), "");
        if let Some(bound) = self.longest_ms {
            report.at_most("  the longest wait", findings.longest, bound, "ms");
        }
        Ok(())
    }

    /// Has callers ask until it has died so often; how often it has.
    fn rounds(
        &self,
        subject: &Subject,
        group: Option<&Cgroup>,
        deaths: u32,
        findings: &mut Findings,
    ) -> Outcome<u32> {
        let mut left = deaths;
        while left > 0 {
            let run = subject.ask(&self.callers, self.round)?;
            let struck = self.strike(subject.keeper(), group, left, &run);
            findings.add(&run.end()?);
            left -= struck?;
        }
        Ok(deaths)
    }

    /// Has it die while callers ask, so often at most; how often.
    fn strike(&self, keeper: Pid, group: Option<&Cgroup>, most: u32, run: &Run) -> Outcome<u32> {
        let mut dice = Dice::new();
        for strikes in 0..most {
            pause(MARGIN.min(dice.time(self.pause)));
            if Instant::now() + self.margin() > run.until {
                return Ok(strikes);
            }
            match (self.cause, group) {
                // It stands still, and its keeper has to notice.
                (Cause::Stop, _) => send(Signal::STOP, keeper)?,
                (Cause::Memory, Some(group)) => run_short_of_memory(group, keeper)?,
                _ => send(Signal::KILL, keeper)?,
            }
        }
        Ok(most)
    }

    /// How long before the end of a round the last strike comes.
    fn margin(&self) -> Duration {
        let bound = self.longest_ms.map_or(Duration::ZERO, |bound| Duration::from_secs_f64(bound / 1e3));
        bound + MARGIN
    }
}

impl Cause {
    fn words(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGSTOP, and the watchdog",
            Self::Memory => "no memory is left",
        }
    }
}

/// Lets a server have less memory than it holds, until the kernel has killed a process for it, and waits for
/// another.
fn run_short_of_memory(group: &Cgroup, keeper: Pid) -> Outcome {
    wait_for_another(keeper, || {
        let (before, begun) = (group.kills()?, Instant::now());
        while group.kills()? == before {
            if begun.elapsed() > PATIENCE {
                return Err("memory is short, and nobody was killed".to_owned());
            }
            let held = group.held()?;
            // A kernel that refuses the one lets as much be held as is, and no more.
            let _ = group.limit(Some(held.saturating_sub(SHORT_OF))).or_else(|_| group.limit(Some(held)));
            pause(LOOK_EVERY);
        }
        group.limit(None).map_err(|error| format!("cannot take a limit away: {error}"))
    })
}
