//! How far a connection is, so that another process can go on with it whenever this one is killed.
//!
//! What was received and what was sent the kernel counts itself. A checkpoint says which part of the input is
//! answered, where the rest of it lies, and where the replies lie that are being sent. There are two, and one
//! store says which of them holds: killed at any moment, a process leaves one that is whole.

#![cfg_attr(
    not(all(target_os = "linux", feature = "takeover")),
    allow(dead_code, reason = "where no process takes over, nobody goes on with what was left")
)]

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::buffer::Buffer;
use crate::sys::arena::Handle;

/// How far a connection is. Offsets count from the start of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Up to which offset of the input every message is answered.
    pub(crate) answered: u64,
    /// At which offset of the output the replies begin that are being sent.
    pub(crate) sent: u64,
    /// Where input is received; nobody says how much of it is there but the kernel.
    pub(crate) input: Handle,
    /// How much of that is answered.
    pub(crate) consumed: u32,
    /// Where the replies lie that are being sent.
    pub(crate) output: Handle,
    pub(crate) output_len: u32,
    /// Where the session lies, as bytes.
    pub(crate) session: Handle,
    pub(crate) session_len: u32,
    pub(crate) state: State,
}

/// What becomes of a connection whose process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    /// It goes on.
    Live = 0,
    /// It ends once the replies are sent.
    Closing = 1,
    /// It is lost: a part of an unfinished answer was sent, or its end has begun.
    Torn = 2,
}

impl Checkpoint {
    pub(crate) const START: Self = Self {
        answered: 0,
        sent: 0,
        input: Handle::NONE,
        consumed: 0,
        output: Handle::NONE,
        output_len: 0,
        session: Handle::NONE,
        session_len: 0,
        state: State::Live,
    };

    /// The offset of the input at which `input` begins.
    pub(crate) fn base(&self) -> Option<u64> {
        self.answered.checked_sub(u64::from(self.consumed))
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        !self.input.is_some() && !self.output.is_some()
    }

    /// The memory that it needs.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Handle> + use<> {
        [self.input, self.output, self.session].into_iter().filter(|handle| handle.is_some())
    }
}

/// What a connection had in hand when its process was killed.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// What was received, of which so many bytes are answered.
    pub(crate) input: Option<Buffer>,
    pub(crate) consumed: usize,
    /// Replies, of which so many bytes are sent.
    pub(crate) output: Option<Buffer>,
    pub(crate) sent: usize,
    pub(crate) session: Option<Buffer>,
    pub(crate) is_closing: bool,
}

impl Left {
    /// Whether it was at rest, and its service had nothing to remember.
    pub(crate) fn is_nothing(&self) -> bool {
        let is_empty = self.input.is_none() && self.output.is_none() && self.session.is_none();
        is_empty && self.consumed == 0 && self.sent == 0 && !self.is_closing
    }
}

/// The two checkpoints of a connection. Only its thread writes them.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Checkpoints {
    /// 0: none was written yet; the parity of others is the one that holds.
    turn: AtomicU32,
    records: [Record; 2],
}

#[derive(Debug)]
#[repr(C)]
struct Record {
    answered: AtomicU64,
    sent: AtomicU64,
    input: AtomicU32,
    consumed: AtomicU32,
    output: AtomicU32,
    output_len: AtomicU32,
    session: AtomicU32,
    session_len: AtomicU32,
    state: AtomicU32,
}

const _: () = assert!(size_of::<Checkpoints>() == 128, "two cache lines");

impl Checkpoints {
    /// Belongs to a new connection.
    pub(crate) fn clear(&self) {
        self.turn.store(0, Release);
    }

    /// The one that holds, if any was written.
    #[inline]
    pub(crate) fn current(&self) -> Option<Checkpoint> {
        let turn = self.turn.load(Acquire);
        (turn > 0).then(|| self.records[turn as usize % 2].load())
    }

    /// Puts one in the place of the other. Whatever it says has to be so by now, and what the other said has
    /// to stay so until this returns.
    #[inline]
    pub(crate) fn publish(&self, checkpoint: &Checkpoint) {
        let turn = self.turn.load(Relaxed).checked_add(1).unwrap_or(2);
        self.records[turn as usize % 2].store(checkpoint);
        self.turn.store(turn, Release);
    }

    /// Puts a changed one in its place.
    #[inline]
    pub(crate) fn update(&self, change: impl FnOnce(&mut Checkpoint)) {
        self.begin_or_update(|| 0, change);
    }

    /// The same; if there is none yet, of one whose first message `begins` there in the input.
    #[inline]
    pub(crate) fn begin_or_update(&self, begins: impl FnOnce() -> u64, change: impl FnOnce(&mut Checkpoint)) {
        let start = || Checkpoint { answered: begins(), ..Checkpoint::START };
        let mut checkpoint = self.current().unwrap_or_else(start);
        change(&mut checkpoint);
        self.publish(&checkpoint);
    }
}

impl Record {
    #[inline]
    fn load(&self) -> Checkpoint {
        Checkpoint {
            answered: self.answered.load(Relaxed),
            sent: self.sent.load(Relaxed),
            input: Handle::from_bits(self.input.load(Relaxed)),
            consumed: self.consumed.load(Relaxed),
            output: Handle::from_bits(self.output.load(Relaxed)),
            output_len: self.output_len.load(Relaxed),
            session: Handle::from_bits(self.session.load(Relaxed)),
            session_len: self.session_len.load(Relaxed),
            state: match self.state.load(Relaxed) {
                0 => State::Live,
                1 => State::Closing,
                _ => State::Torn,
            },
        }
    }

    #[inline]
    fn store(&self, checkpoint: &Checkpoint) {
        self.answered.store(checkpoint.answered, Relaxed);
        self.sent.store(checkpoint.sent, Relaxed);
        self.input.store(checkpoint.input.bits(), Relaxed);
        self.consumed.store(checkpoint.consumed, Relaxed);
        self.output.store(checkpoint.output.bits(), Relaxed);
        self.output_len.store(checkpoint.output_len, Relaxed);
        self.session.store(checkpoint.session.bits(), Relaxed);
        self.session_len.store(checkpoint.session_len, Relaxed);
        self.state.store(checkpoint.state as u32, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::region::Region;

    #[test]
    fn the_one_that_holds_is_the_last_that_was_published_whole() {
        let region = Region::<Checkpoints>::new(1).unwrap();
        let checkpoints = &region[0];
        assert_eq!(checkpoints.current(), None);
        for answered in 1..5 {
            checkpoints.publish(&Checkpoint { answered, state: State::Closing, ..Checkpoint::START });
            // The other is being written when the process is killed.
            let turn = checkpoints.turn.load(Relaxed) as usize;
            checkpoints.records[(turn + 1) % 2].answered.store(99, Relaxed);
            let current = checkpoints.current().unwrap();
            assert_eq!((current.answered, current.state), (answered, State::Closing));
        }
        checkpoints.turn.store(u32::MAX, Relaxed);
        checkpoints.publish(&Checkpoint { answered: 7, ..Checkpoint::START });
        assert_eq!(checkpoints.current().unwrap().answered, 7, "turns begin anew, and never at none");
        checkpoints.clear();
        assert_eq!(checkpoints.current(), None);
    }
}
