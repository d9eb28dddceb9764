//! The connections of a server all together, and those who wait to be one.

use super::listen::ListenAddr;
use super::monitor::State;
use super::table::Table;

/// What all open connections together are doing and have done, as of a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    states: [usize; State::ALL.len()],
    /// How many messages were answered.
    pub messages: u64,
    /// How many bytes came in.
    pub bytes_in: u64,
    /// How many bytes went out.
    pub bytes_out: u64,
}

/// Those who have called a listener and wait to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptQueue {
    /// Where they called.
    pub listener: ListenAddr,
    /// How many they are.
    pub waiting: u32,
    /// How many the kernel lets wait.
    pub max: u32,
}

impl Totals {
    /// How many connections are in this state.
    pub fn in_state(&self, state: State) -> usize {
        self.states[state as usize]
    }

    /// One pass over the table, with no system call.
    pub(super) fn of(table: &Table) -> Self {
        let mut totals = Self::default();
        for slot in table.live() {
            // It may have been cleared just now. What it did stays in it until the next connection has it.
            if let Some(state) = State::of(slot.phase()) {
                totals.states[state as usize] += 1;
            }
            totals.messages = totals.messages.saturating_add(slot.messages());
            totals.bytes_in = totals.bytes_in.saturating_add(slot.bytes_in());
            totals.bytes_out = totals.bytes_out.saturating_add(slot.bytes_out());
        }
        totals
    }
}
