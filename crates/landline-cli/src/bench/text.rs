//! A run for people, at the end of `landline bench`.

use std::time::Duration;

use landline::event::{Charset, escape};

use crate::bench::figures::{self, bytes, grouped, per_second, percent};
use crate::bench::latencies::Latencies;
use crate::bench::series;
use crate::bench::summary::{Mode, Run, Summary};
use crate::bench::verdict::Verdict;
use crate::terminal::words;

/// What is told of a histogram; `min`, `max` and `mean` stand around them.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// How wide the lines are that wrap.
const WIDTH: usize = 100;

/// So many letters of the payload are shown.
const PAYLOAD_SHOWN: usize = 60;

/// The summary of a run, in lines.
pub(crate) fn render(summary: &Summary, charset: Charset) -> String {
    let figures = [counts(summary), latencies(summary), further(summary, charset), notes(summary)];
    let figures = figures.iter().filter(|part| !part.is_empty()).map(|part| micro(part, charset));
    let parts: Vec<String> = std::iter::once(head(summary, charset)).chain(figures).collect();
    parts.join("\n")
}

fn head(summary: &Summary, charset: Charset) -> String {
    let Run { target, payload, expect, connections, threads, pipeline, framing, mode, .. } = &summary.run;
    let mode = match mode {
        Mode::Closed => "closed loop".to_owned(),
        Mode::Open { rate } => format!("open loop at {}/s", grouped(*rate)),
    };
    let lasted = figures::time(summary.lasted);
    let target = shown(target, charset);
    let parts = [
        number(*connections, "connection"),
        number(*threads, "thread"),
        format!("pipeline {pipeline}"),
        framing.to_string(),
        mode,
    ];
    let (payload, expect) = (shown(payload, charset), shown(expect, charset));
    let setting = words(&parts.join(" \u{b7} "), charset).into_owned();
    format!("{target}, {lasted}\n{setting}\nsent {payload}, expected {expect}\n")
}

fn counts(summary: &Summary) -> String {
    let per_second = |count| per_second(summary.per_second(count));
    let bytes_per_second = |count| format!("{}/s", bytes(summary.per_second(count)));
    let row = |name: &str, count: String, rate: String| vec![name.to_owned(), count, rate];
    let size = |count| bytes(figures::float(count));
    let mut rows = vec![
        row("replies", grouped(summary.replies), format!("{}/s", per_second(summary.replies))),
        row("sent", size(summary.bytes_sent), bytes_per_second(summary.bytes_sent)),
        row("received", size(summary.bytes_received), bytes_per_second(summary.bytes_received)),
        row("errors", grouped(summary.errors.total()), percent(summary.error_rate())),
    ];
    for (kind, count) in summary.errors.by_frequency() {
        rows.push(row(&format!("  {}", kind.words()), grouped(count), String::new()));
    }
    table(&rows)
}

fn latencies(summary: &Summary) -> String {
    let mut rows = vec![vec!["latency".to_owned(), "min".to_owned()]];
    rows[0].extend(QUANTILES.iter().map(|(name, _)| (*name).to_owned()));
    rows[0].extend(["max".to_owned(), "mean".to_owned()]);
    rows.extend(measured(summary).into_iter().map(|(name, times)| row(name, times)));
    if rows.len() > 1 { table(&rows) } else { String::new() }
}

/// The histograms of a run that hold something, each with its name; the latency that counts comes first.
pub(super) fn measured(summary: &Summary) -> Vec<(&'static str, &Latencies)> {
    let all = [
        ("from the schedule", summary.from_schedule.as_ref()),
        ("from the send", Some(&summary.from_send)),
        ("sent late by", summary.slip.as_ref()),
        ("to connect", Some(&summary.connects)),
    ];
    let present = all.into_iter().filter_map(|(name, times)| Some((name, times?)));
    present.filter(|(_, times)| times.count() > 0).collect()
}

/// The cells of a histogram, in the order of the head of the table.
fn row(name: &str, times: &Latencies) -> Vec<String> {
    let quantiles = QUANTILES.iter().map(|(_, share)| times.quantile(*share));
    let times = std::iter::once(times.min()).chain(quantiles).chain([times.max(), times.mean()]);
    let cells = times.map(|time| time.map_or_else(String::new, figures::column));
    std::iter::once(name.to_owned()).chain(cells).collect()
}

