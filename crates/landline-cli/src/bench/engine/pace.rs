//! When requests may be sent. Pure: it is given the time, in nanoseconds since the run began.

/// How a run decides when to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As soon as there is room for one more in flight: the server decides.
    Closed,
    /// So many per second, evenly, whatever the server does.
    Open {
        /// Of all connections together.
        per_second: f64,
    },
}

/// The requests of some connections in an open loop: request `k` of the run is meant for `k / rate`, and
/// belongs to connection `k` modulo the number of connections.
#[derive(Debug)]
pub(super) struct Rota {
    per_second: f64,
    connections: u64,
    /// The numbers of those that are served here, in their order.
    mine: Vec<u64>,
    round: u64,
    position: usize,
}

impl Rota {
    pub(super) fn new(per_second: f64, connections: u64, mine: Vec<u64>) -> Self {
        Self { per_second, connections, mine, round: 0, position: 0 }
    }

    /// When the next request is meant to be sent.
    pub(super) fn next_at(&self) -> u64 {
        meant_for(self.round, self.mine[self.position], self.connections, self.per_second)
    }

    /// The place of the connection whose turn it is, if it is by now.
    pub(super) fn take(&mut self, now: u64) -> Option<usize> {
        if self.next_at() > now {
            return None;
        }
        let place = self.position;
        self.position += 1;
        if self.position == self.mine.len() {
            (self.position, self.round) = (0, self.round + 1);
        }
        Some(place)
    }
}

/// The requests of one connection.
#[derive(Debug)]
pub(super) enum Turns {
    /// Whenever there is room.
    Any,
    /// Its share of an open loop.
    Meant { number: u64, connections: u64, per_second: f64, round: u64 },
}

impl Turns {
    pub(super) fn new(pace: Pace, number: u64, connections: u64) -> Self {
        match pace {
            Pace::Closed => Turns::Any,
            Pace::Open { per_second } => Turns::Meant { number, connections, per_second, round: 0 },
        }
    }

    /// When the next request was meant to be sent, if one is due.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        match *self {
            Turns::Any => Some(now),
            Turns::Meant { number, connections, per_second, round } => {
                Some(meant_for(round, number, connections, per_second)).filter(|at| *at <= now)
            }
        }
    }

    /// The one that was due is sent.
    pub(super) fn sent(&mut self) {
        if let Turns::Meant { round, .. } = self {
            *round += 1;
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "exact up to 2^53 nanoseconds, which are a hundred days"
)]
fn meant_for(round: u64, number: u64, connections: u64, per_second: f64) -> u64 {
    let index = round * connections + number;
    (index as f64 * 1e9 / per_second) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_evenly_spaced_and_connections_take_turns() {
        let mut rota = Rota::new(1000.0, 3, vec![0, 1, 2]);
        let mut taken = Vec::new();
        for now in (0..6_000_000).step_by(500_000) {
            while let Some(place) = rota.take(now) {
                taken.push((now, place));
            }
        }
        let expected = [0, 1, 2, 3, 4, 5].map(|k| (k * 1_000_000, usize::try_from(k % 3).unwrap()));
        assert_eq!(taken, expected);
    }

    #[test]
    fn two_threads_share_a_rate_without_a_gap() {
        let mut rotas = [Rota::new(10.0, 3, vec![0, 2]), Rota::new(10.0, 3, vec![1])];
        let mut at: Vec<u64> = Vec::new();
        for rota in &mut rotas {
            while rota.next_at() < 1_000_000_000 {
                at.push(rota.next_at());
                rota.take(u64::MAX);
            }
        }
        at.sort_unstable();
        assert_eq!(at, (0..10).map(|k| k * 100_000_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_connection_that_fell_behind_sends_with_the_time_that_was_meant() {
        let mut turns = Turns::new(Pace::Open { per_second: 10.0 }, 1, 2);
        assert_eq!(turns.due(99_999_999), None);
        assert_eq!(turns.due(700_000_000), Some(100_000_000));
        turns.sent();
        assert_eq!(turns.due(700_000_000), Some(300_000_000));
        assert_eq!(Turns::new(Pace::Closed, 1, 2).due(7), Some(7));
    }
}
