//! How long to wait before another attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How long to wait before connecting again, as a [`Client`](super::Client) does: after each failure in a row twice as
/// long as before, up to a limit, and of that a random part, so that those who lost a server together don't
/// all come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// After one failure at most `first`, after any number at most `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The wait after so many failures in a row, another one each time; with none there is no wait.
    pub fn delay(&self, failures: u32) -> Duration {
        // Each has keys of its own, which are random.
        let random = RandomState::new().hash_one(failures);
        self.part(failures, random)
    }

    fn part(&self, failures: u32, random: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let whole = self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.max);
        #[expect(clippy::cast_precision_loss, reason = "any number will do")]
        whole.mul_f64(random as f64 / u64::MAX as f64)
    }
}

impl Default for Backoff {
    /// 50 ms at first, which a restart of a server takes; 5 s at most, which nobody minds to wait for a
    /// server that was away for long.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_is_a_random_part_of_that() {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(300));
        let longest = |failures| backoff.part(failures, u64::MAX).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5, u32::MAX].map(longest), [0, 50, 100, 200, 300, 300, 300]);
        assert_eq!(backoff.part(7, 0), Duration::ZERO);
        let delays: Vec<Duration> = (0..100).map(|_| backoff.delay(9)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(300)));
        assert!(delays.iter().any(|delay| delay != &delays[0]), "{delays:?}");
    }
}
