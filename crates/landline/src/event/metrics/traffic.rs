//! Messages and bytes: of the connections that closed, and of those that are open.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::server::Totals;

/// What connections have done.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Traffic {
    messages: Count,
    bytes_in: Count,
    bytes_out: Count,
}

#[derive(Debug, Default)]
#[repr(C)]
struct Count {
    /// Of the connections that closed.
    closed: AtomicU64,
    /// The most that anybody was told.
    told: AtomicU64,
}

/// What connections have done, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Told {
    pub(super) messages: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Traffic {
    /// A connection closed that had done all this.
    pub(super) fn close(&self, messages: u64, bytes_in: u64, bytes_out: u64) {
        self.messages.close(messages);
        self.bytes_in.close(bytes_in);
        self.bytes_out.close(bytes_out);
    }

    /// All there was so far, with what `live` says the open connections have done.
    ///
    /// A connection leaves the table first and is counted as closed then. So those that closed are looked at
    /// before the table is: no connection is in both. One that is in neither makes the sum too small, and
    /// then the sum that was told before holds: a counter never goes down.
    pub(super) fn tell(&self, live: impl FnOnce() -> Totals) -> Told {
        let counts = [&self.messages, &self.bytes_in, &self.bytes_out];
        let closed = counts.map(|count| count.closed.load(Acquire));
        let live = live();
        let [messages, bytes_in, bytes_out] = closed;
        Told {
            messages: self.messages.tell(messages.saturating_add(live.messages)),
            bytes_in: self.bytes_in.tell(bytes_in.saturating_add(live.bytes_in)),
            bytes_out: self.bytes_out.tell(bytes_out.saturating_add(live.bytes_out)),
        }
    }
}

impl Count {
    /// Released, so that whoever sees it also sees that the connection is not in the table.
    fn close(&self, count: u64) {
        self.closed.fetch_add(count, Release);
    }

    fn tell(&self, sum: u64) -> u64 {
        self.told.fetch_max(sum, Relaxed).max(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(count: u64) -> Totals {
        let mut totals = Totals::default();
        (totals.messages, totals.bytes_in, totals.bytes_out) = (count, 10 * count, 100 * count);
        totals
    }

    fn told(count: u64) -> Told {
        Told { messages: count, bytes_in: 10 * count, bytes_out: 100 * count }
    }

    #[test]
    fn what_open_connections_have_done_is_added_to_what_closed_ones_had() {
        let traffic = Traffic::default();
        assert_eq!(traffic.tell(|| live(0)), told(0));
        traffic.close(3, 30, 300);
        assert_eq!(traffic.tell(|| live(0)), told(3));
        assert_eq!(traffic.tell(|| live(4)), told(7));
    }

    #[test]
    fn no_count_goes_down_while_a_connection_is_neither_open_nor_yet_counted_as_closed() {
        let traffic = Traffic::default();
        assert_eq!(traffic.tell(|| live(5)), told(5));
        assert_eq!(traffic.tell(|| live(0)), told(5));
        traffic.close(5, 50, 500);
        assert_eq!(traffic.tell(|| live(0)), told(5));
    }

    #[test]
    fn a_connection_that_closes_while_the_table_is_read_counts_once() {
        let traffic = Traffic::default();
        let seen_and_then_closed = || {
            traffic.close(5, 50, 500);
            live(5)
        };
        assert_eq!(traffic.tell(seen_and_then_closed), told(5));
        assert_eq!(traffic.tell(|| live(0)), told(5));
    }
}
