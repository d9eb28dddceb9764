//! Who is let in: a verdict with a reason, before any handler sees the caller. Pure, but for the count it
//! keeps.

use std::sync::Arc;

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
}
