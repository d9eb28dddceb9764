//! Many connections in one second, summed up.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Record;
use super::line::Line;
use crate::event::Event;

/// How many connections in one second have lines of their own; the others are summed up at its end.
const LINES_PER_SECOND: u32 = 20;

/// The lines about single connections within one second.
#[derive(Default)]
pub(super) struct Second {
    /// When it began; none while there is nothing to count.
    began: Option<Instant>,
    shown: [u32; Self::KINDS],
    unshown: [u32; Self::KINDS],
}

impl Second {
    const KINDS: usize = 4;
    const LENGTH: Duration = Duration::from_secs(1);

    /// Whether an event is to have a line of its own; if not, it is counted.
    pub(super) fn shows(&mut self, event: &Event) -> bool {
        let kind = match event {
            Event::Connected { .. } => 0,
            Event::Closed { .. } => 1,
            Event::Refused { .. } => 2,
            Event::AcceptFailed { .. } => 3,
            _ => return true,
        };
        self.began.get_or_insert_with(Instant::now);
        let shows = self.shown[kind] < LINES_PER_SECOND;
        (if shows { &mut self.shown } else { &mut self.unshown })[kind] += 1;
        shows
    }

    pub(super) fn is_over(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= Self::LENGTH)
    }

    /// Begins anew, and returns what had no line.
    pub(super) fn end(&mut self) -> Option<Line<'static>> {
        let Self { unshown, .. } = std::mem::take(self);
        let [connected, closed, refused, failed] = unshown;
        (unshown != [0; Self::KINDS]).then_some(Line::Summary { connected, closed, refused, failed })
    }

    /// Waits for the next record, or until there is something to sum up.
    pub(super) fn wait_for(&self, records: &Receiver<Record>) -> Result<Record, RecvTimeoutError> {
        match self.began {
            Some(began) if self.unshown != [0; Self::KINDS] => {
                records.recv_timeout(Self::LENGTH.saturating_sub(began.elapsed()))
            }
            _ => records.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }
}
