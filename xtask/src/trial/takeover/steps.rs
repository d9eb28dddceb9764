//! A process that kills itself at each step of what a connection does, hundreds of times.
//!
//! `LANDLINE_FAULT` does that in a build of the program that has such steps, which lies apart from the one
//! that the other trials measure. A signal from outside hits each of the short moments between two steps only
//! by chance; this hits nothing else.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::callers::{Callers, Life};
use super::dice::Dice;
use super::fault::kill;
use super::subject::{Findings, Subject};
use crate::Outcome;
use crate::step::Step;
use crate::trial::figures::float;
use crate::trial::program::{built, pause, serve_with};
use crate::trial::report::Report;

/// How often a process dies at each step, at least.
const DEATHS: u32 = 300;
/// One of so many passings is deadly, for each connection. A process gets there in a few milliseconds; but one
/// that finds all of them waiting mostly serves them first. When several in a row die before they serve, the
/// keeper waits.
const WITHIN: usize = 4;
/// Callers ask for so long, and then again, until it has died often enough.
const ROUND: Duration = Duration::from_millis(1_500);
const ROUNDS_MAX: usize = 30;
/// Between two kills from outside, in milliseconds.
const PAUSE: [u64; 2] = [5, 40];
/// Whoever calls without an end is left alone for so long at the end of a round.
const MARGIN: Duration = Duration::from_millis(100);

/// A step, and who has the server pass it.
struct Deadly {
    /// As `LANDLINE_FAULT` calls it.
    step: &'static str,
    callers: &'static [Callers],
}

const fn callers(framing: &'static str, size: &'static str, depth: &'static str, life: Life) -> Callers {
    Callers { connections: 50, framing, size, depth, life, rate: None }
}

const ONE_AT_A_TIME: Callers = callers("raw", "64", "1", Life::Stay);
const MANY_AT_ONCE: Callers = callers("line", "1KiB", "16", Life::Stay);
const LARGE: Callers = callers("length", "64KiB", "4", Life::Stay);
const COME_AND_GO: Callers = callers("line", "64", "1", Life::Churn);
/// Lines of all lengths, in two pieces: what is unfinished moves to other memory.
const IN_PIECES: Callers = callers("line", "mixed", "8", Life::Part);

const MESSAGES: &[Callers] = &[ONE_AT_A_TIME, MANY_AT_ONCE, LARGE, IN_PIECES];
const CONNECTIONS: &[Callers] = &[COME_AND_GO, IN_PIECES];

const STEPS: [Deadly; 11] = [
    Deadly { step: "accept", callers: CONNECTIONS },
    Deadly { step: "begin", callers: CONNECTIONS },
    Deadly { step: "claim", callers: MESSAGES },
    Deadly { step: "receive", callers: MESSAGES },
    Deadly { step: ANSWER, callers: MESSAGES },
    Deadly { step: "stage", callers: MESSAGES },
    Deadly { step: "send", callers: MESSAGES },
    Deadly { step: "release", callers: MESSAGES },
    Deadly { step: "move", callers: &[LARGE, IN_PIECES] },
    Deadly { step: "clear", callers: CONNECTIONS },
    Deadly { step: RECOVER, callers: MESSAGES },
];

/// The one step that each message passes; a batch passes the others.
const ANSWER: &str = "answer";
/// Only a process that follows another passes this one, so somebody has to kill the others.
const RECOVER: &str = "recover";

/// About three minutes.
pub(in crate::trial) fn run(report: &mut Report) -> Outcome {
    let program = build()?;
    report.tell("a server with two threads, whose process kills itself; every byte verified:");
    let mut all = 0;
    for deadly in &STEPS {
        let mut findings = Findings::default();
        let mut deaths = 0;
        let share = DEATHS.div_ceil(u32::try_from(deadly.callers.len()).unwrap_or(1));
        for callers in deadly.callers {
            deaths += deadly.measure(&program, callers, share, &mut findings)?;
        }
        report.tell(format!("killed after `{}`", deadly.step));
        findings.judge(report, deaths);
        report.at_least("  deaths", float(deaths.into()), float(DEATHS.into()), "");
        all += deaths;
    }
    report.tell(format!("{all} deaths in all"));
    Ok(())
}

/// Builds the program that has such steps.
fn build() -> Outcome<PathBuf> {
    let ordinary = built("landline");
    let place = ordinary.ancestors().nth(2).unwrap_or(Path::new("target")).join("fault-points");
    let build = Step::new("cargo build --release --package landline-cli --features fault-points");
    build.words([OsStr::new("--target-dir"), place.as_os_str()]).run()?;
    Ok(place.join("release/landline"))
}

impl Deadly {
    /// Has callers ask until so many processes have died of it; how many have.
    fn measure(
        &self,
        program: &Path,
        callers: &Callers,
        deaths: u32,
        findings: &mut Findings,
    ) -> Outcome<u32> {
        let mut command = serve_with(program.to_owned(), &["--threads", "2"]);
        command.env("LANDLINE_FAULT", format!("{}:{}", self.step, self.within(callers)));
        let mut subject = Subject::start(&mut command, callers.framing)?;
        let mut kills = self.round(&subject, callers, findings)?;
        // What is held from the first deaths on must not grow with others.
        let before = subject.held()?;
        for _ in 0..ROUNDS_MAX {
            if subject.restarts().saturating_sub(kills) >= deaths {
                break;
            }
            kills += self.round(&subject, callers, findings)?;
            // Only one at rest says how often it has died.
            subject.held()?;
        }
        let deaths = subject.restarts().saturating_sub(kills);
        subject.end(&before, findings)?;
        Ok(deaths)
    }

    /// How many passings one is deadly of.
    fn within(&self, callers: &Callers) -> usize {
        // What waits on a connection is one batch, unless it is too large for that.
        let is_each_message = self.step == ANSWER || callers.size == LARGE.size;
        let at_once = if is_each_message { callers.depth.parse().unwrap_or(1) } else { 1 };
        WITHIN * callers.connections * at_once
    }

    /// Callers ask once; how often somebody else killed the process meanwhile.
    fn round(&self, subject: &Subject, callers: &Callers, findings: &mut Findings) -> Outcome<u32> {
        let run = subject.ask(callers, ROUND)?;
        let (mut dice, mut kills) = (Dice::new(), 0);
        while self.step == RECOVER && Instant::now() + MARGIN < run.until {
            pause(dice.time(PAUSE));
            kills += u32::from(kill(subject.keeper())?);
        }
        findings.add(&run.end()?);
        Ok(kills)
    }
}
