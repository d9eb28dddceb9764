//! What a keeper and its workers have: made at the start, or taken over from a program before.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, getpid, getppid};

use super::memory::{HEIR, Memory};
use super::upgrade::own_id;
use super::{arrival, candidate, origin, sweep};
use crate::server::TABLE_MAX;
use crate::sys::descriptors::{self, Identity};
use crate::sys::{clone, limits};

/// What the keeper made for its workers, who find it in their copy of its memory.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) memory: &'static Memory,
    /// Rung when there is an order.
    pub(super) bell: OwnedFd,
    pub(super) keeper: Pid,
    /// Who has started it, by its id.
    pub(super) parent: Option<i32>,
    /// Where this program lies.
    pub(super) program: PathBuf,
    /// What the program had open.
    pub(super) from_the_start: FromTheStart,
    /// All descriptors have numbers below this.
    pub(super) numbers: RawFd,
    /// Children that the program had: nothing of the server.
    pub(super) children: BTreeSet<i32>,
}

type FromTheStart = Vec<(RawFd, Identity)>;

static KEPT: OnceLock<Kept> = OnceLock::new();

impl Kept {
    pub(super) fn this() -> Option<&'static Self> {
        KEPT.get()
    }

    pub(super) fn process_id(&self) -> u32 {
        self.memory.decision().main.load(Relaxed).unsigned_abs()
    }

    /// Has the worker look whether there is something for it.
    pub(super) fn ring(&self) {
        // It fails only when the count is full, which is news enough.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// With the memory of a program before this one, if it takes one over.
    pub(super) fn new(inherited: Option<&'static Memory>) -> io::Result<&'static Self> {
        if clone::threads()? != 1 {
            return Err(io::Error::other("it is for a process that has no other threads yet"));
        }
        let open_files = limits::raise_open_files()?.min(TABLE_MAX);
        let numbers = RawFd::try_from(open_files).unwrap_or(RawFd::MAX);
        let program = origin::of_program();
        let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
        let (memory, bell, from_the_start) = match inherited {
            Some(memory) => Self::take_over(memory, parent, numbers)?,
            None => Self::begin(numbers)?,
        };
        if inherited.is_none() {
            memory.decision().program.set(program.as_os_str().as_encoded_bytes());
        }
        arrival::forget()?;
        // The kernel makes the table larger step by step, and whoever accepts waits for it. If it can't now,
        // it may then.
        drop(rustix::io::fcntl_dupfd_cloexec(&bell, numbers - 1));
        let children = candidate::children()?;
        let keeper = getpid();
        let kept = Self { memory, bell, keeper, parent, program, from_the_start, numbers, children };
        let mut kept = Some(kept);
        let here = KEPT.get_or_init(|| kept.take().expect("it was made just now"));
        if kept.is_some() { Err(io::Error::other("it keeps one already")) } else { Ok(here) }
    }

    fn begin(numbers: RawFd) -> io::Result<(&'static Memory, OwnedFd, FromTheStart)> {
        let from_the_start = sweep::open_now(numbers);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // It is there for as long as the process.
        let memory: &'static Memory = Box::leak(Box::new(Memory::new()?));
        memory.header().write(bell.as_raw_fd());
        memory.decision().succeed();
        memory.decision().main.store(own_id(), Relaxed);
        Ok((memory, bell, from_the_start))
    }

    fn take_over(
        memory: &'static Memory,
        parent: Option<i32>,
        numbers: RawFd,
    ) -> io::Result<(&'static Memory, OwnedFd, FromTheStart)> {
        let bell = Some(memory.header().bell()).filter(|bell| *bell > 2 && *bell != memory.number());
        let bell = bell.and_then(descriptors::take).ok_or_else(|| io::Error::other("it has no bell"))?;
        let from_the_start = sweep::not_on_record(numbers, memory, bell.as_raw_fd());
        let decision = memory.decision();
        if !arrival::is_by_upgrade() {
            decision.succeed();
            // It is decided who is keeper: whoever becomes its worker may serve.
            let control = memory.control();
            let _ = control.served.compare_exchange(HEIR, control.worker.load(Relaxed), AcqRel, Relaxed);
            // The first program is gone, and no other watches.
            if parent != Some(decision.main.load(Relaxed)) {
                decision.main.store(own_id(), Relaxed);
            }
        }
        Ok((memory, bell, from_the_start))
    }
}
