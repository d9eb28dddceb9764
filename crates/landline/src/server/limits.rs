//! The time limits of a connection, as verdicts: pure, given the time.

use std::time::Duration;

use super::config::Config;
use super::table::Phase;
use crate::close::CloseReason;

/// Whether a connection that has been in its phase since `since` has to end. Both times are milliseconds of
/// one clock.
pub(crate) fn overdue(phase: Phase, since: u64, now: u64, config: &Config) -> Option<CloseReason> {
    let (limit, reason) = match phase {
        Phase::Idle => (config.idle_timeout?, CloseReason::IdleTimeout),
        Phase::Receiving => (config.message_timeout?, CloseReason::MessageTimeout),
        Phase::Sending => (config.write_timeout?, CloseReason::WriteTimeout),
        // A handler takes the time it takes, and the farewell has a limit of its own.
        Phase::Answering | Phase::Closing | Phase::Free => return None,
    };
    let elapsed = Duration::from_millis(now.checked_sub(since)?);
    (elapsed >= limit).then_some(reason)
}

/// How often to look: often enough to hold the shortest limit within a fifth of it, within the bounds given.
pub(crate) fn sweep_interval(config: &Config, shortest: Duration, longest: Duration) -> Duration {
    let limits = [config.message_timeout, config.write_timeout, config.idle_timeout];
    let least = limits.into_iter().flatten().min().unwrap_or(longest);
    (least / 10).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_own_limit_and_a_running_handler_has_none() {
        let config = Config { idle_timeout: Some(Duration::from_secs(5)), ..Config::default() };
        let after = |phase, seconds: u64| overdue(phase, 1000, 1000 + seconds * 1000, &config);
        assert_eq!(after(Phase::Idle, 4), None);
        assert_eq!(after(Phase::Idle, 5), Some(CloseReason::IdleTimeout));
        assert_eq!(after(Phase::Receiving, 30), Some(CloseReason::MessageTimeout));
        assert_eq!(after(Phase::Sending, 30), Some(CloseReason::WriteTimeout));
        assert_eq!(after(Phase::Answering, 1_000_000), None);
    }

    #[test]
    fn without_an_idle_limit_nobody_is_cut_for_being_silent() {
        assert_eq!(overdue(Phase::Idle, 0, u64::MAX, &Config::default()), None);
    }

    #[test]
    fn a_stamp_from_the_future_is_not_overdue() {
        assert_eq!(overdue(Phase::Sending, 10, 5, &Config::default()), None);
    }
}
