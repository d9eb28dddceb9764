//! How much memory one more idle connection takes.

use super::figures::float;
use super::proc::resident;
use super::program::{Caller, Served};
use super::report::Report;
use crate::Outcome;

const FEW: usize = 1_000;
const MANY: usize = 10_000;
const BOUND: f64 = 1536.0;

pub(super) fn run(report: &mut Report) -> Outcome {
    let served = Served::start(&["--quiet"])?;
    let mut callers = Vec::with_capacity(MANY);
    fill(&mut callers, FEW, &served)?;
    let few = resident(served.pid())?;
    fill(&mut callers, MANY, &served)?;
    let many = resident(served.pid())?;
    let slope = (float(many) - float(few)) / float((MANY - FEW) as u64);
    report.tell("connections that have exchanged one message and are silent since");
    report.tell(format!("{FEW} connections: {} KiB resident", few >> 10));
    report.tell(format!("{MANY} connections: {} KiB resident", many >> 10));
    report.at_most("memory for one more", slope, BOUND, "B");
    drop(callers);
    served.stop()
}

/// Calls until there are so many connections; each exchanges one message.
fn fill(callers: &mut Vec<Caller>, count: usize, served: &Served) -> Outcome {
    while callers.len() < count {
        let number = callers.len();
        let mut caller = served.call().map_err(|error| format!("after {number} connections: {error}"))?;
        caller.ask("hello", "HELLO").map_err(|error| format!("connection {number}: {error}"))?;
        callers.push(caller);
    }
    Ok(())
}
