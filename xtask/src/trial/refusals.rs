//! What callers who are turned away leave behind.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::figures::{float, number};
use super::proc::{descriptors, resident};
use super::program::{Caller, PATIENCE, Served, pause};
use super::report::Report;
use crate::Outcome;

const CALLERS: usize = 100_000;
/// How many call at a time.
const AT_A_TIME: usize = 8;
const BOUND_MIB: f64 = 1.0;
/// A number of descriptors that stays the same for so long is the number.
const SETTLING: Duration = Duration::from_millis(500);

pub(super) fn run(report: &mut Report) -> Outcome {
    let served = Served::start(&["--quiet", "--max-connections", "1"])?;
    let mut inside = served.call()?;
    inside.ask("hello", "HELLO")?;
    let (descriptors_before, memory_before) = (settled(served.pid())?, resident(served.pid())?);
    call_in_vain(served.port)?;
    let descriptors_after = settled(served.pid())?;
    let memory_after = resident(served.pid())?;
    call_in_vain(served.port)?;
    let memory_later = resident(served.pid())?;
    inside.ask("still here", "STILL HERE")?;
    report.tell(format!(
        "{CALLERS} callers, {AT_A_TIME} at a time: each read `busy` and the end of the stream"
    ));
    let more = |before: u64, after: u64| float(after) - float(before);
    let descriptors_more = more(descriptors_before as u64, descriptors_after as u64);
    report.at_most("descriptors left over", descriptors_more, 0.0, "");
    let memory_more = more(memory_before, memory_after) / float(1 << 20);
    report.at_most("memory left over", memory_more, BOUND_MIB, "MiB");
    let memory_later = more(memory_after, memory_later) / float(1 << 20);
    report.tell(format!("and after as many again: {} MiB more", number(memory_later)));
    drop(inside);
    served.stop()
}

/// How many descriptors are open once that number stays: a thread may still be starting, a socket still be
/// closing.
fn settled(pid: Pid) -> Outcome<usize> {
    let begun = Instant::now();
    let mut count = descriptors(pid)?;
    while begun.elapsed() < PATIENCE {
        pause(SETTLING);
        let next = descriptors(pid)?;
        if next == count {
            return Ok(count);
        }
        count = next;
    }
    Err("the number of descriptors does not settle".to_owned())
}

fn call_in_vain(port: u16) -> Outcome {
    let some = move || -> Outcome {
        for _ in 0..CALLERS / AT_A_TIME {
            let mut caller = Caller::connect(port)?;
            // More than is expected, so that the end of the stream is seen too.
            let heard = caller.hear("busy\n and no more")?;
            if heard != "busy\n" {
                return Err(format!("a refused caller read {heard:?}"));
            }
        }
        Ok(())
    };
    let callers: Vec<_> = (0..AT_A_TIME).map(|_| thread::spawn(some)).collect();
    callers.into_iter().try_for_each(|callers| callers.join().map_err(|_| "a caller panicked")?)
}
