//! A run for programs: one JSON object, or its seconds as CSV. docs/bench-output.md lists every field.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bench::condition::Measured;
use crate::bench::figures::{float, nanos};
use crate::bench::latencies::Latencies;
use crate::bench::summary::{Mode, Second, Summary};
use crate::bench::tally::ErrorKind;
use crate::bench::verdict::Verdict;

/// The number of the schema: it grows when a field goes or changes its meaning, not when one is added.
const SCHEMA: u32 = 1;

/// The columns of the CSV.
const COLUMNS: [&str; 7] = ["second", "duration_s", "replies", "errors", "p50_us", "p99_us", "max_us"];

/// The whole run as one JSON object, on one line.
pub(crate) fn json(summary: &Summary) -> String {
    let mut text =
        serde_json::to_string(&Document::new(summary)).expect("there is nothing that JSON can't say");
    text.push('\n');
    text
}

/// The seconds of the run: a line that names the columns, then one for each second. What is unknown is empty.
pub(crate) fn csv(summary: &Summary) -> String {
    let mut text = COLUMNS.join(",") + "\n";
    for second in rows(summary) {
        let time = |time: Option<f64>| time.map(|time| time.to_string()).unwrap_or_default();
        let Row { second, duration_s, replies, errors, p50_us, p99_us, max_us } = second;
        let (p50, p99, max) = (time(p50_us), time(p99_us), time(max_us));
        // Writing to a string can't fail.
        let _ = writeln!(text, "{second},{duration_s},{replies},{errors},{p50},{p99},{max}");
    }
    text
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    version: &'static str,
    started: &'a str,
    target: &'a str,
    payload: &'a str,
    expect: &'a str,
    connections: u64,
    threads: u64,
    pipeline: u64,
    framing: &'static str,
    mode: &'static str,
    rate_wanted: Option<u64>,
    duration_wanted_s: Option<f64>,
    duration_s: f64,
    requests: u64,
    replies: u64,
    rate: f64,
    bytes_sent: u64,
    bytes_received: u64,
    throughput: f64,
    errors: Map<String, Value>,
    error_rate: f64,
    latency: Times,
    latency_from_send: Times,
    slip: Option<Times>,
    connect: Times,
    tcp: Option<Tcp>,
    generator_cpu_us: Option<f64>,
    generator_load: Option<f64>,
    server_cpu_us: Option<f64>,
    verdicts: Vec<Said>,
    conditions: Vec<Condition>,
    seconds: Vec<Row>,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    min_us: Option<f64>,
    mean_us: Option<f64>,
    p50_us: Option<f64>,
    p90_us: Option<f64>,
    p99_us: Option<f64>,
    p99_9_us: Option<f64>,
    p99_99_us: Option<f64>,
    max_us: Option<f64>,
}

#[derive(Serialize)]
struct Tcp {
    rtt_us: f64,
    retransmits: u64,
}

#[derive(Serialize)]
struct Said {
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Condition {
    fail_if: String,
    measured: Option<f64>,
    limit: f64,
    holds: bool,
    text: String,
}

#[derive(Serialize)]
struct Row {
    second: usize,
    duration_s: f64,
    replies: u64,
    errors: u64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
}

impl<'a> Document<'a> {
    fn new(summary: &'a Summary) -> Self {
        let run = &summary.run;
        let (mode, rate_wanted) = match run.mode {
            Mode::Closed => ("closed", None),
            Mode::Open { rate } => ("open", Some(rate)),
        };
        let tcp = summary.tcp.map(|tcp| Tcp { rtt_us: micros(tcp.rtt), retransmits: tcp.retransmits });
        let said = |verdict: &Verdict| Said { kind: verdict.name(), text: verdict.to_string() };
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            started: &run.started,
            target: &run.target,
            payload: &run.payload,
            expect: &run.expect,
            connections: run.connections,
            threads: run.threads,
            pipeline: run.pipeline,
            framing: run.framing.name(),
            mode,
            rate_wanted,
            duration_wanted_s: run.duration.map(|duration| duration.as_secs_f64()),
            duration_s: summary.lasted.as_secs_f64(),
            requests: summary.requests,
            replies: summary.replies,
            rate: summary.rate(),
            bytes_sent: summary.bytes_sent,
            bytes_received: summary.bytes_received,
            throughput: summary.throughput(),
            errors: errors(summary),
            error_rate: summary.error_rate(),
            latency: Times::new(summary.latency()),
            latency_from_send: Times::new(&summary.from_send),
            slip: summary.slip.as_ref().map(Times::new),
            connect: Times::new(&summary.connects),
            tcp,
            generator_cpu_us: summary.per_request(summary.generator_cpu).map(micros),
            generator_load: summary.generator_load(),
            server_cpu_us: summary.per_request(summary.server_cpu).map(micros),
            verdicts: Verdict::of(summary).iter().map(said).collect(),
            conditions: summary.conditions().iter().map(Condition::new).collect(),
            seconds: rows(summary).collect(),
        }
    }
}

impl Condition {
    fn new(of: &Measured<'_>) -> Self {
        let (measured, limit) = of.for_programs();
        Self { fail_if: of.condition().to_string(), measured, limit, holds: of.holds(), text: of.to_string() }
    }
}

