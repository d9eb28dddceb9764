//! What may happen very often and is to be said seldom.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Lets something that may happen very often be said once a second, with a count. Threads share one.
#[derive(Debug, Default)]
pub(crate) struct OnceASecond {
    /// When it may be said again: milliseconds of the server's clock.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl OnceASecond {
    /// Counts `more`, and returns the count to say if something is to be said now.
    pub(crate) fn count(&self, more: u64, now: u64) -> Option<u64> {
        self.unsaid.fetch_add(more, Relaxed);
        let next = self.next.load(Relaxed);
        let mine = now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok();
        mine.then(|| self.unsaid.swap(0, Relaxed))
    }

    /// What was counted and never said, once it may be said.
    pub(crate) fn rest(&self, now: u64) -> Option<u64> {
        if self.unsaid.load(Relaxed) == 0 { None } else { self.count(0, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_once_a_second_and_nothing_goes_uncounted() {
        let often = OnceASecond::default();
        assert_eq!(often.count(1, 0), Some(1));
        assert_eq!(often.count(2, 1), None);
        assert_eq!(often.count(3, 999), None);
        assert_eq!(often.rest(999), None);
        assert_eq!(often.rest(1000), Some(5));
        assert_eq!(often.rest(5000), None);
    }
}
