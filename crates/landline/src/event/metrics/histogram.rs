//! Counts of how long things took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{add, add_at};

/// Counts durations by the first of its bounds that holds them.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Box<[Duration]>,
    /// How many took no longer than each bound and longer than the one before; the last has no bound.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// What the sum is counted in.
    unit: Duration,
}

impl Histogram {
    pub(super) fn new<const N: usize>(bounds: [Duration; N], unit: Duration) -> Self {
        let buckets = (0..=N).map(|_| AtomicU64::new(0)).collect();
        Self { bounds: bounds.into(), buckets, sum: AtomicU64::new(0), unit }
    }

    pub(super) fn observe(&self, took: Duration) {
        let within = self.bounds.iter().position(|bound| took <= *bound);
        add_at(&self.buckets, within.unwrap_or(self.bounds.len()));
        let units = took.as_nanos() / self.unit.as_nanos();
        add(&self.sum, u64::try_from(units).unwrap_or(u64::MAX));
    }

    /// The sum in seconds.
    pub(super) fn sum(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 units, one of them is nothing")]
        let units = self.sum.load(Relaxed) as f64;
        // Divided, so that a whole number of seconds is one.
        units / (1.0 / self.unit.as_secs_f64()).round()
    }

    /// Each bound in seconds with how many fell between it and the one before.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().map(|bucket| bucket.load(Relaxed))).collect()
    }
}
