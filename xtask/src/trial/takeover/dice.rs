//! Chance, from what the standard library seeds its maps with.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Numbers that nobody can foresee.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    pub(super) fn roll(&mut self) -> u64 {
        // splitmix64: each step of the counter is mixed until neighbours have nothing in common.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// From the least on, and less than the end.
    pub(super) fn within(&mut self, least: usize, end: usize) -> usize {
        let span = end.saturating_sub(least).max(1) as u64;
        least + usize::try_from(self.below(span)).unwrap_or(0)
    }

    /// A time between so many milliseconds, to the microsecond.
    pub(super) fn time(&mut self, [least, most]: [u64; 2]) -> Duration {
        Duration::from_micros(least * 1_000 + self.below((most - least) * 1_000))
    }
}

#[test]
fn a_time_is_between_its_bounds_and_seldom_the_same_twice() {
    let mut dice = Dice::new();
    let times: Vec<Duration> = (0..100).map(|_| dice.time([200, 1_000])).collect();
    assert!(times.iter().all(|time| (200..1_000).contains(&time.as_millis())));
    assert!(times.windows(2).any(|pair| pair[0] != pair[1]));
}
