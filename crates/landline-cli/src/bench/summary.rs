//! A whole run, as plain data.

use std::time::Duration;

use landline::frame::Framing;

use crate::bench::condition::{Conditions, Measured};
use crate::bench::figures::{float, ratio};
use crate::bench::latencies::Latencies;
use crate::bench::tally::{Errors, Tally};

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Who was asked, as the command line says it.
    pub(crate) target: String,
    /// What was sent, in words.
    pub(crate) payload: String,
    /// What a right reply was, in words.
    pub(crate) expect: String,
    pub(crate) connections: u64,
    pub(crate) threads: u64,
    /// How many requests a connection has under way at most.
    pub(crate) pipeline: u64,
    pub(crate) framing: Framing,
    pub(crate) mode: Mode,
    /// How long it was to last, unless something else was to end it.
    pub(crate) duration: Option<Duration>,
    /// When it began, as a date and a time.
    pub(crate) started: String,
    /// What it must not be.
    pub(crate) fail_if: Option<Conditions>,
}

/// What decides when a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A reply: the next request follows it.
    Closed,
    /// The clock: so many a second, whatever is answered.
    Open {
        /// Requests per second.
        rate: u64,
    },
}

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) run: Run,
    /// How long it really lasted.
    pub(crate) lasted: Duration,
    /// Requests sent.
    pub(crate) requests: u64,
    /// Right replies.
    pub(crate) replies: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) errors: Errors,
    /// From the actual send to the whole reply.
    pub(crate) from_send: Latencies,
    /// In an open loop, from when the request was to be sent.
    pub(crate) from_schedule: Option<Latencies>,
    /// In an open loop, how much later than intended requests were sent.
    pub(crate) slip: Option<Latencies>,
    /// How long it took to connect; its count is that of connections made.
    pub(crate) connects: Latencies,
    pub(crate) seconds: Vec<Second>,
    pub(crate) tcp: Option<Tcp>,
    /// CPU time of all threads of the generator, over the whole run.
    pub(crate) generator_cpu: Option<Duration>,
    /// CPU time of the server, over the whole run.
    pub(crate) server_cpu: Option<Duration>,
}

/// One second of a run; the last may be shorter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Second {
    pub(crate) lasted: Duration,
    pub(crate) replies: u64,
    pub(crate) errors: u64,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) max: Option<Duration>,
}

/// What the kernel knows of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tcp {
    /// The median of the connections' smoothed round trip times.
    pub(crate) rtt: Duration,
    pub(crate) retransmits: u64,
}

impl Summary {
    /// What all threads counted; what is optional is added by whoever measured it.
    pub(crate) fn new(run: Run, lasted: Duration, tallies: impl IntoIterator<Item = Tally>) -> Self {
        let mut all = Tally::new();
        tallies.into_iter().for_each(|tally| all.merge(tally));
        let open = run.mode != Mode::Closed;
        Self {
            run,
            lasted,
            requests: all.requests,
            replies: all.from_send.count(),
            bytes_sent: all.bytes_sent,
            bytes_received: all.bytes_received,
            errors: all.errors,
            seconds: series(&mut all, lasted),
            from_send: all.from_send,
            from_schedule: open.then_some(all.from_schedule),
            slip: open.then_some(all.slip),
            connects: all.connects,
            tcp: None,
            generator_cpu: None,
            server_cpu: None,
        }
    }

    /// The latency that counts: what a caller waited who came when it was to come.
    pub(crate) fn latency(&self) -> &Latencies {
        self.from_schedule.as_ref().unwrap_or(&self.from_send)
    }

    /// Right replies per second.
    pub(crate) fn rate(&self) -> f64 {
        self.per_second(self.replies)
    }

    /// Errors among everything that ended, as a fraction.
    pub(crate) fn error_rate(&self) -> f64 {
        let errors = self.errors.total();
        ratio(float(errors), float(errors + self.replies))
    }

    /// Bytes per second, sent and received together.
    pub(crate) fn throughput(&self) -> f64 {
        self.per_second(self.bytes_sent + self.bytes_received)
    }

