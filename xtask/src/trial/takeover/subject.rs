//! A server that dies again and again: what its callers heard, what it says, and what it holds.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use serde_json::Value;

use super::MEMORY_MIB;
use super::callers::{Callers, Heard, Run};
use super::held::Held;
use crate::Outcome;
use crate::trial::control::Control;
use crate::trial::figures::{float, number};
use crate::trial::program::{Lines, Program, Served, pause};
use crate::trial::report::Report;

/// So many lines of its log are kept, and shown when something went wrong.
const LOG_SHOWN: usize = 6;
/// How often a server is asked that may die while it is asked, and how long until it is asked again.
const TRIES: usize = 100;
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The server.
#[derive(Debug)]
pub(super) struct Subject {
    served: Served,
    control: Control,
    log: Lines,
    /// The last lines of it.
    said: VecDeque<String>,
    /// How often another process took the place of one that died, as of the last line that says so.
    restarts: u32,
}

/// What is held to a bound.
#[derive(Debug, Default)]
pub(super) struct Findings {
    replies: f64,
    /// In milliseconds.
    pub(super) longest: f64,
    faults: f64,
    /// Connections that are not there.
    open: u64,
    /// What a server held more than before.
    descriptors: u64,
    memory_mib: f64,
    words: Vec<String>,
}

impl Subject {
    /// Starts it; the command says which program that is, and how it is to serve.
    pub(super) fn start(command: &mut Command, framing: &str) -> Outcome<Self> {
        let control = Control::new();
        command.args(["--crash-survival", "on", "--quiet", "--max-connections", "11k"]);
        command.args(["--framing", framing, "--control", &control.words()]);
        let mut program = Program::start(command.stderr(Stdio::piped()))?;
        let log = program.errors()?;
        let served = Served::hear(program)?;
        Ok(Self { served, control, log, said: VecDeque::new(), restarts: 0 })
    }

    pub(super) fn keeper(&self) -> Pid {
        self.served.program.pid()
    }

    /// Has callers ask, who count what goes wrong from the first moment on.
    pub(super) fn ask(&self, callers: &Callers, length: Duration) -> Outcome<Run> {
        callers.start(self.served.port, Duration::ZERO, length)
    }

    /// How often a process of it has died. When it is at rest, that is exact: the line that says so is written
    /// by whoever came after, and may be lost with that one.
    pub(super) fn restarts(&mut self) -> u32 {
        for (_, line) in self.log.try_iter() {
            if let Some(number) = restart(&line) {
                self.restarts = self.restarts.max(number);
            }
            self.said.push_back(line);
            if self.said.len() > LOG_SHOWN {
                self.said.pop_front();
            }
        }
        self.restarts
    }

    pub(super) fn held(&self) -> Outcome<Held> {
        Held::settled(self.keeper())
    }

    /// How many connections it believes to have, when those who called have gone.
    fn open(&self) -> Outcome<u64> {
        let mut seen = Err("the server does not answer its control socket".to_owned());
        for _ in 0..TRIES {
            // Whoever is asked may die of it.
            match self.control.get("/status").ok().and_then(|answer| open(&answer)) {
                Some(0) => return Ok(0),
                Some(open) => seen = Ok(open),
                None => {}
            }
            pause(AGAIN_AFTER);
        }
        seen
    }

    /// Looks at what it holds, and lets it go.
    pub(super) fn end(mut self, before: &Held, findings: &mut Findings) -> Outcome {
        let after = self.held()?;
        let more = |before: u64, after: u64| after.saturating_sub(before);
        let memory = more(before.memory, after.memory) + more(before.nameless, after.nameless);
        findings.memory_mib = findings.memory_mib.max(float(memory) / float(1 << 20));
        findings.descriptors = findings.descriptors.max(more(before.descriptors, after.descriptors));
        findings.open = findings.open.max(self.open()?);
        if findings.faults > 0.0 {
            self.restarts();
            findings.words.extend(self.said);
        }
        self.served.stop()
    }
}

impl Findings {
    /// Adds what callers heard.
    pub(super) fn add(&mut self, heard: &Heard) {
        self.replies += heard.replies;
        self.longest = self.longest.max(heard.longest);
        self.faults += heard.faults();
        if heard.faults() > 0.0 {
            self.words.push(heard.faults_in_words());
        }
    }

    pub(super) fn judge(&self, report: &mut Report, deaths: u32) {
        let (replies, longest) = (number(self.replies), number(self.longest));
        report.tell(format!("  {deaths} deaths in {replies} replies, the longest wait {longest} ms"));
        self.words.iter().for_each(|line| report.tell(format!("    {line}")));
        let wrong = "  replies lost, doubled, out of order or wrong, connections cut, callers refused";
        report.at_most(wrong, self.faults, 0.0, "");
        report.at_most("  connections listed that nobody has", float(self.open), 0.0, "");
        report.at_most("  descriptors more than before", float(self.descriptors), 0.0, "");
        report.at_most("  memory more than before", self.memory_mib, MEMORY_MIB, "MiB");
    }
}

/// The number at the end of `restarted after SIGKILL - 4.5 ms without service - restart 7`.
fn restart(line: &str) -> Option<u32> {
    line.contains("restarted after ").then(|| line.rsplit_once(" restart "))??.1.trim().parse().ok()
}

/// How many connections an answer to `GET /status` speaks of.
fn open(answer: &str) -> Option<u64> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str::<Value>(body).ok()?["open"].as_u64()
}

#[test]
fn restarts_are_read_from_the_log() {
    let line = "12:00:00 restarted after SIGKILL by the watchdog - 4.5 ms without service - restart 17";
    assert_eq!(restart(line), Some(17));
    assert_eq!(restart("12:00:00 took over 17 connections"), None);
}

#[test]
fn connections_are_read_from_a_status_and_from_nothing_else() {
    assert_eq!(open("HTTP/1.1 200 OK\r\nx: y\r\n\r\n{\"pid\":1,\"open\":3}"), Some(3));
    assert_eq!(open("HTTP/1.1 200 OK\r\nx: y\r\n\r\n{\"pid\":1,\"op"), None);
    assert_eq!(open(""), None);
}
