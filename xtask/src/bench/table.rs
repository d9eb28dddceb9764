//! What is printed at the end. Pure.

use crate::trial::figures::{median, number, percentile};

/// What a row and a column came to.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// Ratios of pairs.
    Ratios(Vec<f64>),
    /// Bytes.
    Bytes(Vec<f64>),
    /// It does not take part.
    Apart,
    /// What went wrong.
    Failed,
}

impl Cell {
    pub(super) fn median(&self) -> Option<f64> {
        match self {
            Self::Ratios(figures) | Self::Bytes(figures) => Some(median(figures)),
            Self::Apart | Self::Failed => None,
        }
    }

    /// The median, and between which figures the middle half lies: `1.04 (1.03–1.06)`.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Ratios(figures) => {
                let [low, high] = [0.25, 0.75].map(|share| percentile(figures, share));
                format!("{:.2} ({low:.2}–{high:.2})", median(figures))
            }
            Self::Bytes(figures) => number(median(figures).round()),
            Self::Apart => "–".to_owned(),
            Self::Failed => "failed".to_owned(),
        }
    }
}

/// A table as Markdown has it.
pub(super) fn markdown(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---{}|\n", "|--:".repeat(head.len().saturating_sub(1)));
    let rows: String = rows.iter().map(|row| line(row)).collect();
    line(head) + &rule + &rows
}

/// Whom a row is behind, by the figures that the table shows.
pub(super) fn behind(row: &Cell, others: &[(String, &Cell)]) -> String {
    let shown = |cell: &Cell| cell.median().map(|figure| (figure * 100.0).round());
    let Some(own) = shown(row) else { return "not measured".to_owned() };
    let ahead = others.iter().filter(|(_, other)| shown(other).is_some_and(|figure| figure < own));
    let titles: Vec<&str> = ahead.map(|(title, _)| title.as_str()).collect();
    if titles.is_empty() { "behind no other row".to_owned() } else { format!("behind {}", titles.join("; ")) }
}

#[test]
fn a_row_is_behind_those_whose_figure_is_less_to_two_places() {
    let cell = |figure: f64| Cell::Ratios(vec![figure]);
    let (same, less, more) = (cell(1.001), cell(0.99), cell(1.2));
    let named = |name: &str, cell| (name.to_owned(), cell);
    let others = [named("same", &same), named("more", &more), named("apart", &Cell::Apart)];
    assert_eq!(behind(&cell(1.0), &others), "behind no other row");
    let others = [named("less", &less), named("more", &more)];
    assert_eq!(behind(&cell(1.0), &others), "behind less");
    assert_eq!(behind(&Cell::Failed, &others), "not measured");
}

#[test]
fn a_cell_says_the_median_and_the_middle_half() {
    let ratios = (0..100).map(|step| 1.0 + f64::from(step) / 100.0).collect();
    assert_eq!(Cell::Ratios(ratios).text(), "1.50 (1.24–1.74)");
    assert_eq!(Cell::Bytes(vec![1279.6, 1280.2, 9000.0]).text(), "1280");
    assert_eq!(Cell::Apart.text(), "–");
}

#[test]
fn a_table_has_a_head_a_rule_and_its_rows() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let table = markdown(&words("server c1 c50"), &[words("go 1 2")]);
    assert_eq!(table, "| server | c1 | c50 |\n|---|--:|--:|\n| go | 1 | 2 |\n");
}
