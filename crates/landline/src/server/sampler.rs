//! Chooses the messages whose answers are timed: reading a clock for each would cost more than many answers
//! do.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// One of so many messages is timed, on each thread, beginning with its first.
pub(crate) const MESSAGES_PER_SAMPLE: u32 = 256;

/// When an answer began that is timed: nanoseconds of the thread, and one. It is small, because it has a
/// place in every connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began(NonZeroU64);

/// Counts a thread's messages down to the next that is timed.
pub(crate) struct Sampler {
    /// Since when times are counted, if anybody wants to know.
    wanted: Option<Instant>,
    /// How many more are passed over.
    left: Cell<u32>,
}

impl Sampler {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted: wanted.then(Instant::now), left: Cell::new(0) }
    }

    /// A message is about to be answered. It is now, if this is one of those that are timed.
    #[inline]
    pub(crate) fn start(&self) -> Option<Began> {
        let epoch = self.wanted?;
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            return None;
        }
        self.left.set(MESSAGES_PER_SAMPLE - 1);
        let elapsed = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Some(Began(NonZeroU64::MIN.saturating_add(elapsed)))
    }

    /// How long ago that was.
    pub(crate) fn since(&self, Began(began): Began) -> Duration {
        let elapsed = self.wanted.map_or(Duration::ZERO, |epoch| epoch.elapsed());
        elapsed.saturating_sub(Duration::from_nanos(began.get() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_timed_and_then_every_256th_and_none_if_nobody_wants_to_know() {
        let sampler = Sampler::new(true);
        let timed: Vec<u32> = (0..600).filter(|_| sampler.start().is_some()).collect();
        assert_eq!(timed, [0, 256, 512]);
        assert!((0..600).all(|_| Sampler::new(false).start().is_none()));
    }
}
