//! `cargo xtask bench`: what a reply costs servers in CPU time, next to a bare epoll loop; one table.
//!
//! Who serves, what is asked, and how it is measured are values: [`rows`], [`columns`], and the duel that
//! trials have. A ratio is what remains of a measurement when the machine is taken away, so nothing else is
//! in the table but memory.

mod choice;
mod columns;
mod memory;
mod rows;
mod table;
mod tokio_servers;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;

use crate::Outcome;
use crate::step::Step;
use crate::trial::duel::{Contest, Rival, contest, need_two_cores};
use crate::trial::figures::{median, number};
use crate::trial::reference;
use crate::trial::report::Report;
use crate::trial::traffic::Traffic;
use crate::trial::{machine, raise_open_files};
use choice::Choice;
use columns::{Column, Measure};
use rows::{LANDLINE, Row, TOKIO, bare_epoll};
use table::{Cell, behind, markdown};

pub(crate) use tokio_servers::{
    BARE as BARE_TOKIO, NAIVE as NAIVE_TOKIO, NAIVE_IN_TURN as NAIVE_TOKIO_IN_TURN,
};

/// Builds what is measured, measures, prints the table and judges landline.
pub(crate) fn run(words: &[OsString]) -> Outcome {
    let choice = Choice::parse(words)?;
    // One after the other: together, landline would be built with what only the others want of tokio.
    Step::new("cargo build --release --package landline-cli").run()?;
    Step::new("cargo build --release --package xtask").run()?;
    raise_open_files()?;
    need_two_cores()?;
    let mut bench = Bench { choice, bare: Vec::new(), missing: Vec::new(), report: Report::default() };
    let rows = bench.measure();
    bench.print(&rows);
    bench.judge(&rows)
}

/// A server that a benchmark starts from this very program, if it is one of these.
pub(crate) fn part(words: &[OsString]) -> Option<Outcome> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let serve = match words[..] {
        [tokio_servers::BARE, _] => {
            reference::keep_company();
            tokio_servers::bare
        }
        [tokio_servers::ALONE, _] => tokio_servers::bare,
        [tokio_servers::NAIVE, _] => tokio_servers::naive,
        [tokio_servers::NAIVE_IN_TURN, _] => tokio_servers::naive_in_turn,
        _ => return None,
    };
    Some(words[1].parse().and_then(serve))
}

