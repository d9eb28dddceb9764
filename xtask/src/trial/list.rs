//! What looking at 10,000 connections takes, and what it costs a caller meanwhile.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::control::Control;
use super::figures::{median, number, percentile};
use super::program::{Caller, Served, pause};
use super::report::Report;
use super::steady::{ASK_EVERY, SHARE, ask_until, tell};
use crate::Outcome;

const CONNECTIONS: usize = 10_000;
/// How often somebody looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_secs(10);
const BOUND_MS: f64 = 100.0;
/// More than what a run differs from another by, and less than anybody would notice.
const RATIO: f64 = 1.5;

pub(super) fn run(report: &mut Report) -> Outcome {
    let control = Control::new();
    let served = Served::start(&[
        "--quiet",
        "--framing",
        "line",
        "--max-connections",
        "11k",
        "--control",
        &control.words(),
    ])?;
    let mut idle = Vec::with_capacity(CONNECTIONS);
    while idle.len() < CONNECTIONS {
        let mut caller: Caller = served.call()?;
        caller.ask("hello\n", "HELLO\n")?;
        idle.push(caller);
    }
    report.tell(format!(
        "{CONNECTIONS} idle connections, listed every {LOOK_EVERY:?}; beside that a client that asks every \
         {ASK_EVERY:?}, and alone for as long"
    ));
    let (mut alone, mut beside, mut looks) = (Vec::new(), Vec::new(), Vec::new());
    for is_looked_at in [false, true, true, false] {
        let stop = AtomicBool::new(false);
        let (times, took) = thread::scope(|scope| {
            let looking = scope.spawn(|| if is_looked_at { look(&control, &stop) } else { Ok(Vec::new()) });
            let begun = Instant::now();
            let times = ask_until(&served, || Ok(begun.elapsed() >= PERIOD));
            stop.store(true, Relaxed);
            (times, looking.join())
        });
        let times = times?;
        tell(report, if is_looked_at { "while it is listed" } else { "alone" }, &times);
        looks.extend(took.map_err(|_| "whoever looked panicked")??);
        if is_looked_at { &mut beside } else { &mut alone }.extend(times);
    }
    report.tell(format!("{} lists, median {} ms", looks.len(), number(median(&looks))));
    report.at_most("the slowest list took", looks.iter().copied().fold(0.0, f64::max), BOUND_MS, "ms");
    let (alone, beside) = (percentile(&alone, SHARE), percentile(&beside, SHARE));
    report.tell(format!("p99 alone {} us, while it is listed {} us", number(alone), number(beside)));
    report.at_most("p99 while it is listed to p99 alone", beside / alone, RATIO, "");
    drop(idle);
    served.stop()
}

/// Lists until told to stop; how long each list took to its last byte, in milliseconds.
fn look(control: &Control, stop: &AtomicBool) -> Outcome<Vec<f64>> {
    let mut took = Vec::new();
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        let list = control.get("/connections").map_err(|error| format!("cannot list: {error}"))?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        let seen = list.matches("\"id\":").count();
        if seen < CONNECTIONS {
            return Err(format!("a list has {seen} connections"));
        }
        pause(LOOK_EVERY);
    }
    Ok(took)
}
