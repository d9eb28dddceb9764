//! The figures of a run in words: rows of cells, for whoever lays them out.

use std::time::Duration;

use landline::event::{Charset, escape};

use crate::bench::figures::{self, bytes, grouped, per_second, percent};
use crate::bench::latencies::Latencies;
use crate::bench::summary::{Mode, Summary};

/// What is told of a histogram; `min`, `max` and `mean` stand around them.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// How the run was set up.
pub(super) fn setting(summary: &Summary) -> Vec<String> {
    let run = &summary.run;
    let mode = match run.mode {
        Mode::Closed => "closed loop".to_owned(),
        Mode::Open { rate } => format!("open loop at {}/s", grouped(rate)),
    };
    vec![
        number(run.connections, "connection"),
        number(run.threads, "thread"),
        format!("pipeline {}", run.pipeline),
        run.framing.to_string(),
        mode,
    ]
}

/// What was counted: a name, a number, and what it is per second or in percent. Kinds of errors are indented.
pub(super) fn counts(summary: &Summary) -> Vec<Vec<String>> {
    let bytes_per_second = |count| format!("{}/s", bytes(summary.per_second(count)));
    let row = |name: &str, count: String, rate: String| vec![name.to_owned(), count, rate];
    let size = |count| bytes(figures::float(count));
    let mut rows = vec![
        row("replies", grouped(summary.replies), format!("{}/s", per_second(summary.rate()))),
        row("sent", size(summary.bytes_sent), bytes_per_second(summary.bytes_sent)),
        row("received", size(summary.bytes_received), bytes_per_second(summary.bytes_received)),
        row("errors", grouped(summary.errors.total()), percent(summary.error_rate())),
    ];
    for (kind, count) in summary.errors.by_frequency() {
        rows.push(row(&format!("  {}", kind.words()), grouped(count), String::new()));
    }
    rows
}

/// The histograms that hold something, below a line that names the columns; nothing if none does. The latency
/// that counts comes first.
pub(super) fn latencies(summary: &Summary) -> Vec<Vec<String>> {
    let names = ["latency", "min"].into_iter().chain(QUANTILES.map(|(name, _)| name)).chain(["max", "mean"]);
    let head = names.map(str::to_owned).collect();
    let all = [
        ("from the schedule", summary.from_schedule.as_ref()),
        ("from the send", Some(&summary.from_send)),
        ("sent late by", summary.slip.as_ref()),
        ("to connect", Some(&summary.connects)),
    ];
    let present = all.into_iter().filter_map(|(name, times)| Some((name, times?)));
    let rows = present.filter(|(_, times)| times.count() > 0).map(|(name, times)| row(name, times));
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    if rows.len() > 1 { rows } else { Vec::new() }
}

fn row(name: &str, times: &Latencies) -> Vec<String> {
    let quantiles = QUANTILES.iter().map(|(_, share)| times.quantile(*share));
    let times = std::iter::once(times.min()).chain(quantiles).chain([times.max(), times.mean()]);
    let cells = times.map(|time| time.map_or_else(String::new, figures::column));
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// What the run must not be, what it was, and whether that fails it, below a line that names the columns;
/// nothing if it may be anything.
pub(super) fn conditions(summary: &Summary) -> Vec<Vec<String>> {
    let conditions = summary.conditions();
    let head = (!conditions.is_empty()).then(|| ["fail if", "measured", ""].map(str::to_owned).to_vec());
    let rows = conditions.iter().map(|measured| {
        let verdict = if measured.holds() { "failed" } else { "passed" };
        vec![measured.condition().to_string(), measured.in_words(), verdict.to_owned()]
    });
    head.into_iter().chain(rows).collect()
}

/// What else was measured, in sentences.
pub(super) fn remarks(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    if summary.connects.count() > summary.run.connections {
        let count = summary.connects.count();
        let rate = per_second(summary.per_second(count));
        lines.push(format!("connections made: {}, {rate}/s", grouped(count)));
    }
    let cpu = |cpu: Option<Duration>| summary.per_request(cpu).map(figures::time);
    let cpus = [("generator", cpu(summary.generator_cpu)), ("server", cpu(summary.server_cpu))];
    let cpus = cpus.into_iter().filter_map(|(who, time)| Some(format!("{who} {}", time?)));
    let cpus: Vec<String> = cpus.collect();
    if !cpus.is_empty() {
        lines.push(format!("CPU per request: {}", cpus.join(", ")));
    }
    if let Some(tcp) = summary.tcp {
        let again = number(tcp.retransmits, "retransmit");
        lines.push(format!("TCP: median round trip {}, {again}", figures::time(tcp.rtt)));
    }
    lines
}

/// What the command line said, made harmless. It was typed with escapes, so its backslashes stay as they are.
pub(super) fn safe(text: &str, charset: Charset) -> String {
    escape(text.as_bytes(), charset).replace(r"\\", r"\")
}

fn number(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// The sign of the micro in our own figures.
pub(super) fn micro(text: &str, charset: Charset) -> String {
    if charset == Charset::Ascii {
        return text.to_owned();
    }
    ('0'..='9')
        .fold(text.to_owned(), |text, digit| text.replace(&format!("{digit}us"), &format!("{digit}\u{b5}s")))
}
