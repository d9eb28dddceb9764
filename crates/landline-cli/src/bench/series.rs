//! The seconds of a run, made fit to be drawn.

use std::time::Duration;

use crate::bench::summary::Second;

/// A last second of less than this is not drawn: a few replies in a few milliseconds make no rate.
const SHORTEST: Duration = Duration::from_millis(500);

/// At most so many points, each of which stands for as many seconds as it takes. Counts add up; of latencies
/// the longest stays, so that no bad second is hidden among good ones.
pub(super) fn thin(seconds: &[Second], points_max: usize) -> Vec<Second> {
    let drawn = match seconds {
        [_, .., last] if last.lasted < SHORTEST => &seconds[..seconds.len() - 1],
        _ => seconds,
    };
    let width = drawn.len().div_ceil(points_max).max(1);
    drawn.chunks(width).map(join).collect()
}

fn join(seconds: &[Second]) -> Second {
    Second {
        lasted: seconds.iter().map(|second| second.lasted).sum(),
        replies: seconds.iter().map(|second| second.replies).sum(),
        errors: seconds.iter().map(|second| second.errors).sum(),
        // Of something and nothing, something is the greater.
        p50: seconds.iter().map(|second| second.p50).max().flatten(),
        p99: seconds.iter().map(|second| second.p99).max().flatten(),
        max: seconds.iter().map(|second| second.max).max().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(replies: u64, p99: Option<u64>, lasted: u64) -> Second {
        let p99 = p99.map(Duration::from_millis);
        Second { lasted: Duration::from_millis(lasted), replies, errors: 1, p50: p99, p99, max: p99 }
    }

    #[test]
    fn seconds_are_joined_until_they_are_few_enough() {
        let seconds =
            [second(1, Some(5), 1000), second(2, None, 1000), second(4, None, 1000), second(8, None, 700)];
        let thinned = thin(&seconds, 2);
        assert_eq!(thinned.iter().map(|second| second.replies).collect::<Vec<_>>(), [3, 12]);
        assert_eq!((thinned[0].p99, thinned[1].p99), (Some(Duration::from_millis(5)), None));
        assert_eq!((thinned[1].errors, thinned[1].lasted), (2, Duration::from_millis(1700)));
        assert_eq!(thin(&seconds, 4), seconds);
    }

    #[test]
    fn a_last_second_that_hardly_was_is_left_out_unless_it_is_the_only_one() {
        assert_eq!(thin(&[second(9, None, 1000), second(1, None, 3)], 10), [second(9, None, 1000)]);
        assert_eq!(thin(&[second(1, None, 3)], 10).len(), 1);
        assert!(thin(&[], 10).is_empty());
    }
}