    pub(crate) fn per_second(&self, count: u64) -> f64 {
        ratio(float(count), self.lasted.as_secs_f64())
    }

    /// What each condition on the run was, in the order they were written; none if there are none.
    pub(crate) fn conditions(&self) -> Vec<Measured<'_>> {
        self.run.fail_if.iter().flat_map(|conditions| conditions.measure(self)).collect()
    }

    /// What one request took of a CPU time.
    pub(crate) fn per_request(&self, cpu: Option<Duration>) -> Option<Duration> {
        cpu.filter(|_| self.requests > 0).map(|cpu| cpu.div_f64(float(self.requests)))
    }

    /// How much of its threads' time the generator computed.
    pub(crate) fn generator_load(&self) -> Option<f64> {
        let time = self.lasted.as_secs_f64() * float(self.run.threads);
        self.generator_cpu.map(|cpu| ratio(cpu.as_secs_f64(), time))
    }
}

impl Second {
    /// Right replies per second.
    pub(crate) fn rate(&self) -> f64 {
        ratio(float(self.replies), self.lasted.as_secs_f64())
    }
}

/// Every second of the run, also those in which nothing came.
fn series(all: &mut Tally, lasted: Duration) -> Vec<Second> {
    let mut intervals = std::mem::take(&mut all.seconds);
    let whole = usize::try_from(lasted.as_secs()).unwrap_or(usize::MAX);
    if intervals.len() < whole {
        intervals.resize_with(whole, Default::default);
    }
    let begins = (0..).map(Duration::from_secs);
    let seconds = intervals.into_iter().zip(begins).map(|(interval, begin)| {
        let [p50, p99, max] = interval.latency.quantiles([0.5, 0.99, 1.0]);
        // Whatever came after the end of the last second has to have had some time.
        let left = lasted.saturating_sub(begin).max(Duration::from_millis(1));
        let lasted = left.min(Duration::from_secs(1));
        Second { lasted, replies: interval.replies, errors: interval.errors, p50, p99, max }
    });
    seconds.collect()
}

#[cfg(test)]
pub(super) mod samples;

#[cfg(test)]
mod tests {
    use super::samples::{MS, closed, open, tally};
    use super::*;

    #[test]
    fn threads_are_merged_into_one_summary() {
        let summary = Summary::new(closed().run, 10 * 1_000 * MS, [tally(MS), tally(MS)]);
        assert_eq!((summary.requests, summary.replies), (2_000, 1_980));
        assert_eq!((summary.bytes_sent, summary.bytes_received), (128_000, 126_720));
        assert_eq!((summary.errors.total(), summary.seconds.len()), (20, 10));
        assert!((summary.rate() - 198.0).abs() < 0.001 && (summary.error_rate() - 0.01).abs() < 0.001);
        assert!((summary.throughput() - 25_472.0).abs() < 0.001);
        assert!(summary.from_schedule.is_none() && summary.slip.is_none());
    }

    #[test]
    fn the_latency_that_counts_in_an_open_loop_is_from_the_schedule() {
        let summary = open();
        assert!(summary.latency().quantile(0.5) > summary.from_send.quantile(0.5));
    }

    #[test]
    fn a_second_without_replies_is_in_the_series_and_the_last_one_has_its_length() {
        let summary = Summary::new(closed().run, 12_500 * MS, [tally(MS)]);
        assert_eq!(summary.seconds.len(), 12);
        assert_eq!((summary.seconds[11].replies, summary.seconds[11].p50), (0, None));
        let mut late = tally(MS);
        late.replied(12_100 * MS, MS, None);
        let summary = Summary::new(closed().run, 12_500 * MS, [late]);
        assert_eq!(summary.seconds[12].lasted, 500 * MS);
        assert!((summary.seconds[12].rate() - 2.0).abs() < 0.001);
    }

    #[test]
    fn a_run_in_which_nothing_happened_has_no_figures_that_are_no_numbers() {
        let summary = Summary::new(closed().run, Duration::ZERO, []);
        assert!((summary.rate() + summary.error_rate() + summary.throughput()).abs() < f64::EPSILON);
        assert_eq!((summary.per_request(Some(MS)), summary.generator_load()), (None, None));
    }
}
