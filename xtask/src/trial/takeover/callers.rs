//! Callers who verify every byte, and what they heard.

use std::fmt::Write;
use std::iter;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::parting;
use crate::Outcome;
use crate::trial::duel::CLIENT_CORE;
use crate::trial::figures::{median, number};
use crate::trial::generator::bench;
use crate::trial::program::{Lines, Program, pause};

/// Who they are and what they ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Callers {
    pub(super) connections: usize,
    pub(super) framing: &'static str,
    pub(super) size: &'static str,
    /// How many messages are in flight on a connection.
    pub(super) depth: &'static str,
    pub(super) life: Life,
    /// How many of them are asked in a second, all together; without it, as many as are answered.
    pub(super) rate: Option<&'static str>,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It lasts.
    Stay,
    /// It ends after a few messages, and another takes its place.
    Churn,
    /// Its caller sends up to eight messages of different sizes, ends its side, hears the rest, and calls
    /// anew.
    Part,
}

/// A connection that churns has so many messages.
const CHURN: &str = "3";
/// A warm-up, and more of it for each connection.
const WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP_EACH: Duration = Duration::from_micros(200);

/// What has not come so long after it was asked for will not come. It is longer than the watchdog waits.
const TIMEOUT: &str = "20s";
/// A complaint comes sooner than that.
const GIVE_UP: Duration = Duration::from_secs(1);

/// Callers who ask.
#[derive(Debug)]
pub(super) struct Run {
    program: Program,
    errors: Lines,
    /// Everybody has connected by then, and nothing is measured yet.
    pub(super) connected: Instant,
    pub(super) measured_from: Instant,
    pub(super) until: Instant,
}

/// What callers heard.
#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) replies: f64,
    /// The longest wait of any of them, in milliseconds.
    pub(super) longest: f64,
    /// The longest wait in each second, in milliseconds: the median of them. It tells a machine that stood
    /// still once from a server that is slow each time.
    pub(super) longest_of_seconds: f64,
    /// What went wrong, and how often.
    wrong: Vec<(String, f64)>,
}

impl Callers {
    /// How long it takes until everybody has connected and the first rush is over. `landline bench` counts no
    /// faults meanwhile.
    pub(super) fn warm_up(&self) -> Duration {
        WARM_UP + WARM_UP_EACH * u32::try_from(self.connections).unwrap_or(u32::MAX)
    }

    /// Starts to ask for as long as `length` after a warm-up.
    pub(super) fn start(&self, port: u16, warm_up: Duration, length: Duration) -> Outcome<Run> {
        let connections = self.connections.to_string();
        let [warm_up_ms, length_ms] = [warm_up, length].map(|time| time.as_millis().to_string());
        let mut command = if self.life == Life::Part {
            parting::command(port, &connections, self.framing, [&warm_up_ms, &length_ms])
        } else {
            let mut command = bench(port, &["--connections", &connections, "--expect", "upper"]);
            command.args(["--framing", self.framing, "--size", self.size, "--pipeline", self.depth]);
            command.args(["--duration", &format!("{length_ms}ms"), "--timeout", TIMEOUT]);
            if !warm_up.is_zero() {
                command.args(["--warmup", &format!("{warm_up_ms}ms")]);
            }
            if let Some(rate) = self.rate {
                command.args(["--rate", rate]);
            }
            if self.life == Life::Churn {
                command.args(["--churn", CHURN]);
            }
            command
        };
        let mut program = Program::start_on(CLIENT_CORE, command.stderr(Stdio::piped()))?;
        let errors = program.errors()?;
        let now = Instant::now();
        let (connected, measured_from) = (now + warm_up * 3 / 4, now + warm_up);
        Ok(Run { program, errors, connected, measured_from, until: measured_from + length })
    }

    pub(super) fn words(&self) -> String {
        let Self { connections, framing, size, depth, life, rate } = self;
        let size = size.strip_suffix("KiB").map_or_else(|| format!("{size} B"), |kib| format!("{kib} KiB"));
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate} a second"));
        match life {
            Life::Stay => {
                format!("{connections} connections, {framing}, {size}, x{depth}{rate}")
            }
            Life::Churn => {
                format!("{connections} connections of {CHURN} messages each, {framing}, {size}{rate}")
            }
            Life::Part => format!(
                "{connections} callers who end their side and hear the rest, {framing}, 64 B to 64 KiB"
            ),
        }
    }
}

impl Run {
    /// Waits until they have asked all they want. When something was wrong they end with a failure, which the
    /// figures say as well.
    pub(super) fn end(self) -> Outcome<Heard> {
        pause(self.until.saturating_duration_since(Instant::now()));
        let line = self.program.line().map(|(_, line)| line).unwrap_or_default();
        Heard::parse(&line).ok_or_else(|| {
            let said = iter::from_fn(|| self.errors.recv_timeout(GIVE_UP).ok());
            let said: Vec<String> = said.map(|(_, line)| line).collect();
            format!("the callers give no figures: {line} {}", said.join("; "))
        })
    }
}

impl Heard {
    /// From what `landline bench` writes, and whoever writes the same.
    fn parse(line: &str) -> Option<Self> {
        let run: Value = serde_json::from_str(line).ok()?;
        let longest = |of: &str| run[of]["max_us"].as_f64().unwrap_or(0.0) / 1e3;
        let errors = run["errors"].as_object()?.iter().filter(|(kind, _)| *kind != "total");
        let wrong = errors.map(|(kind, count)| Some((kind.clone(), count.as_f64()?)));
        let wrong = wrong.filter(|one| one.as_ref().is_none_or(|(_, count)| *count > 0.0));
        let seconds = run["seconds"].as_array().map_or(&[][..], Vec::as_slice);
        let of_seconds: Vec<f64> = seconds.iter().filter_map(|one| one["max_us"].as_f64()).collect();
        Some(Self {
            replies: run["replies"].as_f64()?,
            // From the send: that a caller was late itself says nothing of the server.
            longest: longest("latency_from_send").max(longest("connect")),
            longest_of_seconds: median(&of_seconds) / 1e3,
            wrong: wrong.collect::<Option<_>>()?,
        })
    }

    /// How much went wrong.
    pub(super) fn faults(&self) -> f64 {
        self.wrong.iter().fold(0.0, |sum, (_, count)| sum + count)
    }

    pub(super) fn faults_in_words(&self) -> String {
        self.wrong.iter().fold(String::new(), |mut words, (kind, count)| {
            // Writing to a string can't fail.
            let _ = write!(words, "{}{} {kind}", if words.is_empty() { "" } else { ", " }, number(*count));
            words
        })
    }
}

#[test]
fn what_was_heard_is_read_from_what_the_program_writes() {
    let line = |errors: &str| {
        format!(
            r#"{{"replies":9,"seconds":[{{"max_us":900}},{{"max_us":1500}},{{"max_us":700}}],"latency_from_send":{{"max_us":1500}},"connect":{{"max_us":null}},"errors":{{"total":9,{errors}}}}}"#
        )
    };
    let fine = Heard::parse(&line(r#""reset":0,"wrong_reply":0"#)).unwrap();
    assert_eq!(fine, Heard { replies: 9.0, longest: 1.5, longest_of_seconds: 0.9, wrong: Vec::new() });
    let wrong = Heard::parse(&line(r#""reset":2,"wrong_reply":1,"refused":0"#)).unwrap();
    assert_eq!(
        (wrong.faults().to_string(), wrong.faults_in_words()),
        ("3".to_owned(), "2 reset, 1 wrong_reply".to_owned())
    );
    assert_eq!(Heard::parse("landline: error"), None);
}
