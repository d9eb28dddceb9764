//! The asks of one connection, in the order in which their answers will come. No I/O, no clock.

use std::collections::VecDeque;

/// What was handed to a connection and has no answer, oldest first.
///
/// Answers carry no name: the first that comes belongs to the oldest. So an ask stays here, and takes its
/// answer, even when nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Flight<A> {
    asks: VecDeque<Flying<A>>,
    /// How many bytes were handed to the connection.
    handed: u64,
    /// How many of them the system has taken.
    written: u64,
}

#[derive(Debug)]
struct Flying<A> {
    ask: A,
    /// Where its first byte is in what is sent.
    begins_at: u64,
}

/// How far a message came before its connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// No byte of it has left this program.
    Not,
    /// Some of it did, or all: the server may have acted on it.
    Maybe,
}

impl<A> Flight<A> {
    pub(super) fn new() -> Self {
        Self { asks: VecDeque::new(), handed: 0, written: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// An ask whose message, of `len` bytes, will be written after all those before it.
    pub(super) fn push(&mut self, ask: A, len: usize) {
        self.asks.push_back(Flying { ask, begins_at: self.handed });
        self.handed += len as u64;
    }

    /// So many more bytes were written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += count as u64;
    }

    /// Whose answer has come. `None` when nobody has asked: no ask is here, or not a byte of it is out.
    pub(super) fn answered(&mut self) -> Option<A> {
        self.asks.front().filter(|oldest| oldest.begins_at < self.written)?;
        self.asks.pop_front().map(|oldest| oldest.ask)
    }

    /// All that will get no answer here, in order.
    pub(super) fn lose(self) -> impl Iterator<Item = (A, Sent)> {
        let written = self.written;
        self.asks
            .into_iter()
            .map(move |lost| (lost.ask, if lost.begins_at < written { Sent::Maybe } else { Sent::Not }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_for_the_oldest_and_only_for_one_of_which_something_was_sent() {
        let mut flight = Flight::new();
        assert_eq!(flight.answered(), None::<char>);
        flight.push('a', 5);
        flight.push('b', 5);
        assert_eq!(flight.answered(), None, "nothing is out");
        flight.wrote(5);
        assert_eq!(flight.answered(), Some('a'));
        assert_eq!(flight.answered(), None, "b is still here");
        flight.wrote(1);
        flight.push('c', 5);
        assert_eq!(flight.lose().collect::<Vec<_>>(), [('b', Sent::Maybe), ('c', Sent::Not)]);
    }

    proptest! {
        /// Whatever is written and answered in between, answers come in the order of the asks, none before a
        /// byte of it is out, and every ask is answered or lost exactly once.
        #[test]
        fn every_ask_ends_once_and_in_its_order(steps in prop::collection::vec((0..3_u8, 1..20_usize), 0..200)) {
            let mut flight = Flight::new();
            let (mut asked, mut ended, mut unwritten) = (0_u32, Vec::new(), 0);
            for (step, len) in steps {
                match step {
                    0 => {
                        flight.push(asked, len);
                        asked += 1;
                        unwritten += len;
                    }
                    1 => {
                        let count = len.min(unwritten);
                        unwritten -= count;
                        flight.wrote(count);
                    }
                    _ => ended.extend(flight.answered()),
                }
            }
            let lost: Vec<(u32, Sent)> = flight.lose().collect();
            let maybe = lost.iter().take_while(|(_, sent)| *sent == Sent::Maybe).count();
            prop_assert!(lost[maybe..].iter().all(|(_, sent)| *sent == Sent::Not));
            ended.extend(lost.into_iter().map(|(ask, _)| ask));
            prop_assert_eq!(ended, (0..asked).collect::<Vec<_>>());
        }
    }
}
