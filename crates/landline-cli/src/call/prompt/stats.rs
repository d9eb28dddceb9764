//! `/stats`: what a session has come to.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::call::Took;
use crate::call::watch::Times;

/// What is counted over all connections of a session.
pub(super) struct Stats {
    connections: u32,
    /// Since when the current connection is there.
    since: Option<Instant>,
    messages: u64,
    /// In microseconds.
    round_trips: Histogram<u64>,
    last: Option<Duration>,
}

impl Stats {
    pub(super) fn new() -> Self {
        // Up to an hour, to three digits.
        let round_trips = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds make sense");
        Self { connections: 0, since: None, messages: 0, round_trips, last: None }
    }

    pub(super) fn connected(&mut self) {
        self.connections += 1;
        self.since = Some(Instant::now());
    }

    pub(super) fn ended(&mut self) {
        self.since = None;
    }

    pub(super) fn sent(&mut self) {
        self.messages += 1;
    }

    pub(super) fn answered(&mut self, took: Duration) {
        self.last = Some(took);
        self.round_trips.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// In words; `times` are those of the connection.
    pub(super) fn told<'a>(&'a self, times: &'a Times) -> Told<'a> {
        Told(self, times)
    }
}

pub(super) struct Told<'a>(&'a Stats, &'a Times);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(stats, times) = self;
        match stats.since {
            None => write!(f, "not connected")?,
            Some(since) => write!(f, "connected for {}", Took(since.elapsed()))?,
        }
        let again = stats.connections.saturating_sub(1);
        write!(f, " · {again} reconnects · {} messages sent", stats.messages)?;
        write!(f, "\nthis connection: {} B out, {} B in", times.bytes_sent, times.bytes_received)?;
        if let Some(way) = times.way {
            write!(
                f,
                " · {}, rtt {}, {} segments sent again",
                way.state,
                Took(way.round_trip),
                way.retransmits
            )?;
        }
        if let Some(last) = stats.last {
            let took = |micros| Took(Duration::from_micros(micros));
            let trips = &stats.round_trips;
            write!(
                f,
                "\nreplies: last after {}, least {}, median {}, most {}",
                Took(last),
                took(trips.min()),
                took(trips.value_at_quantile(0.5)),
                took(trips.max())
            )?;
        }
        Ok(())
    }
}
