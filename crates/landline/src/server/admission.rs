//! Who is let in: a verdict with a reason, before any handler sees the caller. Pure, but for the count it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::table::{Admitted, Table};
use crate::event::Refusal;

/// The decision on one caller.
#[derive(Debug)]
pub(crate) enum Verdict {
    Admit(Admitted),
    Refuse(Refusal),
}

/// One exact number for the whole server, whichever thread accepts.
#[derive(Debug)]
pub(crate) struct Admission {
    table: Arc<Table>,
    max_connections: usize,
}

impl Admission {
    /// What a caller is told who is one too many.
    pub(crate) const BUSY: &[u8] = b"busy\n";

    pub(crate) fn new(table: Arc<Table>, max_connections: usize) -> Self {
        Self { table, max_connections }
    }

    /// Decides on a caller with this descriptor.
    pub(crate) fn admit(&self, descriptor: usize) -> Verdict {
        // A descriptor beyond the table can only come from a process that holds very many of its own.
        let admitted =
            if self.table.holds(descriptor) { self.table.admit(self.max_connections) } else { None };
        admitted.map_or(Verdict::Refuse(Refusal::Busy), Verdict::Admit)
    }

    /// What a refused caller is told.
    pub(crate) fn words(refusal: Refusal) -> &'static [u8] {
        match refusal {
            Refusal::Busy => Self::BUSY,
        }
    }
}

/// Lets something that may happen very often be said once a second, with a count. Threads share one.
#[derive(Debug, Default)]
pub(crate) struct OnceASecond {
    /// When it may be said again: milliseconds of the server's clock.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl OnceASecond {
    /// Counts `more`, and returns the count to say if something is to be said now.
    pub(crate) fn count(&self, more: u64, now: u64) -> Option<u64> {
        self.unsaid.fetch_add(more, Relaxed);
        let next = self.next.load(Relaxed);
        let mine = now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok();
        mine.then(|| self.unsaid.swap(0, Relaxed))
    }

    /// What was counted and never said, once it may be said.
    pub(crate) fn rest(&self, now: u64) -> Option<u64> {
        if self.unsaid.load(Relaxed) == 0 { None } else { self.count(0, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_after_the_last_place_is_refused_as_busy() {
        let table = Table::new(4).unwrap();
        let admission = Admission::new(Arc::clone(&table), 1);
        let Verdict::Admit(admitted) = admission.admit(3) else { panic!("there was a place") };
        assert!(matches!(admission.admit(3), Verdict::Refuse(Refusal::Busy)));
        drop(admitted);
        assert!(matches!(admission.admit(4), Verdict::Refuse(Refusal::Busy)), "no slot for this descriptor");
        assert!(matches!(admission.admit(3), Verdict::Admit(_)));
    }

    #[test]
    fn what_happens_often_is_said_once_a_second_and_nothing_goes_uncounted() {
        let often = OnceASecond::default();
        assert_eq!(often.count(1, 0), Some(1));
        assert_eq!(often.count(2, 1), None);
        assert_eq!(often.count(3, 999), None);
        assert_eq!(often.rest(999), None);
        assert_eq!(often.rest(1000), Some(5));
        assert_eq!(often.rest(5000), None);
    }
}
