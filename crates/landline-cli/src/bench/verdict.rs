//! What the figures of a run can't be taken for.

use std::fmt;
use std::time::Duration;

use crate::bench::figures::{float, grouped, per_second, percent, ratio, time};
use crate::bench::summary::{Mode, Summary};

/// From this much of its threads' time on, the generator has none to spare: what is left goes into waiting
/// for events that are there already.
const BUSY: f64 = 0.9;

/// From this part of the latency on, late sends are told: then a quarter of what is shown is not the
/// server's.
const SLIP_SHARE: f64 = 0.25;

/// Below this, nobody is late: Linux lets a timer that sleeps be 50 us late by default.
const SLIP_MIN: Duration = Duration::from_micros(50);

/// Below this part of the wanted rate it was not reached; the rest is the start and the end of a run.
const REACHED: f64 = 0.98;

/// What the figures of a run can't be taken for, or should be read with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// No right reply came, so there is nothing to tell about replies.
    NoReplies,
    /// An open loop sent fewer requests than it was to send.
    RateMissed {
        /// Requests per second that were wanted.
        wanted: u64,
        /// Requests per second that were sent.
        sent: f64,
    },
    /// An open loop sent its requests late: p99 of the slip is a quarter of p99 of the latency or more, and
    /// over 50 us. Whose fault it is, CPU time tells.
    SentLate {
        /// What 1 % of the requests were later than.
        slip: Duration,
        /// Who made them late.
        cause: Cause,
    },
    /// The generator computed for nine tenths of its threads' time or more.
    GeneratorBusy {
        /// How much of its threads' time.
        load: f64,
        /// How many there were.
        threads: u64,
    },
    /// A closed loop asks nothing while it waits. p99 is estimated for callers at a steady pace, one per
    /// median latency; see `Latencies::steady_quantile`.
    ClosedLoop {
        /// As it was measured.
        p99: Duration,
        /// As it would have been.
        steady: Duration,
    },
}

/// Who made requests late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The generator had no time left.
    Generator,
    /// The generator had time left, so all connections waited for replies.
    Connections,
    /// Nobody measured the generator's CPU time.
    Unknown,
}

impl Verdict {
    /// Everything that should be said of a run, the gravest first.
    pub(crate) fn of(summary: &Summary) -> Vec<Self> {
        let load = summary.generator_load();
        let busy = load.filter(|load| *load >= BUSY);
        let busy = busy.map(|load| Self::GeneratorBusy { load, threads: summary.run.threads });
        let none = (summary.replies == 0).then_some(Self::NoReplies);
        let verdicts = [none, rate_missed(summary), sent_late(summary, load), busy, closed_loop(summary)];
        verdicts.into_iter().flatten().collect()
    }

    /// Its name for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::NoReplies => "no_replies",
            Self::RateMissed { .. } => "rate_missed",
            Self::SentLate { .. } => "sent_late",
            Self::GeneratorBusy { .. } => "generator_busy",
            Self::ClosedLoop { .. } => "closed_loop",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReplies => f.write_str("no right reply came"),
            Self::RateMissed { wanted, sent } => {
                let (wanted, sent) = (grouped(*wanted), per_second(*sent));
                write!(f, "{wanted} requests a second were wanted, {sent} were sent")
            }
            Self::SentLate { slip, cause } => {
                write!(f, "1% of the requests were sent {} late or more: {cause}", time(*slip))
            }
            Self::GeneratorBusy { load, threads } => write!(
                f,
                "the generator was busy for {} of the time on its {threads} threads: the limit may be its \
                 own and not the server's",
                percent(*load)
            ),
            Self::ClosedLoop { p99, steady } => write!(
                f,
                "nothing is asked while a reply is awaited: p99 was {}, and at a steady pace it would be \
                 about {}; --rate measures that",
                time(*p99),
                time(*steady)
            ),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generator => "the generator was the limit, so the latencies say little about the server",
            Self::Connections => {
                "all connections were waiting for replies, so the server is too slow or they are too few"
            }
            Self::Unknown => "the generator was the limit, or all connections were waiting for replies",
        })
    }
}

fn rate_missed(summary: &Summary) -> Option<Verdict> {
    let Mode::Open { rate: wanted } = summary.run.mode else { return None };
    let sent = summary.per_second(summary.requests);
    (ratio(sent, float(wanted)) < REACHED).then_some(Verdict::RateMissed { wanted, sent })
}

fn sent_late(summary: &Summary, load: Option<f64>) -> Option<Verdict> {
    let slip = summary.slip.as_ref()?.quantile(0.99)?;
    let latency = summary.latency().quantile(0.99).unwrap_or_default();
    let cause = match load {
        None => Cause::Unknown,
        Some(load) if load >= BUSY => Cause::Generator,
        Some(_) => Cause::Connections,
    };
    let is_late = slip > SLIP_MIN && slip >= latency.mul_f64(SLIP_SHARE);
    is_late.then_some(Verdict::SentLate { slip, cause })
}

fn closed_loop(summary: &Summary) -> Option<Verdict> {
    if summary.run.mode != Mode::Closed {
        return None;
    }
    let latency = &summary.from_send;
    let (pace, p99) = (latency.quantile(0.5)?, latency.quantile(0.99)?);
    // What is estimated can't be better than what was seen.
    let steady = latency.steady_quantile(0.99, pace)?.max(p99);
    Some(Verdict::ClosedLoop { p99, steady })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::samples::{MS, closed, open, run, scheduled};

    fn names(summary: &Summary) -> Vec<&'static str> {
        Verdict::of(summary).iter().map(Verdict::name).collect()
    }

    fn texts(summary: &Summary) -> String {
        Verdict::of(summary).iter().map(Verdict::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_closed_loop_is_told_what_it_omitted() {
        let summary = closed();
        let [Verdict::ClosedLoop { p99, steady }] = Verdict::of(&summary)[..] else { panic!() };
        assert!(p99 < 11 * MS && steady >= p99);
        assert!(texts(&summary).contains("--rate measures that"));
    }

    #[test]
    fn late_sends_are_told_with_whose_fault_they_are() {
        let mut summary = open();
        assert!(
            texts(&summary).contains("all connections were waiting for replies, so"),
            "{}",
            texts(&summary)
        );
        summary.generator_cpu = Some(Duration::from_secs(19));
        assert_eq!(names(&summary), ["sent_late", "generator_busy"]);
        let said = texts(&summary);
        assert!(said.contains("sent 5.0") && said.contains("the generator was the limit, so"), "{said}");
        assert!(said.contains("busy for 95% of the time on its 2 threads"), "{said}");
        summary.generator_cpu = None;
        assert!(texts(&summary).contains("the generator was the limit, or"));
    }

    #[test]
    fn a_run_in_time_gets_no_verdict() {
        let punctual = [scheduled(MS, Some(Duration::from_micros(40)))];
        let summary = Summary::new(run(Mode::Open { rate: 100 }), Duration::from_secs(10), punctual);
        assert_eq!(names(&summary), [""; 0]);
    }

    #[test]
    fn a_rate_that_was_not_reached_and_a_run_without_replies_are_told() {
        let tallies = [scheduled(MS, Some(Duration::ZERO))];
        let summary = Summary::new(run(Mode::Open { rate: 12_000 }), Duration::from_secs(10), tallies);
        assert_eq!(texts(&summary), "12,000 requests a second were wanted, 100 were sent");
        let summary = Summary::new(run(Mode::Closed), Duration::from_secs(10), []);
        assert_eq!(texts(&summary), "no right reply came");
    }
}
