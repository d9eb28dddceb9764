//! Which address is tried when: the order and the schedule of RFC 8305 ("happy eyeballs"), without I/O or
//! clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How long an attempt runs alone before the next address is tried beside it.
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How many addresses of one name are tried at most; a name with more is served as well by its first ones.
pub(super) const ADDRESSES_MAX: usize = 32;

/// The addresses that were not tried yet, and when the next one may be.
#[derive(Debug)]
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    /// No new attempt before this; `None` when there is nothing to wait for.
    next_at: Option<Instant>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin an attempt, then ask again.
    Start(SocketAddr),
    /// Wait for an attempt to end, at most until then.
    WaitUntil(Instant),
    /// Wait for an attempt to end: every address is being tried or has failed.
    Wait,
}

impl Race {
    pub(super) fn new(resolved: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { waiting: interleave(resolved).take(ADDRESSES_MAX).collect(), next_at: None }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        match self.next_at {
            Some(at) if at > now && !self.waiting.is_empty() => Step::WaitUntil(at),
            _ => match self.waiting.pop_front() {
                Some(address) => {
                    self.next_at = Some(now + ATTEMPT_DELAY);
                    Step::Start(address)
                }
                None => Step::Wait,
            },
        }
    }

    /// An attempt failed, so the next one need not wait.
    pub(super) fn failed(&mut self) {
        self.next_at = None;
    }
}

/// Alternates between the families, beginning with the family that the resolver put first.
fn interleave(resolved: impl IntoIterator<Item = SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let mut resolved = resolved.into_iter().peekable();
    let six_first = resolved.peek().is_some_and(SocketAddr::is_ipv6);
    let (mut turn, mut other): (VecDeque<_>, VecDeque<_>) =
        resolved.partition(|address| address.is_ipv6() == six_first);
    std::iter::from_fn(move || {
        let next = turn.pop_front();
        std::mem::swap(&mut turn, &mut other);
        next.or_else(|| turn.pop_front())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_keep_the_order_of_the_resolver_within() {
        for (resolved, ordered) in [
            (
                vec!["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"],
                vec!["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"],
            ),
            (vec!["1.1.1.1:1", "[::1]:1", "[::2]:1"], vec!["1.1.1.1:1", "[::1]:1", "[::2]:1"]),
            (vec!["1.1.1.1:1", "2.2.2.2:1"], vec!["1.1.1.1:1", "2.2.2.2:1"]),
            (vec![], vec![]),
        ] {
            let found: Vec<SocketAddr> = interleave(addresses(&resolved)).collect();
            assert_eq!(found, addresses(&ordered));
        }
    }

    #[test]
    fn the_next_address_waits_a_quarter_of_a_second_or_for_a_failure() {
        let start = Instant::now();
        let [one, two, three] = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1"])[..] else { panic!() };
        let mut race = Race::new([one, three, two]);
        assert_eq!(race.step(start), Step::Start(one));
        assert_eq!(race.step(start), Step::WaitUntil(start + ATTEMPT_DELAY));
        assert_eq!(race.step(start + ATTEMPT_DELAY), Step::Start(two));
        race.failed();
        assert_eq!(race.step(start + ATTEMPT_DELAY), Step::Start(three), "a failure ends the wait");
        assert_eq!(race.step(start + ATTEMPT_DELAY), Step::Wait, "nothing is left to start");
    }

    #[test]
    fn a_name_with_very_many_addresses_costs_a_bounded_number_of_attempts() {
        let many = (0..1000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(Race::new(many).waiting.len(), ADDRESSES_MAX);
    }
}