impl Times {
    fn new(times: &Latencies) -> Self {
        let quantile = |share: f64| times.quantile(share).map(micros);
        Self {
            count: times.count(),
            min_us: times.min().map(micros),
            mean_us: times.mean().map(micros),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p99_9_us: quantile(0.999),
            p99_99_us: quantile(0.9999),
            max_us: times.max().map(micros),
        }
    }
}

fn errors(summary: &Summary) -> Map<String, Value> {
    let kinds = ErrorKind::ALL.map(|kind| (kind.name().to_owned(), summary.errors.of(kind).into()));
    let total = ("total".to_owned(), summary.errors.total().into());
    std::iter::once(total).chain(kinds).collect()
}

fn rows(summary: &Summary) -> impl Iterator<Item = Row> {
    let row = |(second, of): (usize, &Second)| Row {
        second,
        duration_s: of.lasted.as_secs_f64(),
        replies: of.replies,
        errors: of.errors,
        p50_us: of.p50.map(micros),
        p99_us: of.p99.map(micros),
        max_us: of.max.map(micros),
    };
    summary.seconds.iter().enumerate().map(row)
}

fn micros(time: Duration) -> f64 {
    float(nanos(time)) / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::summary::samples::{MS, closed, open, tally};

    fn parsed(summary: &Summary) -> Value {
        serde_json::from_str(&json(summary)).unwrap()
    }

    /// The way to each value that is neither an object nor an array, as `errors.total` and
    /// `seconds[].replies`.
    fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let dot = if path.is_empty() { "" } else { "." };
                    fields(value, &format!("{path}{dot}{key}"), found);
                }
            }
            Value::Array(values) => {
                for value in values {
                    fields(value, &format!("{path}[]"), found);
                }
            }
            _ => drop(found.insert(path.to_owned())),
        }
    }

    fn page() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bench-output.md")).unwrap()
    }

    /// The first cells of the table below a heading.
    fn documented(heading: &str) -> Vec<String> {
        let page = page();
        let (_, section) = page.split_once(&format!("## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        rows.map(|(field, _)| field.to_owned()).collect()
    }

    #[test]
    fn the_docs_list_every_field_and_every_column() {
        let mut there = BTreeSet::new();
        fields(&parsed(&open()), "", &mut there);
        // The same nine figures describe every histogram; the docs list them once.
        let times = documented("Times");
        let mut listed: Vec<String> = documented("JSON");
        for object in ["latency", "latency_from_send", "slip", "connect"] {
            let at = listed.iter().position(|field| field == object).unwrap();
            listed.splice(at..=at, times.iter().map(|field| format!("{object}.{field}")));
        }
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), there);
        assert_eq!(documented("CSV"), COLUMNS);
    }

    #[test]
    fn the_docs_list_every_verdict() {
        let said = ["no_replies", "rate_missed", "sent_late", "generator_busy", "closed_loop"];
        assert_eq!(documented("Verdicts"), said);
    }

    #[test]
    fn what_was_not_measured_is_null_and_never_absent() {
        let (mut all, mut fewer) = (open(), closed());
        for summary in [&mut all, &mut fewer] {
            summary.seconds.clear();
        }
        let (all, fewer) = (parsed(&all), parsed(&fewer));
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&all), keys(&fewer));
        for field in ["slip", "tcp", "rate_wanted", "generator_cpu_us", "server_cpu_us"] {
            assert!(fewer[field].is_null() && !all[field].is_null(), "{field}");
        }
    }

    #[test]
    fn figures_are_those_of_the_run() {
        let run = parsed(&open());
        assert_eq!(
            (&run["mode"], &run["rate_wanted"], &run["framing"]),
            (&"open".into(), &100.into(), &"line".into())
        );
        assert_eq!((&run["errors"]["total"], &run["errors"]["reset"]), (&10.into(), &10.into()));
        assert_eq!((&run["rate"], &run["generator_cpu_us"]), (&99.0.into(), &1000.0.into()));
        assert!((6_000.0..6_010.0).contains(&run["latency"]["p50_us"].as_f64().unwrap()));
        assert_eq!(run["verdicts"][0]["kind"], "sent_late");
        let [late, errors] = &run["conditions"].as_array().unwrap()[..] else { panic!("{run}") };
        assert_eq!((&late["fail_if"], &late["limit"]), (&"max>1h".into(), &3.6e9.into()));
        assert_eq!((&late["measured"], &late["holds"]), (&run["latency"]["max_us"], &false.into()));
        assert_eq!((&errors["measured"], &errors["holds"]), (&10.0.into(), &true.into()));
        assert_eq!(errors["text"], "errors were 10, more than 0");
        assert_eq!(run["seconds"].as_array().unwrap().len(), 10);
    }

    #[test]
    fn the_seconds_are_lines_and_an_unknown_time_is_empty() {
        let mut summary = Summary::new(closed().run, 1_500 * MS, [tally(MS)]);
        summary.seconds.truncate(2);
        summary.seconds[1] =
            Second { lasted: 500 * MS, replies: 0, errors: 0, p50: None, p99: None, max: None };
        let text = csv(&summary);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "second,duration_s,replies,errors,p50_us,p99_us,max_us");
        assert!(lines[1].starts_with("0,1,99,1,100"), "{text}");
        assert_eq!((lines[2], lines.len()), ("1,0.5,0,0,,,", 3));
    }
}
