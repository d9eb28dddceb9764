//! Whether a run was what it had to be. Pure.

use super::condition::{Condition, Conditions};
use super::summary::Summary;
use super::tally::ErrorKind;
use crate::exit::{Exit, Failure};

/// A rate that is reached to less than this share is not held.
const REACHED: f64 = 0.98;

/// Fails if replies were wrong or missing, or if a condition says so. With conditions, what went missing is
/// theirs to judge.
pub(super) fn judge(summary: &Summary, fail_if: Option<&Conditions>) -> Result<(), Failure> {
    let wrong =
        [ErrorKind::WrongReply, ErrorKind::ExtraBytes].iter().any(|kind| summary.errors.of(*kind) > 0);
    if let Some((kind, _)) = summary.errors.by_frequency().first()
        && (wrong || fail_if.is_none())
    {
        let exit = if wrong { Exit::Expectation } else { exit(*kind) };
        return Err(Failure::new(exit, in_words(summary)));
    }
    let met: Vec<String> = fail_if
        .into_iter()
        .flat_map(|conditions| conditions.measure(summary))
        .filter(super::condition::Measured::holds)
        .map(|measured| measured.to_string())
        .collect();
    if met.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Expectation, met.join(", "))) }
}

/// Whether a rate holds a condition: it was reached, nothing went wrong, and the condition is met.
pub(super) fn holds(summary: &Summary, condition: &Condition, rate: f64) -> bool {
    summary.errors.total() == 0 && summary.rate() >= rate * REACHED && condition.measure(summary).holds()
}

fn in_words(summary: &Summary) -> String {
    let kinds = summary.errors.by_frequency();
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.words())).collect();
    format!("{} of {} requests failed: {}", summary.errors.total(), summary.requests, kinds.join(", "))
}

fn exit(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Refused | ErrorKind::Unreachable => Exit::Connect,
        ErrorKind::ConnectTimeout | ErrorKind::ReplyTimeout => Exit::Timeout,
        ErrorKind::Reset | ErrorKind::ClosedEarly => Exit::Lost,
        ErrorKind::WrongReply | ErrorKind::ExtraBytes => Exit::Expectation,
        ErrorKind::Local | ErrorKind::Other => Exit::Other,
    }
}
