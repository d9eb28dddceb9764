//! How many system calls a message and its reply cost, with 50 callers at a time.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;

use super::figures::{float, number};
use super::load::Load;
use super::program::{PATIENCE, Program, Served, serve};
use super::report::Report;
use super::traffic::Traffic;
use crate::Outcome;
use crate::tools::on_path;

const CONNECTIONS: usize = 50;
/// The difference between a short and a long run has no start and no end in it.
const FEW: u64 = 1_000;
const MANY: u64 = 9_000;

const RECEIVES: &[&str] = &["read", "readv", "recvfrom", "recvmsg"];
const SENDS: &[&str] = &["write", "writev", "sendto", "sendmsg"];
const WAITS: &[&str] = &["epoll_wait", "epoll_pwait", "epoll_pwait2"];

/// How often each system call was made.
type Calls = BTreeMap<String, u64>;

pub(super) fn run(report: &mut Report) -> Outcome {
    if on_path("strace").is_none() {
        return Err("strace is missing; `cargo xtask test` installs it".to_owned());
    }
    let (few, less) = count(FEW)?;
    let (many, more) = count(MANY)?;
    let messages = float(many - few);
    let per_message = |names: &[&str]| {
        let sum = |calls: &Calls| names.iter().filter_map(|name| calls.get(*name)).sum();
        (float(sum(&more)) - float(sum(&less))) / messages
    };
    report.tell(format!(
        "{CONNECTIONS} connections, one message of {} B in flight on each; \
         the difference between {many} and {few} messages",
        Traffic::USUAL_SIZE
    ));
    report.at_most("receives per message", per_message(RECEIVES), 1.01, "");
    report.at_most("sends per message", per_message(SENDS), 1.01, "");
    report.below("epoll_waits per message", per_message(WAITS), 1.0, "");
    let known = |name: &&str| [RECEIVES, SENDS, WAITS].iter().any(|names| names.contains(name));
    for name in more.keys().map(String::as_str).filter(|name| !known(name)) {
        let share = per_message(&[name]);
        if share.abs() > 0.0005 {
            report.tell(format!("{name} per message: {}", number(share)));
        }
    }
    Ok(())
}

/// Serves about so many messages under strace; returns how many it were, and the calls.
fn count(messages: u64) -> Outcome<(u64, Calls)> {
    let served = serve(&["--quiet"]);
    let mut strace = Command::new("strace");
    // -D: the server is our child, and strace its grandchild, so that a signal reaches the server.
    strace.args(["-D", "-f", "-c", "--"]).arg(served.get_program()).args(served.get_args());
    let mut program = Program::start(strace.stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let errors = program.errors()?;
    let served = Served::hear(program)?;
    let mut load = Load::start(served.port, &Traffic::ping_pong(CONNECTIONS))?;
    let exchanged = load.exchange(messages)?;
    drop(load);
    served.stop()?;
    let mut summary = Calls::new();
    loop {
        match errors.recv_timeout(PATIENCE) {
            Ok((_, line)) => summary.extend(row(&line)),
            // strace has ended too.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err("strace does not end".to_owned()),
        }
    }
    if summary.is_empty() { Err("strace counted nothing".to_owned()) } else { Ok((exchanged, summary)) }
}

/// A row of strace's summary: `% time, seconds, usecs/call, calls, errors (or nothing), syscall`.
fn row(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (first, last) = (words.first()?, words.last()?);
    first.parse::<f64>().ok()?;
    let calls = words.get(3)?.parse().ok()?;
    (*last != "total").then(|| ((*last).to_owned(), calls))
}

#[test]
fn a_row_of_the_summary_is_read_with_and_without_errors() {
    assert_eq!(row(" 60.11    0.019482           4      4215           recvfrom"), {
        Some(("recvfrom".to_owned(), 4215))
    });
    assert_eq!(row("  0.40    0.000130           2        65        15 accept4"), {
        Some(("accept4".to_owned(), 65))
    });
    for no_row in [
        "% time     seconds  usecs/call     calls    errors syscall",
        "------ ----------- ----------- --------- --------- ----------------",
        "100.00    0.032410           3     10501        34 total",
        "strace: Process 12 attached",
        "",
    ] {
        assert_eq!(row(no_row), None, "{no_row}");
    }
}
