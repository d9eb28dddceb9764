//! `landline bench` as a trial uses it: on the callers' core, with what it measured as figures.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::duel::CLIENT_CORE;
use super::program::{Program, built};
use crate::Outcome;

/// From here on half of the requests are sent late, in microseconds: Linux lets a timer that sleeps be 50 us
/// late.
const LATE: f64 = 50.0;

/// One run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Right replies.
    pub(super) replies: f64,
    /// Right replies per second.
    pub(super) rate: f64,
    /// p50, p99, p99.9 and the most of the latency, in microseconds; in an open loop from when a request was
    /// to be sent.
    pub(super) half: f64,
    pub(super) most_of: f64,
    pub(super) tail: f64,
    pub(super) longest: f64,
    /// In an open loop, p99.9 of how late requests were sent, in microseconds.
    pub(super) slip: Option<f64>,
    /// What a reply cost the server in CPU time, in microseconds, if it was told which process that is.
    pub(super) server_cpu: Option<f64>,
    /// Whether it kept to the rate that it was told, and in time. That a few requests are late does not
    /// count: on a machine that stands still for a moment now and then, some always are.
    pub(super) in_time: bool,
}

/// The command line that measures a server on this machine.
pub(super) fn bench(port: u16, flags: &[&str]) -> Command {
    let mut command = Command::new(built("landline"));
    command.args(["bench", &port.to_string(), "--quiet", "--output-format", "json"]).args(flags);
    command.stdin(Stdio::null());
    command
}

/// Measures, and fails if any reply was wrong or missing.
pub(super) fn measure(port: u16, flags: &[&str]) -> Outcome<Measured> {
    let program = Program::start_on(CLIENT_CORE, &mut bench(port, flags))?;
    let (_, line) = program.line()?;
    program.end()?;
    parse(&line).ok_or_else(|| format!("no figures: {line}"))
}

fn parse(line: &str) -> Option<Measured> {
    let run: Value = serde_json::from_str(line).ok()?;
    let missed = run["verdicts"].as_array()?.iter().any(|verdict| verdict["kind"] == "rate_missed");
    let half_late = run["slip"]["p50_us"].as_f64().is_some_and(|half| half > LATE);
    Some(Measured {
        replies: run["replies"].as_f64()?,
        rate: run["rate"].as_f64()?,
        half: run["latency"]["p50_us"].as_f64()?,
        most_of: run["latency"]["p99_us"].as_f64()?,
        tail: run["latency"]["p99_9_us"].as_f64()?,
        longest: run["latency"]["max_us"].as_f64()?,
        slip: run["slip"]["p99_9_us"].as_f64(),
        server_cpu: run["server_cpu_us"].as_f64(),
        in_time: !missed && !half_late,
    })
}

#[test]
fn figures_are_read_from_what_the_program_writes() {
    let line = |kind: &str, slip: &str| {
        format!(
            r#"{{"replies":19,"rate":9.5,"latency":{{"p50_us":50,"p99_us":60,"p99_9_us":70,"max_us":80}},
            "slip":{slip},"server_cpu_us":2.5,"verdicts":[{{"kind":"{kind}"}}]}}"#
        )
    };
    let closed = Measured {
        replies: 19.0,
        rate: 9.5,
        half: 50.0,
        most_of: 60.0,
        tail: 70.0,
        longest: 80.0,
        slip: None,
        server_cpu: Some(2.5),
        in_time: true,
    };
    assert_eq!(parse(&line("closed_loop", "null")), Some(closed));
    for (kind, half, in_time) in
        [("sent_late", 50, true), ("sent_late", 51, false), ("rate_missed", 9, false)]
    {
        let open = parse(&line(kind, &format!(r#"{{"p50_us":{half},"p99_9_us":4}}"#)));
        assert_eq!(open, Some(Measured { slip: Some(4.0), in_time, ..closed }));
    }
    assert_eq!(parse("landline: error"), None);
}
