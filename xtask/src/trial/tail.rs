//! How long the slowest in a thousand wait at half of capacity, next to a bare epoll loop.
//!
//! In an open loop, and from when a request was to be sent: a reply that keeps others waiting is counted with
//! all of them. The rate is the same for both, half of what the bare loop answers when nothing holds it back.

use super::duel::{CLIENT_CORE, Contest, Rival, SERVER_CORE, Side, need_two_cores};
use super::figures::{median, number, spread};
use super::generator::{Measured, measure};
use super::program::{Served, part, serve};
use super::reference;
use super::report::Report;
use crate::Outcome;

const CONNECTIONS: &str = "50";
/// How long a run is measured, after this warm-up.
const RUN: &str = "4s";
const WARM_UP: &str = "1s";
/// How often the servers are started, and how many rounds of A B B A and A they then go through: 8 pairs.
const SITTINGS: usize = 2;
const ROUNDS: usize = 2;
/// By this much a rate is lowered at which the generator is late, and how often.
const LOWER: f64 = 0.9;
const TRIES: usize = 12;
const BOUND: f64 = 1.1;

pub(super) fn run(report: &mut Report) -> Outcome {
    need_two_cores()?;
    let mut bare = Rival::new("bare epoll loop", part(&[reference::PART, "raw"]));
    let mut landline = Rival::new("landline", serve(&["--threads", "1", "--quiet"]));
    report.tell(format!(
        "{CONNECTIONS} connections, messages of 64 B, every reply verified; runs of {RUN} after {WARM_UP}; server \
         on core {SERVER_CORE}, generator on core {CLIENT_CORE}"
    ));
    let rate = rate(report, &bare.start()?)?;
    let mut tails = Tails::default();
    let mut contest = Contest::default();
    for _ in 0..SITTINGS {
        let (a, b) = (bare.start()?, landline.start()?);
        for _ in 0..ROUNDS {
            contest.round(|side| tails.measure(if side == Side::A { &a } else { &b }, rate))?;
        }
    }
    contest.tell(report, [&bare.name, &landline.name], "us at p99.9");
    tails.tell(report);
    report.at_most(
        "p99.9 of landline to that of a bare epoll loop, median",
        median(&contest.ratios),
        BOUND,
        "",
    );
    Ok(())
}

/// Half of what the server answers in a closed loop, or the highest rate below at which the generator is in
/// time.
fn rate(report: &Report, served: &Served) -> Outcome<u64> {
    let flags = ["--connections", CONNECTIONS, "--duration", RUN, "--warmup", WARM_UP, "--expect", "upper"];
    let capacity = measure(served.port, &flags)?.rate;
    report.tell(format!("a bare epoll loop answers {} a second in a closed loop", number(capacity.round())));
    let mut rate = capacity / 2.0;
    for _ in 0..TRIES {
        let whole = whole(rate);
        if at(served, whole)?.in_time {
            report.tell(format!("measured at {whole} a second"));
            return Ok(whole);
        }
        report.tell(format!("the generator is late at {whole} a second"));
        rate *= LOWER;
    }
    Err("the generator is late at every rate".to_owned())
}

/// One run in an open loop.
fn at(served: &Served, rate: u64) -> Outcome<Measured> {
    let rate = rate.to_string();
    let pace = ["--connections", CONNECTIONS, "--rate", &rate, "--duration", RUN, "--warmup", WARM_UP];
    measure(served.port, &[&pace[..], &["--expect", "upper"]].concat())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive")]
fn whole(rate: f64) -> u64 {
    (rate.round() as u64).max(1)
}

/// What is to be known of the generator, to believe it.
#[derive(Debug, Default)]
struct Tails {
    slips: Vec<f64>,
    late: usize,
}

impl Tails {
    /// p99.9 of one run, in microseconds.
    fn measure(&mut self, served: &Served, rate: u64) -> Outcome<f64> {
        let measured = at(served, rate)?;
        self.slips.extend(measured.slip);
        self.late += usize::from(!measured.in_time);
        Ok(measured.tail)
    }

    fn tell(&self, report: &Report) {
        report.tell(format!("  requests were sent late by, p99.9 of each run: {} us", spread(&self.slips)));
        if self.late > 0 {
            report.tell(format!("  the generator was late in {} of {} runs", self.late, self.slips.len()));
        }
    }
}
