//! `landline bench`: a load generator for any server that answers requests.

mod args;
mod condition;
mod engine;
mod export;
mod figures;
mod judge;
mod latencies;
mod live;
mod order;
mod payload;
mod process;
mod report;
mod search;
mod series;
mod summary;
mod tables;
mod tally;
mod target;
mod text;
mod verdict;
mod versus;

pub(crate) use args::BenchArgs;

use std::fs;
use std::io::Write;

use crate::exit::{Exit, Failure};
use args::OutputFormat;
use order::Order;
use search::Search;
use summary::Summary;
use versus::Comparison;

/// Measures as told.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let order = Order::new(args)?;
    match (&args.find_rate, &args.versus) {
        (Some(_), _) => find_rate(&order),
        (None, Some(_)) => compare(&order),
        (None, None) => {
            let summary = order.measure(&args.address, order.pace())?;
            tell(args, &summary)?;
            order.was_to_its_end()?;
            judge::judge(&summary, args.fail_if.as_ref())
        }
    }
}

fn tell(args: &BenchArgs, summary: &Summary) -> Result<(), Failure> {
    if let Some(path) = &args.report {
        fs::write(path, report::render(summary)).map_err(|error| {
            let cause = landline::error::describe(&error);
            Failure::new(Exit::Other, format!("cannot write the report to {}: {cause}", path.display()))
        })?;
    }
    print(&match args.output_format {
        OutputFormat::Text => text::render(summary, crate::terminal::charset()),
        OutputFormat::Json => export::json(summary),
        OutputFormat::Csv => export::csv(summary),
    })
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.or_else(|error| Failure::of_stdout(&error))
}

/// Tries one rate after another; what it finds is measured last, and told in full.
fn find_rate(order: &Order<'_>) -> Result<(), Failure> {
    let args = order.args();
    let Some(condition) = &args.find_rate else { return Ok(()) };
    // What the server answers when nothing holds it back is a fair guess to begin with.
    let unbound = order.measure(&args.address, engine::Pace::Closed)?;
    judge::judge(&unbound, None)?;
    let mut search = Search::new(unbound.rate());
    let mut best = None;
    while let Some(rate) = search.next() {
        let summary = order.measure(&args.address, engine::Pace::Open { per_second: rate })?;
        order.was_to_its_end()?;
        let holds = judge::holds(&summary, condition, rate);
        eprint(&format!("{rate:.0} a second: {}\n", if holds { "holds" } else { "does not hold" }));
        search.tell(rate, holds);
        if holds {
            best = Some(summary);
        }
    }
    match (search.found(), best) {
        (Some(rate), Some(summary)) => {
            tell(args, &summary)?;
            eprint(&format!("the highest rate at which {condition}: {rate:.0} a second\n"));
            Ok(())
        }
        _ => Err(Failure::new(Exit::Expectation, format!("no rate was found at which {condition}"))),
    }
}

/// A B B A, and the ratios.
fn compare(order: &Order<'_>) -> Result<(), Failure> {
    let args = order.args();
    let Some(other) = &args.versus else { return Ok(()) };
    let mut comparison = Comparison::default();
    for round in 1..=versus::ROUNDS {
        let measure = |address| {
            let summary = order.measure(address, order.pace())?;
            order.was_to_its_end()?;
            judge::judge(&summary, None).map(|()| summary)
        };
        let (a, b) = (&args.address, other);
        comparison.add([measure(a)?, measure(b)?, measure(b)?, measure(a)?]);
        eprint(&format!("round {round} of {} is done\n", versus::ROUNDS));
    }
    print(&comparison.in_words(&args.address.to_string(), &other.to_string()))
}

/// Says how it goes, to whoever watches.
fn eprint(text: &str) {
    // With stderr gone there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
