//! The time limits of a connection, as verdicts: pure, given the time.

use std::time::Duration;

use super::config::Policy;
use super::table::Phase;
use crate::close::CloseReason;

/// A minimum rate is held against a message only after this long: the first packets of any message are few.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// The sweep looks at every connection of its thread this often at most, and at least: so that what is two
/// rounds late is less than a second late.
const SWEEP_MIN: Duration = Duration::from_millis(10);
const SWEEP_MAX: Duration = Duration::from_millis(400);

/// A connection as its slot shows it. Times are milliseconds of the server's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) id: u64,
    pub(crate) phase: Phase,
    /// When the phase began or last made progress.
    pub(crate) since: u64,
    pub(crate) accepted: u64,
    /// How many bytes of the message that is not complete have come.
    pub(crate) unfinished: u64,
}

/// What has to happen to a connection because of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// It ends now.
    Cut(CloseReason),
    /// It ends at its next message boundary.
    Retire,
}

/// Whether a connection's time is up.
pub(crate) fn due(view: &View, now: u64, policy: &Policy) -> Option<Due> {
    let (age, elapsed) = (span(view.accepted, now), span(view.since, now));
    if view.phase == Phase::Closing {
        // The farewell has a limit of its own.
        return None;
    }
    if policy.max_connection_time.is_some_and(|limit| age >= limit) {
        return Some(Due::Cut(CloseReason::ConnectionTimeout));
    }
    let (limit, reason) = match view.phase {
        Phase::Idle => (policy.idle_timeout, CloseReason::IdleTimeout),
        Phase::Receiving if is_slow(view.unfinished, elapsed, policy) => {
            return Some(Due::Cut(CloseReason::TooSlow));
        }
        Phase::Opening => (policy.handshake_timeout, CloseReason::HandshakeTimeout),
        Phase::Receiving => (policy.message_timeout, CloseReason::MessageTimeout),
        Phase::Sending => (policy.write_timeout, CloseReason::WriteTimeout),
        // A handler takes the time it takes.
        Phase::Answering | Phase::Closing | Phase::Free => (None, CloseReason::Cut),
    };
    if limit.is_some_and(|limit| elapsed >= limit) {
        return Some(Due::Cut(reason));
    }
    let retires = policy.max_connection_age.is_some_and(|limit| age >= spread(limit, view.id));
    retires.then_some(Due::Retire)
}

/// Since when a connection has been idle, if for long enough to make room for somebody else.
pub(crate) fn reclaimable(view: &View, now: u64, idle_reclaim: Option<Duration>) -> Option<u64> {
    let long_enough = idle_reclaim.is_some_and(|idle| span(view.since, now) >= idle);
    (view.phase == Phase::Idle && long_enough).then_some(view.since)
}

fn is_slow(unfinished: u64, elapsed: Duration, policy: &Policy) -> bool {
    let Some(rate) = policy.min_receive_rate else { return false };
    elapsed >= RATE_GRACE && u128::from(unfinished) * 1000 < elapsed.as_millis() * u128::from(rate.get())
}

/// A limit between 90 and 110 % of the one given, the same for the same connection: those that came together
/// do not have to go together.
fn spread(limit: Duration, id: u64) -> Duration {
    // A multiplicative hash: ids that follow each other fall far apart.
    let share = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 1001;
    limit * 9 / 10 + limit / 5 * u32::try_from(share).unwrap_or(0) / 1000
}

fn span(from: u64, to: u64) -> Duration {
    Duration::from_millis(to.saturating_sub(from))
}

/// The shortest time limit of a policy that the sweep holds connections to, if there is one.
pub(crate) fn shortest(policy: &Policy) -> Option<Duration> {
    let limits = [
        policy.handshake_timeout,
        policy.message_timeout,
        policy.write_timeout,
        policy.idle_timeout,
        policy.max_connection_time,
        policy.max_connection_age,
    ];
    limits.into_iter().flatten().min()
}

/// How often to look: often enough to hold the shortest limit within a fifth of it.
pub(crate) fn sweep_interval(shortest: Option<Duration>) -> Duration {
    (shortest.unwrap_or(SWEEP_MAX) / 10).clamp(SWEEP_MIN, SWEEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const SECOND: Duration = Duration::from_secs(1);

    fn view(phase: Phase) -> View {
        View { id: 1, phase, since: 1000, accepted: 1000, unfinished: 0 }
    }

    fn after(seconds: u64, view: View, policy: &Policy) -> Option<Due> {
        due(&view, 1000 + seconds * 1000, policy)
    }

    #[test]
    fn each_phase_has_its_own_limit_and_a_running_handler_has_none() {
        let policy = Policy { idle_timeout: Some(5 * SECOND), ..Policy::default() };
        assert_eq!(after(4, view(Phase::Idle), &policy), None);
        assert_eq!(after(5, view(Phase::Idle), &policy), Some(Due::Cut(CloseReason::IdleTimeout)));
        assert_eq!(after(9, view(Phase::Opening), &policy), None);
        assert_eq!(after(10, view(Phase::Opening), &policy), Some(Due::Cut(CloseReason::HandshakeTimeout)));
        assert_eq!(after(30, view(Phase::Receiving), &policy), Some(Due::Cut(CloseReason::MessageTimeout)));
        assert_eq!(after(30, view(Phase::Sending), &policy), Some(Due::Cut(CloseReason::WriteTimeout)));
        assert_eq!(after(1_000_000, view(Phase::Answering), &policy), None);
    }

    #[test]
    fn without_an_idle_limit_nobody_is_cut_for_being_silent() {
        assert_eq!(due(&view(Phase::Idle), u64::MAX, &Policy::default()), None);
    }

    #[test]
    fn a_stamp_from_the_future_is_not_overdue() {
        assert_eq!(due(&view(Phase::Sending), 5, &Policy::default()), None);
    }

    #[test]
    fn a_whole_connection_may_have_a_limit_that_spares_nobody_but_those_who_say_goodbye() {
        let policy = Policy { max_connection_time: Some(60 * SECOND), ..Policy::default() };
        for phase in [Phase::Idle, Phase::Answering] {
            assert_eq!(after(59, view(phase), &policy), None);
            assert_eq!(after(60, view(phase), &policy), Some(Due::Cut(CloseReason::ConnectionTimeout)));
        }
        assert_eq!(after(60, view(Phase::Closing), &policy), None);
    }

    #[test]
    fn connections_that_came_together_retire_one_after_the_other() {
        let policy = Policy { max_connection_age: Some(100 * SECOND), ..Policy::default() };
        let retired = |seconds| {
            let views = (0..1000).map(|id| View { id, ..view(Phase::Idle) });
            views.filter(|view| after(seconds, *view, &policy) == Some(Due::Retire)).count()
        };
        assert_eq!((retired(89), retired(111)), (0, 1000));
        assert!((400..600).contains(&retired(100)), "{}", retired(100));
    }

    #[test]
    fn a_message_that_trickles_in_is_too_slow_however_recent_its_last_byte() {
        let policy = Policy { min_receive_rate: NonZeroU32::new(100), ..Policy::default() };
        let receiving = |unfinished| View { unfinished, ..view(Phase::Receiving) };
        assert_eq!(after(4, receiving(1), &policy), None, "within the grace");
        assert_eq!(after(5, receiving(499), &policy), Some(Due::Cut(CloseReason::TooSlow)));
        assert_eq!(after(5, receiving(500), &policy), None);
    }
}
