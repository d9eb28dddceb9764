//! How long it takes until the server listens, and how large the program is.

use std::fs;
use std::time::Instant;

use super::figures::{float, median, spread};
use super::program::{Program, Served, built, serve};
use super::report::Report;
use crate::Outcome;

const RUNS: usize = 20;
const BOUND_MS: f64 = 10.0;
const BOUND_MB: f64 = 10.0;

pub(super) fn run(report: &mut Report) -> Outcome {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begun = Instant::now();
        let served = Served::hear(Program::start(&mut serve(&["--quiet"]))?)?;
        times.push((served.ready - begun).as_secs_f64() * 1e3);
        served.stop()?;
    }
    let program = built("landline");
    let size =
        fs::metadata(&program).map_err(|error| format!("cannot see {}: {error}", program.display()))?;
    report.tell(format!("from spawn to the port on stdout, {RUNS} times: {} ms", spread(&times)));
    report.at_most("median", median(&times), BOUND_MS, "ms");
    report.at_most("size of the program", float(size.len()) / 1e6, BOUND_MB, "MB");
    Ok(())
}
