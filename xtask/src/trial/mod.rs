//! `cargo xtask trial NAME`: measurements of the real program that anyone can repeat.
//!
//! Tests assert order, counts and states; what is measured in time, memory or system calls is a trial. Each
//! builds the release program, runs it as `landline serve 0 --print-port`, says what it measured and what the
//! bound is, and fails when a bound is missed.

mod control;
mod cpu;
pub(crate) mod duel;
mod evenness;
pub(crate) mod figures;
mod generator;
mod idle_memory;
mod list;
pub(crate) mod load;
mod network;
mod nginx;
mod pipe;
pub(crate) mod proc;
pub(crate) mod program;
pub(crate) mod reference;
mod refusals;
pub(crate) mod report;
mod shortage;
mod slow_peers;
mod spread;
mod startup;
mod steady;
mod survival_cost;
mod syscalls;
mod tail;
mod takeover;
mod tls;
pub(crate) mod traffic;
mod unfinished;
pub(crate) mod upper;
mod vanished;
mod versus;
mod wrk;

use std::ffi::{OsStr, OsString};
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Outcome;
use crate::step::Step;
use report::Report;
use traffic::Traffic;

/// A measurement that has a name.
struct Trial {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Report) -> Outcome,
}

const TRIALS: &[Trial] = &[
    Trial { name: "syscalls", about: "system calls for one message and its reply", run: syscalls::run },
    Trial { name: "idle-memory", about: "memory for one more idle connection", run: idle_memory::run },
    Trial { name: "startup", about: "time until it listens, and the size of the program", run: startup::run },
    Trial { name: "spread", about: "how evenly long connections lie on the threads", run: spread::run },
    Trial { name: "refusals", about: "what 100,000 refused callers leave behind", run: refusals::run },
    Trial { name: "list", about: "what looking at 10,000 connections takes and costs", run: list::run },
    Trial { name: "shortage", about: "how it behaves when descriptors run out", run: shortage::run },
    Trial { name: "slow-peers", about: "what 5,000 unfinished messages cost a caller", run: slow_peers::run },
    Trial { name: "vanished", about: "how long a connection outlives its peer", run: vanished::run },
    Trial { name: "cpu", about: "CPU time for a reply, next to a bare epoll loop", run: cpu::run },
    Trial { name: "tail", about: "p99.9 at half of capacity, next to a bare epoll loop", run: tail::run },
    Trial {
        name: "evenness",
        about: "whether some callers wait while others are served",
        run: evenness::run,
    },
    Trial {
        name: "versus",
        about: "CPU time for a reply, next to the program that LANDLINE_BASE names",
        run: versus::run,
    },
    Trial {
        name: "survival-cost",
        about: "CPU time for a reply with crash survival, next to without",
        run: survival_cost::run,
    },
    Trial { name: "takeover", about: "what callers notice when its process is killed", run: takeover::run },
    Trial { name: "takeover-long", about: "the same for a minute a row", run: takeover::run_long },
    Trial {
        name: "takeover-steps",
        about: "the same when it dies at each step of what a connection does",
        run: takeover::steps::run,
    },
    Trial {
        name: "takeover-causes",
        about: "the same when memory runs out, it stands still, or dies a thousand times",
        run: takeover::causes::run,
    },
    Trial {
        name: "takeover-upgrade",
        about: "what callers notice when other programs take over",
        run: takeover::run_upgrade,
    },
    Trial { name: "tls", about: "CPU time of TLS, next to nginx and HAProxy that end it", run: tls::run },
    Trial { name: "wrk", about: "CPU time of the load generator for a request, next to wrk", run: wrk::run },
    Trial {
        name: "pipe",
        about: "a gigabyte through call as a pipe, next to ncat and socat",
        run: pipe::run,
    },
];

/// Says which trials there are.
#[expect(clippy::unnecessary_wraps, reason = "it is a task like the others")]
pub(crate) fn list() -> Outcome {
    println!("usage: cargo xtask trial NAME\n");
    for trial in TRIALS {
        println!("  {:<16} {}", trial.name, trial.about);
    }
    Ok(())
}

/// Builds what is measured, measures, and judges.
pub(crate) fn run(name: &OsStr) -> Outcome {
    let trial = TRIALS.iter().find(|trial| trial.name == name);
    let trial = trial.ok_or_else(|| format!("no trial is called {}", name.display()))?;
    Step::new("cargo build --release").run()?;
    Step::new("cargo build --release --package xtask").run()?;
    raise_open_files()?;
    println!("\n{}: {}\n{}", trial.name, trial.about, machine());
    let mut report = Report::default();
    (trial.run)(&mut report)?;
    report.judge()
}

/// A process that a trial starts from this very program.
pub(crate) fn part(words: &[OsString]) -> Outcome {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        [reference::PART, cut] => {
            reference::keep_company();
            reference::run(cut.parse()?)
        }
        [reference::PART_ALONE, cut] => reference::run(cut.parse()?),
        [load::PART, port, ref rest @ ..] => match (port.parse(), Traffic::parse(rest)) {
            (Ok(port), Some(traffic)) => load::run(port, &traffic),
            _ => Err("a port and what is said there".to_owned()),
        },
        [unfinished::PART, port, connections] => match (port.parse(), connections.parse()) {
            (Ok(port), Ok(connections)) => unfinished::run(port, connections),
            _ => Err("a port and a number of connections".to_owned()),
        },
        [takeover::parting::PART, ref rest @ ..] => takeover::parting::run(rest),
        _ => Err("no such part".to_owned()),
    }
}

/// Raises the soft limit on open files to the hard one, here and in what is started from here.
pub(crate) fn raise_open_files() -> Outcome {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| format!("cannot raise the limit on open files: {error}"))
}

/// What was measured on, for whoever compares.
pub(crate) fn machine() -> String {
    let system = rustix::system::uname();
    let cores = available_parallelism().map_or(1, usize::from);
    format!("on {} {}, {cores} cores", system.sysname().to_string_lossy(), system.release().to_string_lossy())
}
