//! A run for people, at the end of `landline bench`.

use landline::event::Charset;

use crate::bench::figures::{self, per_second};
use crate::bench::series;
use crate::bench::summary::{Second, Summary};
use crate::bench::tables::{self, micro, safe};
use crate::bench::verdict::Verdict;
use crate::terminal::words;

/// How wide the lines are that wrap.
const WIDTH: usize = 100;

/// So many letters of the payload are shown.
const PAYLOAD_SHOWN: usize = 60;

/// The summary of a run, in lines.
pub(crate) fn render(summary: &Summary, charset: Charset) -> String {
    let (counts, latencies) = (table(&tables::counts(summary)), table(&tables::latencies(summary)));
    let figures = [counts, latencies, remarks(summary, charset), notes(summary)];
    let figures = figures.iter().filter(|part| !part.is_empty()).map(|part| micro(part, charset));
    let parts: Vec<String> = std::iter::once(head(summary, charset)).chain(figures).collect();
    parts.join("\n")
}

fn head(summary: &Summary, charset: Charset) -> String {
    let [target, payload, expect] =
        [&summary.run.target, &summary.run.payload, &summary.run.expect].map(|text| shown(text, charset));
    let lasted = figures::time(summary.lasted);
    let setting = tables::setting(summary).join(" \u{b7} ");
    let setting = words(&setting, charset);
    format!("{target}, {lasted}\n{setting}\nsent {payload}, expected {expect}\n")
}

fn remarks(summary: &Summary, charset: Charset) -> String {
    let lines = sparkline(summary, charset).into_iter().chain(tables::remarks(summary));
    lines.flat_map(|line| ["  ".to_owned(), line, "\n".to_owned()]).collect()
}

/// The rate over time, where there are letters to draw it with.
fn sparkline(summary: &Summary, charset: Charset) -> Option<String> {
    const LEVELS: [char; 8] =
        ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
    let rates: Vec<f64> = series::thin(&summary.seconds, 60).iter().map(Second::rate).collect();
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

/// What the command line said, harmless and not too long.
fn shown(text: &str, charset: Charset) -> String {
    let safe = safe(text, charset);
    match safe.char_indices().nth(PAYLOAD_SHOWN) {
        Some((end, _)) => format!("{}...", &safe[..end]),
        None => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::Run;
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
