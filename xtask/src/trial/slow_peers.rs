//! What callers who never finish a message cost a caller who asks as one should, and when they are closed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::figures::{float, number, percentile};
use super::program::{Caller, PATIENCE, Program, Served, serve};
use super::report::Report;
use super::steady::{ASK_EVERY, SHARE, ask_until, tell};
use super::unfinished::{BYTE_EVERY, Unfinished};
use crate::Outcome;

const PEERS: usize = 5_000;
/// After how long an unfinished message ends its connection: each has sent two bytes by then.
const LIMIT: Duration = Duration::from_secs(12);
/// How much later than that it may be.
const LATE: Duration = Duration::from_secs(1);
const RATIO: f64 = 2.0;

pub(super) fn run(report: &mut Report) -> Outcome {
    let limit = format!("{}s", LIMIT.as_secs());
    let flags = ["--framing", "line", "--message-timeout", &limit, "--http", "0"];
    let mut program = Program::start(serve(&flags).stderr(Stdio::piped()))?;
    let log = program.errors()?;
    let served = Served::hear(program)?;
    let metrics = loop {
        let (_, line) =
            log.recv_timeout(PATIENCE).map_err(|_| "the server does not say where its metrics are")?;
        if let Some(port) = metrics_port(&line) {
            break port;
        }
    };
    report.tell(format!(
        "{PEERS} peers who send one byte of a line every {BYTE_EVERY:?}, closed after {limit}; beside them a \
         client that asks every {ASK_EVERY:?}, and alone for as long"
    ));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    alone.extend(ask_alone(&served, report)?);
    beside.extend(ask_beside(&served, report)?);
    beside.extend(ask_beside(&served, report)?);
    alone.extend(ask_alone(&served, report)?);
    let (alone, beside) = (percentile(&alone, SHARE), percentile(&beside, SHARE));
    report.tell(format!("p99 alone {} us, beside them {} us", number(alone), number(beside)));
    report.at_most("p99 beside them to p99 alone", beside / alone, RATIO, "");
    let closed = closed_for_time(metrics)?;
    report.at_least("closed as message_timeout, of both times", closed, float(2 * PEERS as u64), "");
    served.stop()
}

/// The port in the line of the log that says where metrics are.
fn metrics_port(line: &str) -> Option<u16> {
    let (_, address) = line.split_once("metrics on http://")?;
    address.strip_suffix("/metrics")?.rsplit_once(':')?.1.parse().ok()
}

fn ask_alone(served: &Served, report: &Report) -> Outcome<Vec<f64>> {
    let begun = Instant::now();
    let times = ask_until(served, || Ok(begun.elapsed() >= LIMIT + LATE))?;
    tell(report, "alone", &times);
    Ok(times)
}

/// Asks from when all of them have begun until all are closed, and holds them to their time.
fn ask_beside(served: &Served, report: &mut Report) -> Outcome<Vec<f64>> {
    let begun = Instant::now();
    let peers = Unfinished::start(served.port, PEERS)?;
    let mut times = ask_until(served, || Ok(begun.elapsed() >= LIMIT))?;
    tell(report, "beside them while all are open", &times);
    let mut closed = None;
    let later = ask_until(served, || {
        closed = peers.closed()?;
        Ok(closed.is_some())
    })?;
    tell(report, "beside them while they are closed", &later);
    times.extend(later);
    let closed = closed.ok_or("peers without an end")?;
    report.at_least(
        "  slow peers who saw the end of the stream",
        float(closed.in_order),
        float(PEERS as u64),
        "",
    );
    let late = |end: Duration| end.as_secs_f64() - LIMIT.as_secs_f64();
    report.at_least("  the first later than its limit by", late(closed.least), 0.0, "s");
    report.at_most("  the last later than its limit by", late(closed.most), LATE.as_secs_f64(), "s");
    Ok(times)
}

/// How many connections the server has closed because a message took too long.
fn closed_for_time(metrics: u16) -> Outcome<f64> {
    const LINE: &str = r#"landline_connections_closed_total{reason="message_timeout"} "#;
    let mut caller = Caller::connect(metrics)?;
    caller.say("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let answer = caller.hear_out()?;
    let count = answer.lines().find_map(|line| line.strip_prefix(LINE)?.trim().parse().ok());
    count.ok_or_else(|| "the metrics do not count what was closed".to_owned())
}

#[test]
fn the_port_of_the_metrics_is_found_in_its_line_only() {
    assert_eq!(metrics_port("metrics on http://127.0.0.1:9100/metrics"), Some(9100));
    assert_eq!(metrics_port("listening on 127.0.0.1:8081"), None);
}
