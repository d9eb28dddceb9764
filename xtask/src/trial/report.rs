//! What a trial says: figures, bounds, and whether they were kept.

use super::figures::number;
use crate::Outcome;

/// The figures of one trial, printed as they come.
#[derive(Debug, Default)]
pub(crate) struct Report {
    bounds: u32,
    missed: u32,
}

impl Report {
    /// Says something that has no bound.
    #[expect(clippy::unused_self, reason = "a report is told all of it")]
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        println!("  {}", line.as_ref());
    }

    /// Holds a figure to the most it may be.
    pub(crate) fn at_most(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.hold(what, measured, &format!("at most {}", number(bound)), unit, measured <= bound);
    }

    /// Holds a figure to the least it may be.
    pub(crate) fn at_least(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.hold(what, measured, &format!("at least {}", number(bound)), unit, measured >= bound);
    }

    /// Holds a figure to being less than something.
    pub(crate) fn below(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.hold(what, measured, &format!("below {}", number(bound)), unit, measured < bound);
    }

    fn hold(&mut self, what: &str, measured: f64, bound: &str, unit: &str, kept: bool) {
        let verdict = if kept { "ok" } else { "MISSED" };
        let space = if unit.is_empty() { "" } else { " " };
        println!("  {what}: {}{space}{unit} (bound: {bound}) {verdict}", number(measured));
        self.bounds += 1;
        self.missed += u32::from(!kept);
    }

    /// The last word.
    pub(crate) fn judge(&self) -> Outcome {
        match (self.bounds, self.missed) {
            (0, _) => println!("measured; nothing here has a bound yet"),
            (_, 0) => println!("passed"),
            (bounds, missed) => return Err(format!("{missed} of {bounds} bounds missed")),
        }
        Ok(())
    }
}

#[test]
fn a_bound_is_kept_up_to_and_with_itself_unless_it_says_below() {
    let mut report = Report::default();
    report.at_most("as much", 1.0, 1.0, "s");
    report.at_least("as little", 1.0, 1.0, "s");
    assert_eq!(report.judge(), Ok(()));
    report.below("as much", 1.0, 1.0, "");
    report.at_most("too much", 1.1, 1.0, "");
    assert_eq!(report.judge(), Err("2 of 4 bounds missed".to_owned()));
}
