//! What a server holds: it must not grow with each process that was killed.

use std::time::Duration;

use rustix::process::Pid;

use super::fault::processes;
use crate::Outcome;
use crate::trial::proc::{descriptors, nameless_files, proportional};
use crate::trial::program::pause;

/// How long nothing may change until that is taken for the end of it, and how often that is tried.
const STEADY: Duration = Duration::from_millis(200);
const TRIES: usize = 50;

/// Of all its processes.
#[derive(Debug)]
pub(super) struct Held {
    /// Those of the worker and its keeper, who share one table of them; a first program that is neither has closed
    /// its own.
    pub(super) descriptors: u64,
    /// Memory in bytes; what several processes have in common is counted once.
    pub(super) memory: u64,
    /// Memory in bytes that is there whether or not a process has it in use.
    pub(super) nameless: u64,
}

impl Held {
    /// What is held when the callers have gone, and the server has noticed.
    pub(super) fn settled(first: Pid) -> Outcome<Self> {
        let processes = processes(first)?;
        let worker = *processes.last().unwrap_or(&first);
        let mut last = descriptors(worker)?;
        for _ in 0..TRIES {
            pause(STEADY);
            let now = descriptors(worker)?;
            if now == last {
                return Self::now(&processes, worker);
            }
            last = now;
        }
        Err("its descriptors do not come to rest".to_owned())
    }

    fn now(processes: &[Pid], worker: Pid) -> Outcome<Self> {
        let memory: Outcome<Vec<u64>> = processes.iter().copied().map(proportional).collect();
        Ok(Self {
            descriptors: descriptors(worker)? as u64,
            memory: memory?.into_iter().sum(),
            nameless: nameless_files(worker)?,
        })
    }
}
