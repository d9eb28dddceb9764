//! What one thread counted while it ran.

use std::time::Duration;

use crate::bench::latencies::{Latencies, Live, Sparse};

/// A run of a day has this many seconds; what comes later counts into the last.
const SECONDS_MAX: usize = 86_400;

/// Why a request or a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Refused,
    Unreachable,
    ConnectTimeout,
    Reset,
    ClosedEarly,
    ReplyTimeout,
    WrongReply,
    ExtraBytes,
    Local,
    Other,
}

impl ErrorKind {
    /// Every kind, in the order in which a request can meet them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Reset,
        Self::ClosedEarly,
        Self::ReplyTimeout,
        Self::WrongReply,
        Self::ExtraBytes,
        Self::Local,
        Self::Other,
    ];

    /// Its name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::ReplyTimeout => "reply_timeout",
            Self::WrongReply => "wrong_reply",
            Self::ExtraBytes => "extra_bytes",
            Self::Local => "local",
            Self::Other => "other",
        }
    }

    /// What happened, for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "host or network unreachable",
            Self::ConnectTimeout => "no connection in time",
            Self::Reset => "connection reset",
            Self::ClosedEarly => "closed before the reply",
            Self::ReplyTimeout => "no reply in time",
            Self::WrongReply => "wrong reply",
            Self::ExtraBytes => "bytes that nobody asked for",
            Self::Local => "no descriptor or port left on this machine",
            Self::Other => "other errors",
        }
    }
}

/// How many errors there were of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Errors([u64; ErrorKind::ALL.len()]);

impl Errors {
    pub(crate) fn of(&self, kind: ErrorKind) -> u64 {
        self.0[kind as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that occurred, the most frequent first.
    pub(crate) fn by_frequency(&self) -> Vec<(ErrorKind, u64)> {
        let counts = ErrorKind::ALL.into_iter().map(|kind| (kind, self.of(kind)));
        let mut counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    fn add(&mut self, kind: ErrorKind, count: u64) {
        self.0[kind as usize] += count;
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// What one thread counted; all of them merged are a [`Summary`](super::summary::Summary). Every `at` is the
/// time since the run began.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(super) requests: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) errors: Errors,
    /// From the actual send to the whole reply, of right replies.
    pub(super) from_send: Latencies,
    /// The same from the intended send, where there was one.
    pub(super) from_schedule: Latencies,
    /// How much later than intended a request was sent.
    pub(super) slip: Latencies,
    pub(super) connects: Latencies,
    pub(super) seconds: Vec<Interval>,
    live: Live,
}

/// What happened in one second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interval {
    pub(super) replies: u64,
    pub(super) errors: u64,
    pub(super) latency: Sparse,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            bytes_sent: 0,
            bytes_received: 0,
            errors: Errors::default(),
            from_send: Latencies::new(),
            from_schedule: Latencies::new(),
            slip: Latencies::new(),
            connects: Latencies::new(),
            seconds: Vec::new(),
            live: Live::new(),
        }
    }

    /// A connection was made.
    pub(crate) fn connected(&mut self, took: Duration) {
        self.connects.record(took);
    }

    /// A request was sent, in an open loop so much later than intended.
    pub(crate) fn sent(&mut self, bytes: usize, slip: Option<Duration>) {
        self.requests += 1;
        self.bytes_sent += bytes as u64;
        if let Some(slip) = slip {
            self.slip.record(slip);
        }
    }

    /// Bytes came, whether or not they are a right reply.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes_received += bytes as u64;
    }

    /// A right reply was complete, so long after the request was sent and, in an open loop, was to be sent.
    pub(crate) fn replied(&mut self, at: Duration, from_send: Duration, from_schedule: Option<Duration>) {
        self.from_send.record(from_send);
        if let Some(time) = from_schedule {
            self.from_schedule.record(time);
        }
        self.second(at).replies += 1;
        self.live.record(from_schedule.unwrap_or(from_send));
    }

    /// So many requests or connections failed.
    pub(crate) fn failed(&mut self, at: Duration, kind: ErrorKind, count: u64) {
        self.errors.add(kind, count);
        self.second(at).errors += count;
    }

    /// Adds what another thread counted.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.close_second();
        other.close_second();
        self.requests += other.requests;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.errors.merge(&other.errors);
        self.from_send.merge(&other.from_send);
        self.from_schedule.merge(&other.from_schedule);
        self.slip.merge(&other.slip);
        self.connects.merge(&other.connects);
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize_with(other.seconds.len(), Interval::default);
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(other.seconds) {
            mine.replies += theirs.replies;
            mine.errors += theirs.errors;
            mine.latency.merge(theirs.latency);
        }
    }

    /// What happened in a second that is over.
    pub(crate) fn over(&mut self, second: usize) -> Interval {
        self.close_second();
        self.seconds.get(second).cloned().unwrap_or_default()
    }

    /// The second under way. Time that goes back by a little counts into it too.
    fn second(&mut self, at: Duration) -> &mut Interval {
        let now = usize::try_from(at.as_secs()).unwrap_or(SECONDS_MAX).min(SECONDS_MAX - 1);
        if now >= self.seconds.len() {
            self.close_second();
            self.seconds.resize_with(now + 1, Interval::default);
        }
        self.seconds.last_mut().expect("there is the one of now")
    }

    fn close_second(&mut self) {
        if let Some(last) = self.seconds.last_mut() {
            last.latency.merge(self.live.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_threads_counted_is_merged_second_by_second() {
        let (mut one, mut other) = (Tally::new(), Tally::new());
        one.connected(MS);
        one.sent(10, None);
        one.received(12);
        one.replied(MS, MS, None);
        other.sent(10, Some(MS));
        other.replied(2 * SECOND, MS, Some(3 * MS));
        other.failed(2 * SECOND, ErrorKind::Reset, 4);
        one.merge(other);
        assert_eq!((one.requests, one.bytes_sent, one.bytes_received), (2, 20, 12));
        assert_eq!((one.from_send.count(), one.from_schedule.count(), one.slip.count()), (2, 1, 1));
        assert_eq!((one.connects.count(), one.errors.of(ErrorKind::Reset)), (1, 4));
        let seconds: Vec<_> = one.seconds.iter().map(|second| (second.replies, second.errors)).collect();
        assert_eq!(seconds, [(1, 0), (0, 0), (1, 4)]);
        // The latency of the series is the one from the schedule, where there is one.
        let [longest] = one.seconds.remove(2).latency.quantiles([1.0]);
        assert!(longest.is_some_and(|longest| longest > 2 * MS));
    }

    #[test]
    fn time_that_goes_back_or_on_for_ever_is_counted_all_the_same() {
        let mut tally = Tally::new();
        tally.replied(SECOND, MS, None);
        tally.replied(Duration::ZERO, MS, None);
        assert_eq!(tally.seconds[1].replies, 2);
        tally.replied(Duration::MAX, MS, None);
        assert_eq!(tally.seconds.len(), SECONDS_MAX);
    }

    #[test]
    fn errors_are_listed_by_how_often_they_occurred() {
        let mut errors = Errors::default();
        errors.add(ErrorKind::Refused, 1);
        errors.add(ErrorKind::Other, 5);
        assert_eq!(errors.by_frequency(), [(ErrorKind::Other, 5), (ErrorKind::Refused, 1)]);
        assert_eq!(errors.total(), 6);
        for (place, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{}", kind.name());
        }
    }
}
