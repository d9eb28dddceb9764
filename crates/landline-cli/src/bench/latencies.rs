//! How long things took: a histogram of times, exact to three digits.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::bench::figures::{float, nanos};

/// What is shorter is told apart no further; a system call takes longer than this.
const SHORTEST: u64 = 100;
/// What is longer counts as this long, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// How long things took, from 100 ns to an hour.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { histogram: histogram(3) }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.histogram.saturating_record(nanos(took));
    }

    /// Adds what another has recorded.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What this share of all were at most; nothing if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        self.known(|histogram| histogram.value_at_quantile(share))
    }

    pub(crate) fn min(&self) -> Option<Duration> {
        self.known(Histogram::min)
    }

    pub(crate) fn max(&self) -> Option<Duration> {
        self.known(Histogram::max)
    }

    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_secs_f64(self.histogram.mean() / 1e9))
    }

    /// The quantile that a caller would have seen who asks at this interval, whether or not an answer is due.
    ///
    /// Whoever waits for each answer asks nothing while a slow one is on its way, so slow moments are seen by
    /// fewer requests than they would have met: coordinated omission. Here, for each time of several
    /// intervals, those that were not asked are counted too, with what was then left to wait. It is what
    /// [`Histogram::clone_correct`] does, without a loop as long as the longest time has intervals.
    pub(crate) fn steady_quantile(&self, share: f64, interval: Duration) -> Option<Duration> {
        let interval = nanos(interval).max(1);
        let times: Vec<(u64, u64)> = self
            .histogram
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect();
        let asked = |time: u64| (time / interval).max(1);
        let longer = |limit: u64| -> u128 {
            let each = times.iter().filter(|(time, _)| *time > limit);
            let each =
                each.map(|(time, count)| (asked(*time).min((time - limit).div_ceil(interval)), *count));
            each.map(|(asked, count)| u128::from(asked) * u128::from(count)).sum()
        };
        let all =
            times.iter().map(|(time, count)| u128::from(asked(*time)) * u128::from(*count)).sum::<u128>();
        let (mut low, mut high) = (0, times.last()?.0);
        while low < high {
            let middle = low + (high - low) / 2;
            if wide(longer(middle)) > wide(all) * (1.0 - share) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(Duration::from_nanos(low))
    }

    fn known(&self, look: impl Fn(&Histogram<u64>) -> u64) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(look(&self.histogram)))
    }
}

/// How long things took in one second: of what was recorded, only what occurred is kept, so that a long run
/// takes little memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    times: Vec<(u64, u64)>,
}

impl Sparse {
    pub(crate) fn merge(&mut self, other: Self) {
        self.times.extend(other.times);
    }

    /// For each share, in ascending order, what this share of all were at most.
    pub(crate) fn quantiles<const N: usize>(mut self, shares: [f64; N]) -> [Option<Duration>; N] {
        self.times.sort_unstable();
        let all: u64 = self.times.iter().map(|(_, count)| count).sum();
        let mut seen = 0;
        let steps = self.times.iter().map(|(time, count)| {
            seen += count;
            (*time, seen)
        });
        let steps: Vec<(u64, u64)> = steps.collect();
        shares.map(|share| {
            let step = steps.iter().find(|(_, seen)| float(*seen) >= float(all) * share);
            step.map(|(time, _)| Duration::from_nanos(*time))
        })
    }
}

/// How long things took in the second that is under way, exact to two digits.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    histogram: Histogram<u32>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { histogram: histogram(2) }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.histogram.saturating_record(nanos(took));
    }

    /// What was recorded so far; the next second begins.
    pub(crate) fn take(&mut self) -> Sparse {
        let steps = self.histogram.iter_recorded();
        let times = steps.map(|step| (step.value_iterated_to(), step.count_at_value().into())).collect();
        self.histogram.reset();
        Sparse { times }
    }
}

fn histogram<T: hdrhistogram::Counter>(digits: u8) -> Histogram<T> {
    Histogram::new_with_bounds(SHORTEST, LONGEST, digits).expect("the bounds are in order")
}

#[expect(clippy::cast_precision_loss, reason = "a share of it is compared, and that is estimated")]
fn wide(number: u128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn of(times: impl IntoIterator<Item = Duration>) -> Latencies {
        let mut latencies = Latencies::new();
        times.into_iter().for_each(|time| latencies.record(time));
        latencies
    }

    /// Within the three digits of the histogram.
    fn near(found: Option<Duration>, right: Duration) -> bool {
        found.is_some_and(|found| found.abs_diff(right).as_secs_f64() <= right.as_secs_f64() / 500.0 + 1e-6)
    }

    proptest! {
        #[test]
        fn the_steady_quantile_is_what_counting_one_by_one_gives(
            micros in prop::collection::vec(1_u64..100_000, 1..50), interval in 50_u64..5_000,
        ) {
            let latencies = of(micros.into_iter().map(Duration::from_micros));
            let counted = latencies.histogram.clone_correct(interval * 1_000);
            let steady = latencies.steady_quantile(0.99, Duration::from_micros(interval));
            prop_assert!(near(steady, Duration::from_nanos(counted.value_at_quantile(0.99))), "{steady:?}");
        }

        #[test]
        fn seconds_that_were_merged_tell_the_quantiles_of_all(
            micros in prop::collection::vec(1_u64..100_000, 1..200), at in 0_usize..200,
        ) {
            let (one, other) = micros.split_at(at.min(micros.len()));
            let mut live = Live::new();
            let mut second = |micros: &[u64]| {
                for us in micros {
                    live.record(Duration::from_micros(*us));
                }
                live.take()
            };
            let mut merged = second(one);
            merged.merge(second(other));
            let all = of(micros.iter().copied().map(Duration::from_micros));
            for (found, share) in merged.quantiles([0.5, 0.99, 1.0]).into_iter().zip([0.5, 0.99, 1.0]) {
                let right = all.quantile(share).unwrap();
                let off = found.unwrap().abs_diff(right).as_secs_f64();
                prop_assert!(off <= right.as_secs_f64() / 50.0 + 1e-6);
            }
        }
    }

    #[test]
    fn times_are_exact_to_three_digits_and_what_is_too_long_is_an_hour() {
        let latencies = of((1..=1_000).map(|n| n * MS));
        assert!(near(latencies.quantile(0.5), 500 * MS) && near(latencies.quantile(0.99), 990 * MS));
        assert!(near(latencies.mean(), Duration::from_micros(500_500)));
        assert!(near(latencies.min(), MS) && near(latencies.max(), 1_000 * MS));
        assert!(near(of([Duration::MAX]).max(), Duration::from_secs(3_600)));
        assert!(of([Duration::ZERO]).max().unwrap() < Duration::from_micros(1));
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let none = Latencies::new();
        assert_eq!((none.quantile(0.5), none.mean(), none.max(), none.min()), (None, None, None, None));
        assert_eq!(none.steady_quantile(0.99, MS), None);
        assert_eq!(Sparse::default().quantiles([0.5]), [None]);
    }

    #[test]
    fn what_several_recorded_is_merged() {
        let mut all = of([MS, 2 * MS]);
        all.merge(&of([3 * MS]));
        assert_eq!(all.count(), 3);
        assert!(near(all.quantile(0.5), 2 * MS));
    }
}