struct Bench {
    choice: Choice,
    /// What the bare epoll loop took, and how it compares with itself, for each column that was measured.
    bare: Vec<(&'static str, Contest)>,
    missing: Vec<String>,
    report: Report,
}

/// Stands behind the title of a row that has a note.
const MARK: &str = "\u{b9}";

/// A row with what it came to in each column.
type Measured = (&'static Row, Vec<Cell>);

impl Bench {
    fn measure(&mut self) -> Vec<Measured> {
        let (rows, columns) = (self.choice.rows.clone(), self.choice.columns.clone());
        let mut measured: Vec<Measured> = rows.iter().map(|row| (*row, Vec::new())).collect();
        // Column by column: the figures that are compared lie close together in time.
        for column in columns {
            for (row, cells) in &mut measured {
                let cell = self.cell(row, column).unwrap_or_else(|failure| {
                    println!("  {}: {failure}", row.title);
                    let words = format!("{}: {failure}", row.title);
                    if !self.missing.contains(&words) {
                        self.missing.push(words);
                    }
                    Cell::Failed
                });
                println!("  {}, {}: {}", column.title, row.title, cell.text());
                cells.push(cell);
            }
        }
        measured
    }

    fn cell(&mut self, row: &Row, column: &'static Column) -> Outcome<Cell> {
        let asked = match column.measure {
            Measure::Cost(traffic) => traffic,
            Measure::Memory => Traffic::ping_pong(1),
        };
        let Some((mut rival, traffic)) = row.rival(&asked)? else { return Ok(Cell::Apart) };
        if let Measure::Memory = column.measure {
            return memory::slopes(&mut rival, &traffic).map(Cell::Bytes);
        }
        let contest = contest(&mut bare_epoll(asked.wording), &mut rival, [&asked, &traffic])?;
        let ratios = contest.ratios.clone();
        self.bare.push((column.name, contest));
        Ok(Cell::Ratios(ratios))
    }

    fn print(&self, rows: &[Measured]) {
        let columns = &self.choice.columns;
        let titles = columns.iter().map(|column| column.title.to_owned());
        let head: Vec<String> = std::iter::once("server".to_owned()).chain(titles).collect();
        let line = |(row, cells): &Measured| {
            let cells = cells.iter().map(Cell::text);
            std::iter::once(title(row)).chain(cells).collect::<Vec<_>>()
        };
        let mut lines: Vec<_> = rows.iter().map(line).collect();
        lines.push(self.line_of_bare(
            "bare epoll, to itself",
            |runs| Cell::Ratios(runs).text(),
            |c| &c.noise,
        ));
        lines.push(self.line_of_bare("bare epoll, ns", |runs| number(median(&runs).round()), |c| &c.costs_a));
        println!("\n{}, {}\n", today(), machine());
        println!("{}", markdown(&head, &lines));
        println!(
            "CPU time for a verified reply, as a ratio to the bare epoll loop's: the median of all pairs, and"
        );
        println!("between which figures the middle half of them lies.");
        let notes: BTreeSet<&str> = rows.iter().filter_map(|(row, _)| row.note).collect();
        for note in notes {
            println!("{MARK} {note}");
        }
        for words in &self.missing {
            println!("- {words}");
        }
        println!();
        self.tell_places(rows);
    }

    /// Says of each column who takes less than landline.
    fn tell_places(&self, rows: &[Measured]) {
        let Some((_, landline)) = rows.iter().find(|(row, _)| row.name == LANDLINE) else { return };
        for (place, column) in self.choice.columns.iter().enumerate() {
            let others = rows.iter().filter(|(row, _)| row.name != LANDLINE);
            let others: Vec<_> = others.map(|(row, cells)| (title(row), &cells[place])).collect();
            println!("  {}: landline is {}", column.title, behind(&landline[place], &others));
        }
    }

    /// What the loop itself came to, of all contests that it was in.
    fn line_of_bare(
        &self,
        title: &str,
        text: impl Fn(Vec<f64>) -> String,
        figures: impl Fn(&Contest) -> &Vec<f64>,
    ) -> Vec<String> {
        let cell = |column: &&Column| {
            let of_column = self.bare.iter().filter(|(name, _)| *name == column.name);
            let all: Vec<f64> = of_column.flat_map(|(_, contest)| figures(contest)).copied().collect();
            if all.is_empty() { Cell::Apart.text() } else { text(all) }
        };
        std::iter::once(title.to_owned()).chain(self.choice.columns.iter().map(cell)).collect()
    }

    /// Holds landline to what it is meant to cost.
    fn judge(mut self, rows: &[Measured]) -> Outcome {
        let Some((landline, cells)) = rows.iter().find(|(row, _)| row.name == LANDLINE) else {
            return Ok(());
        };
        for (column, cell) in self.choice.columns.iter().zip(cells) {
            let (than, unit) = match column.measure {
                Measure::Cost(_) => ("next to bare epoll", ""),
                Measure::Memory => ("of memory", "B"),
            };
            if let Some(figure) = cell.median().filter(|_| column.bound.is_finite()) {
                self.report.at_most(&format!("{} {than}", column.title), figure, column.bound, unit);
            }
        }
        if let Some(tokio) = rows.iter().map(|(row, _)| *row).find(|row| row.name == TOKIO) {
            for column in &self.choice.columns {
                let (Some(bound), Measure::Cost(traffic)) = (column.bound_to_tokio, column.measure) else {
                    continue;
                };
                let ratio = to_tokio(tokio, landline, &traffic)?;
                let what = format!("{} next to the bare loop on tokio", column.title);
                self.report.at_most(&what, ratio, bound, "");
            }
        }
        self.report.judge()
    }
}

/// A row's title, marked if there is something to be known beside its figures.
fn title(row: &Row) -> String {
    if row.note.is_some() { format!("{} {MARK}", row.title) } else { row.title.to_owned() }
}

/// Compares the two directly: a ratio of ratios would have the noise of both.
fn to_tokio(tokio: &Row, landline: &Row, traffic: &Traffic) -> Outcome<f64> {
    let rival = |row: &Row| -> Outcome<Rival> {
        row.rival(traffic)?.map(|(rival, _)| rival).ok_or_else(|| format!("{} takes no part", row.title))
    };
    let contest = contest(&mut rival(tokio)?, &mut rival(landline)?, [traffic; 2])?;
    Ok(median(&contest.ratios))
}

/// The day, for whoever reads the table later.
fn today() -> String {
    let date = Command::new("date").arg("+%Y-%m-%d").output();
    date.map_or_else(|_| String::new(), |date| String::from_utf8_lossy(&date.stdout).trim().to_owned())
}
