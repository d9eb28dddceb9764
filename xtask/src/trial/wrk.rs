//! What a request costs the load generator in CPU time, next to wrk.
//!
//! Both ask one nginx for one fixed response, from the callers' core. wrk parses each response, `landline
//! bench` compares every byte of it. What counts is all that a process takes, from its start to its end.

use std::process::{Command, Stdio};

use super::duel::{CLIENT_CORE, Contest, SERVER_CORE, Side, need_two_cores};
use super::figures::median;
use super::generator::measure;
use super::nginx::{ANSWER, Nginx, QUESTION};
use super::proc::cpu_of_ended;
use super::program::Program;
use super::report::Report;
use crate::Outcome;
use crate::packages::{Need, provide};

const NEEDS: &[Need] = &[Need { program: "wrk", package: "wrk", reason: "the generator to compare with" }];
const CONNECTIONS: [&str; 2] = ["50", "500"];
const RUN: &str = "4s";
/// Rounds of A B B A and A: 8 pairs.
const ROUNDS: usize = 4;
const BOUND: f64 = 1.0;

pub(super) fn run(report: &mut Report) -> Outcome {
    need_two_cores()?;
    provide(NEEDS)?;
    let nginx = Nginx::start()?;
    report.tell(format!(
        "one nginx on core {SERVER_CORE} with one fixed response of {} B, the generators on core {CLIENT_CORE}; \
         runs of {RUN}",
        ANSWER.len()
    ));
    for connections in CONNECTIONS {
        let mut contest = Contest::default();
        for _ in 0..ROUNDS {
            contest.round(|side| {
                cost(|| match side {
                    Side::A => wrk(nginx.port(), connections),
                    Side::B => landline(nginx.port(), connections),
                })
            })?;
        }
        report.tell(format!("{connections} connections:"));
        contest.tell(report, ["wrk", "landline bench"], "ns a request");
        let what = format!("{connections} connections: landline bench to wrk, median");
        report.at_most(&what, median(&contest.ratios), BOUND, "");
    }
    Ok(())
}

/// Nanoseconds of CPU time for each of the requests that a generator says it made.
fn cost(generate: impl FnOnce() -> Outcome<f64>) -> Outcome<f64> {
    let before = cpu_of_ended()?;
    let requests = generate()?;
    let after = cpu_of_ended()?;
    Ok((after - before) / requests)
}

fn landline(port: u16, connections: &str) -> Outcome<f64> {
    let typed = |text: &str| text.replace('\r', r"\r").replace('\n', r"\n");
    let (message, expect) = (typed(QUESTION), format!("bytes:{}", typed(ANSWER)));
    let flags = ["--connections", connections, "--duration", RUN, "--message", &message, "--expect", &expect];
    measure(port, &flags).map(|measured| measured.replies)
}

fn wrk(port: u16, connections: &str) -> Outcome<f64> {
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--connections", connections, "--duration", RUN]);
    command.args(["--header", "Host: localhost", &format!("http://127.0.0.1:{port}/")]).stdin(Stdio::null());
    let program = Program::start_on(CLIENT_CORE, &mut command)?;
    let mut said = Vec::new();
    // The last line that it prints is how much came per second.
    while said.last().is_none_or(|line: &String| !line.starts_with("Transfer/sec")) {
        said.push(program.line()?.1);
    }
    program.end()?;
    requests(&said).ok_or_else(|| format!("wrk says: {}", said.join("\n")))
}

/// How many requests wrk made, if nothing went wrong.
fn requests(said: &[String]) -> Option<f64> {
    if said.iter().any(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        return None;
    }
    said.iter().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
}

#[test]
fn the_requests_are_read_from_what_wrk_prints_unless_some_failed() {
    let said = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let fine = "  1 threads and 50 connections\n  398160 requests in 4.00s, 41.01MB read\nTransfer/sec: 1MB";
    assert_eq!(requests(&said(fine)), Some(398_160.0));
    let failed = format!("{fine}\n  Socket errors: connect 0, read 3, write 0, timeout 0");
    assert_eq!(requests(&said(&failed)), None);
}
