//! The generator: connections that send, wait, hear and check. What is sent when, and when it ends, are
//! values; so is what is counted.

mod caller;
mod fault;
mod pace;
mod stop;
mod worker;

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use landline::frame::Framing;

use super::payload::Payload;
use super::tally::{Interval, Tally};
use super::target::Target;
use crate::exit::{Exit, Failure};
use crate::expect::Expect;
use stop::{Clock, Stop};

pub(crate) use pace::Pace;

/// What a run does.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) connections: u64,
    pub(crate) threads: usize,
    pub(crate) pace: Pace,
    /// How many requests may be in flight on a connection.
    pub(crate) pipeline: usize,
    pub(crate) framing: Framing,
    pub(crate) payload: Payload,
    pub(crate) expect: Expect,
    /// After how many messages a connection ends and another takes its place.
    pub(crate) churn: Option<u64>,
    /// How many connections are begun per second.
    pub(crate) connect_rate: Option<f64>,
    pub(crate) duration: Option<Duration>,
    pub(crate) requests: Option<u64>,
    /// What is measured in this time at the beginning does not count.
    pub(crate) warmup: Duration,
    /// How long connecting and a reply may take.
    pub(crate) timeout: Duration,
}

/// A run as its threads see it.
pub(super) struct Run {
    plan: Plan,
    clock: Clock,
    stop: Stop,
}

impl Run {
    fn timeout(&self) -> u64 {
        stop::nanoseconds(self.plan.timeout)
    }

    fn warmup(&self) -> u64 {
        stop::nanoseconds(self.plan.warmup)
    }

    /// How far a time is into what is measured.
    fn measured(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.warmup()))
    }

    /// Which second after its warm-up a run is in.
    fn second(&self, now: u64) -> Option<usize> {
        let measured = now.checked_sub(self.warmup())?;
        Some(usize::try_from(measured / 1_000_000_000).unwrap_or(usize::MAX))
    }
}

/// What happened on one thread in one second.
#[derive(Debug)]
pub(crate) struct Glimpse {
    /// Which second after the warm-up, from 0.
    pub(crate) second: usize,
    pub(crate) interval: Interval,
}

/// What whoever watches a run is told.
#[derive(Debug)]
pub(crate) enum Moment {
    /// The warm-up of a thread is over: what happens from now on counts.
    WarmedUp,
    /// A thread's second is over.
    Second(Glimpse),
}

/// What a run has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// One for each thread.
    pub(crate) tallies: Vec<Tally>,
    /// How long it was measured.
    pub(crate) lasted: Duration,
    /// Round trip times and retransmits of the connections at the end.
    pub(crate) ways: Vec<(Duration, u32)>,
    /// The CPU time of the generator's threads since their warm-up.
    pub(crate) cpu: Duration,
}

/// Does what a plan says. `watch` is told of each moment of each thread, and says whether to go on.
pub(crate) fn measure(plan: Plan, mut watch: impl FnMut(&Moment) -> bool) -> Result<Measured, Failure> {
    let threads = plan.threads.min(usize::try_from(plan.connections).unwrap_or(usize::MAX)).max(1);
    let limit = plan.duration.map(|duration| plan.warmup + duration);
    let stop = Stop::new(limit, plan.requests);
    let run = &Run { clock: Clock::start(), stop, plan };
    // There is room for what each thread says in a minute, so that none waits for whoever watches.
    let (sender, moments) = sync_channel(threads * 64);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for index in 0..threads {
            let sender = sender.clone();
            let spawned = thread::Builder::new()
                .spawn_scoped(scope, move || worker::work(run, index, threads, &sender));
            workers.push(spawned.map_err(|error| cannot(&error))?);
        }
        drop(sender);
        // It ends with the last of them; each ends by itself.
        for moment in &moments {
            if !watch(&moment) {
                run.stop.tell();
            }
        }
        let mut measured =
            Measured { tallies: Vec::new(), lasted: Duration::ZERO, ways: Vec::new(), cpu: Duration::ZERO };
        for worker in workers {
            let done =
                worker.join().map_err(|_| Failure::new(Exit::Other, "a thread of the run panicked"))?;
            let done = done.map_err(|error| cannot(&error))?;
            measured.tallies.push(done.tally);
            measured.ways.extend(done.ways);
            measured.cpu += done.cpu;
            measured.lasted = measured.lasted.max(run.measured(done.ended.min(run.stop.at())));
        }
        Ok(measured)
    })
}

fn cannot(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Other, format!("cannot measure: {}", landline::error::describe(error)))
}
