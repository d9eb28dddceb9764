//! Counts of how long things took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{add, add_at};

/// What durations are counted by.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) bounds: &'static [u64],
    pub(super) bounds_in: Duration,
    /// What the sum is counted in.
    pub(super) unit: Duration,
}

/// Counts durations by the first bound of a scale that holds them; there is one bucket more than it has
/// bounds.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Histogram<const BUCKETS: usize> {
    /// How many took no longer than each bound and longer than the one before; the last has no bound.
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// Counts with their scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaled<'a> {
    scale: &'static Scale,
    buckets: &'a [AtomicU64],
    sum: &'a AtomicU64,
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    pub(super) fn by(&self, scale: &'static Scale) -> Scaled<'_> {
        Scaled { scale, buckets: &self.buckets, sum: &self.sum }
    }
}

impl Scaled<'_> {
    pub(super) fn observe(&self, took: Duration) {
        let bounds = self.scale.bounds;
        let fits = |bound: &u64| took.as_nanos() <= u128::from(*bound) * self.scale.bounds_in.as_nanos();
        let within = bounds.iter().position(fits);
        add_at(self.buckets, within.unwrap_or(bounds.len()));
        let units = took.as_nanos() / self.scale.unit.as_nanos();
        add(self.sum, u64::try_from(units).unwrap_or(u64::MAX));
    }

    /// The sum in seconds.
    pub(super) fn sum(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 units, one of them is nothing")]
        let units = self.sum.load(Relaxed) as f64;
        // Divided, so that a whole number of seconds is one.
        units / (1.0 / self.scale.unit.as_secs_f64()).round()
    }

    /// Each bound in seconds with how many fell between it and the one before.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let unit = (1.0 / self.scale.bounds_in.as_secs_f64()).round();
        #[expect(clippy::cast_precision_loss, reason = "bounds are short numbers")]
        let bounds = self.scale.bounds.iter().map(|bound| *bound as f64 / unit).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().map(|bucket| bucket.load(Relaxed))).collect()
    }
}
