//! When a run is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The time of a run, in nanoseconds since it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> u64 {
        nanoseconds(self.0.elapsed())
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a run lasts: for a time, for a number of requests, or until it is told to end.
#[derive(Debug)]
pub(super) struct Stop {
    at: u64,
    left: Option<AtomicU64>,
    told: AtomicBool,
}

impl Stop {
    pub(super) fn new(duration: Option<Duration>, requests: Option<u64>) -> Self {
        Self {
            at: duration.map_or(u64::MAX, nanoseconds),
            left: requests.map(AtomicU64::new),
            told: AtomicBool::new(false),
        }
    }

    /// Whether one more request may be sent; it counts as sent then.
    pub(super) fn take(&self, now: u64) -> bool {
        !self.is_over(now)
            && self.left.as_ref().is_none_or(|left| {
                let one_less = |left: u64| left.checked_sub(1);
                left.fetch_update(Relaxed, Relaxed, one_less).is_ok()
            })
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        let none_left = || self.left.as_ref().is_some_and(|left| left.load(Relaxed) == 0);
        now >= self.at || self.told.load(Relaxed) || none_left()
    }

    /// When it is over at the latest.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn tell(&self) {
        self.told.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_by_time_by_count_or_by_word() {
        let timed = Stop::new(Some(Duration::from_secs(1)), None);
        assert!(timed.take(999_999_999) && !timed.take(1_000_000_000));
        let counted = Stop::new(None, Some(2));
        assert!(counted.take(0) && counted.take(0) && !counted.take(0));
        assert!(counted.is_over(0));
        let endless = Stop::new(None, None);
        assert!(endless.take(u64::MAX - 1));
        endless.tell();
        assert!(!endless.take(0));
    }
}