fn further(summary: &Summary, charset: Charset) -> String {
    let mut lines = Vec::new();
    lines.extend(sparkline(summary, charset));
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
    lines.iter().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// The rate over time, where there are letters to draw it with.
fn sparkline(summary: &Summary, charset: Charset) -> Option<String> {
    const LEVELS: [char; 8] =
        ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
    let rates: Vec<f64> =
        series::thin(&summary.seconds, 60).iter().map(super::summary::Second::rate).collect();
    let most = rates.iter().copied().fold(0.0, f64::max);
    if charset == Charset::Ascii || rates.len() < 3 || most <= 0.0 {
        return None;
    }
    let least = rates.iter().copied().fold(most, f64::min);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 7")]
    let level = |rate: f64| LEVELS[((rate / most * 7.0).round() as usize).min(7)];
    let drawn: String = rates.iter().map(|rate| level(*rate)).collect();
    Some(format!("replies over time {drawn} {} to {}/s", per_second(least), per_second(most)))
}

fn notes(summary: &Summary) -> String {
    let verdicts = Verdict::of(summary);
    verdicts.iter().map(|verdict| wrap(&format!("note: {verdict}"), "  ", "        ")).collect()
}

/// Words in lines of at most [`WIDTH`], the first and the others indented.
fn wrap(text: &str, first: &str, others: &str) -> String {
    let (mut lines, mut line) = (String::new(), first.to_owned());
    for word in text.split(' ') {
        if line.len() + word.len() > WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            others.clone_into(&mut line);
        }
        line.push_str(word);
        line.push(' ');
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

/// Columns of equal width: the first to the left, the others to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(place, (cell, width))| match place {
            0 => format!("  {cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

/// What the command line said, harmless and not too long. It was typed with escapes, so its backslashes stay.
fn shown(text: &str, charset: Charset) -> String {
    let safe = escape(text.as_bytes(), charset).replace(r"\\", r"\");
    match safe.char_indices().nth(PAYLOAD_SHOWN) {
        Some((end, _)) => format!("{}...", &safe[..end]),
        None => safe,
    }
}

fn number(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// The sign of the micro in our own figures.
fn micro(text: &str, charset: Charset) -> String {
    if charset == Charset::Ascii {
        return text.to_owned();
    }
    ('0'..='9')
        .fold(text.to_owned(), |text, digit| text.replace(&format!("{digit}us"), &format!("{digit}\u{b5}s")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::samples::{MS, closed, open};

    #[test]
    fn a_closed_loop_is_told_in_a_few_lines() {
        let text = render(&closed(), Charset::Ascii);
        assert_eq!(
            text,
            "127.0.0.1:8081, 10s
50 connections - 2 threads - pipeline 1 - line - closed loop
sent 64 bytes, expected upper

  replies                 990       99/s
  sent                64.0 kB  6.40 kB/s
  received            63.4 kB  6.34 kB/s
  errors                   10         1%
    connection reset       10

  latency           min     p50     p90     p99   p99.9  p99.99     max    mean
  from the send  1.00ms  1.00ms  1.00ms  10.0ms  10.0ms  10.0ms  10.0ms  1.09ms
  to connect      500us   500us   500us   500us   500us   500us   500us   500us

  note: nothing is asked while a reply is awaited: p99 was 10ms, and at a steady pace it would be
        about 10ms; --rate measures that
"
        );
    }

    #[test]
    fn an_open_loop_is_told_with_everything_that_was_measured() {
        let text = render(&open(), Charset::Utf8);
        for part in [
            "50 connections \u{b7} 2 threads \u{b7} pipeline 1 \u{b7} line \u{b7} open loop at 100/s\n",
            "  from the schedule  6.",
            "  sent late by       5.",
            &format!("  replies over time {} 99 to 99/s\n", "\u{2588}".repeat(10)),
            "  CPU per request: generator 1ms, server 2ms\n",
            "  TCP: median round trip 80\u{b5}s, 3 retransmits\n",
            "  note: 1% of the requests were sent",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn ascii_stays_ascii_and_what_was_typed_can_do_nothing_to_a_terminal() {
        let mut summary = open();
        summary.run.target = "\u{1b}[2Jh\u{e9}1us".to_owned();
        summary.run.payload = format!(r"GET / HTTP/1.1\r\n{}", "x".repeat(100));
        let text = render(&summary, Charset::Ascii);
        assert!(text.is_ascii() && text.starts_with(r"\x1b[2Jh\u{e9}1us, 10s"), "{text}");
        assert!(text.contains(r"sent GET / HTTP/1.1\r\nxxx") && text.contains("x..., expected"), "{text}");
        assert!(render(&summary, Charset::Utf8).starts_with("\\x1b[2Jh\u{e9}1us"));
    }

    #[test]
    fn a_run_without_replies_has_no_table_of_latencies() {
        let mut summary = closed();
        let one = Run { connections: 1, ..summary.run };
        summary = Summary::new(one, 10 * MS, []);
        let text = render(&summary, Charset::Utf8);
        assert!(!text.contains("p99") && text.contains("note: no right reply came\n"), "{text}");
        assert!(text.contains("\n1 connection \u{b7}"), "{text}");
    }

    #[test]
    fn connections_are_counted_where_they_were_made_more_than_once() {
        let mut summary = closed();
        summary.run.connections = 0;
        assert!(render(&summary, Charset::Ascii).contains("connections made: 1, 0.1/s"));
    }
}
