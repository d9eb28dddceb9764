//! A client that asks as one should, steadily, and how long its answers take.

use std::time::{Duration, Instant};

use super::figures::{number, percentile};
use super::program::{Caller, Served, pause};
use super::report::Report;
use crate::Outcome;

/// How often it asks.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(1);
/// As many as are slower than one in a hundred.
pub(super) const SHARE: f64 = 0.99;

/// Says how long answers took.
pub(super) fn tell(report: &Report, how: &str, times: &[f64]) {
    let [half, most_of, all] = [0.5, SHARE, 1.0].map(|share| number(percentile(times, share)));
    report
        .tell(format!("{how}: {} questions, p50 {half} us, p99 {most_of} us, at most {all} us", times.len()));
}

/// Asks steadily until it is over; how long each answer took, in microseconds.
///
/// A question that had to wait for the answer to the one before it has waited since it was due.
pub(super) fn ask_until(served: &Served, mut is_over: impl FnMut() -> Outcome<bool>) -> Outcome<Vec<f64>> {
    let mut caller: Caller = served.call()?;
    caller.ask("hello\n", "HELLO\n")?;
    let mut times = Vec::new();
    let mut due = Instant::now();
    while !is_over()? {
        due += ASK_EVERY;
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            pause(early);
        }
        // Waking up late is this machine's doing, and not the server's.
        let since = if early.is_zero() { due } else { Instant::now() };
        caller.ask("hello\n", "HELLO\n")?;
        times.push(since.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}
