//! How the server behaves when it has no descriptors left.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::figures::{float, number};
use super::proc::{cpu, share};
use super::program::{Caller, Lines, Program, Served, pause, serve};
use super::report::Report;
use crate::Outcome;

const OPEN_FILES: u64 = 64;
const CALLERS: usize = 200;
/// How long callers press against the limit.
const WINDOW: Duration = Duration::from_secs(2);
/// What the log says of it.
const WORDS: &str = "cannot take more callers";
/// Once a second, less what a loaded machine may be late with one line and not with the next.
const LINES_APART_S: f64 = 0.95;
const RECOVERY_S: f64 = 1.0;
/// A server that spins takes a whole core.
const CPU_PERCENT: f64 = 20.0;

pub(super) fn run(report: &mut Report) -> Outcome {
    let mut program = Program::start(serve(&[]).stderr(Stdio::piped()))?;
    let log = program.errors()?;
    let served = Served::hear(program)?;
    limit_open_files(served.pid())?;
    let crowd = Crowd::call(served.port);
    let before = cpu(served.pid())?;
    let begun = Instant::now();
    pause(WINDOW);
    let busy = share(before, cpu(served.pid())?, begun.elapsed());
    let (inside, refused) = crowd.end()?;
    report.tell(format!(
        "{OPEN_FILES} open files, {CALLERS} callers who call again when refused, for {WINDOW:?}: \
         {} let in, {refused} times refused",
        inside.len()
    ));
    report.at_most("CPU of one core", busy * 100.0, CPU_PERCENT, "%");
    judge_log(report, &log);
    let recovery = recover(&served, inside)?;
    report.at_most("a new caller is answered after one has left, within", recovery, RECOVERY_S, "s");
    served.stop()
}

fn limit_open_files(pid: Pid) -> Outcome {
    let limit = Rlimit { current: Some(OPEN_FILES), maximum: getrlimit(Resource::Nofile).maximum };
    let set = prlimit(Some(pid), Resource::Nofile, limit);
    set.map(drop).map_err(|error| format!("cannot limit the open files of the server: {error}"))
}

/// Callers who call until they are let in.
struct Crowd {
    over: Arc<AtomicBool>,
    refused: Arc<AtomicU32>,
    callers: Vec<JoinHandle<Outcome<Option<Caller>>>>,
}

impl Crowd {
    fn call(port: u16) -> Self {
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let caller = || {
            let (over, refused) = (Arc::clone(&over), Arc::clone(&refused));
            thread::spawn(move || Self::insist(port, &over, &refused))
        };
        let callers = (0..CALLERS).map(|_| caller()).collect();
        Self { over, refused, callers }
    }

    /// Calls again and again, until let in or told to stop.
    fn insist(port: u16, over: &AtomicBool, refused: &AtomicU32) -> Outcome<Option<Caller>> {
        while !over.load(Relaxed) {
            let mut caller = Caller::connect(port)?;
            // What a refused caller sends may come too late to be taken.
            let _ = caller.say("hello");
            match caller.hear("HELLO")?.as_str() {
                "HELLO" => return Ok(Some(caller)),
                "busy\n" => drop(refused.fetch_add(1, Relaxed)),
                heard => return Err(format!("a caller read {heard:?}")),
            }
        }
        Ok(None)
    }

    /// Those who were let in, and how often others were refused.
    fn end(self) -> Outcome<(Vec<Caller>, u32)> {
        self.over.store(true, Relaxed);
        let mut inside = Vec::new();
        for caller in self.callers {
            inside.extend(caller.join().map_err(|_| "a caller panicked")??);
        }
        Ok((inside, self.refused.load(Relaxed)))
    }
}

fn judge_log(report: &mut Report, log: &Lines) {
    let times: Vec<Instant> =
        log.try_iter().filter(|(_, line)| line.contains(WORDS)).map(|(time, _)| time).collect();
    report.at_least("log lines about it", float(times.len() as u64), 1.0, "");
    let apart = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).reduce(f64::min);
    match apart {
        Some(apart) => report.at_least("time between two of them, at least", apart, LINES_APART_S, "s"),
        None => report.tell("too few to come too often"),
    }
}

/// Lets one caller go; how long it takes until another one is answered, in seconds.
fn recover(served: &Served, mut inside: Vec<Caller>) -> Outcome<f64> {
    let leaving = inside.pop().ok_or("nobody was let in")?;
    drop(leaving);
    let begun = Instant::now();
    let mut calls = 0_u64;
    loop {
        calls += 1;
        let mut caller = served.call()?;
        let _ = caller.say("hello");
        if caller.hear("HELLO")? == "HELLO" {
            let taken = begun.elapsed().as_secs_f64();
            println!("  (on call number {})", number(float(calls)));
            return Ok(taken);
        }
        if begun.elapsed() > WINDOW {
            return Err(format!("no caller was let in within {WINDOW:?} after one had left"));
        }
    }
}
