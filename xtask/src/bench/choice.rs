//! Which rows and columns are measured. Pure.

use std::ffi::OsString;

use super::columns::{COLUMNS, Column};
use super::rows::{ROWS, Row};
use crate::Outcome;

/// The part of the table that is wanted.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) rows: Vec<&'static Row>,
    pub(super) columns: Vec<&'static Column>,
}

impl Choice {
    /// From the words on the command line; what is not chosen is as usual.
    pub(super) fn parse(words: &[OsString]) -> Outcome<Self> {
        let (mut all, mut rows, mut columns) = (false, None, None);
        let mut words = words.iter().map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            let chosen = match &*word {
                "--all" => {
                    all = true;
                    continue;
                }
                "--rows" => &mut rows,
                "--columns" => &mut columns,
                _ => return Err(format!("bench takes no {word}")),
            };
            let names = words.next().ok_or_else(|| format!("{word} takes names, as in a,b"))?;
            *chosen = Some(names.into_owned());
        }
        Ok(Self {
            rows: choose(ROWS, rows.as_deref(), |row| row.name, |row| all || row.is_usual)?,
            columns: choose(COLUMNS, columns.as_deref(), |one| one.name, |one| all || one.is_usual)?,
        })
    }
}

/// Those that are named, in the table's order, or else those that are usual.
fn choose<T>(
    table: &'static [T],
    names: Option<&str>,
    name: fn(&T) -> &'static str,
    is_usual: impl Fn(&T) -> bool,
) -> Outcome<Vec<&'static T>> {
    let Some(names) = names else {
        return Ok(table.iter().filter(|one| is_usual(one)).collect());
    };
    let names: Vec<&str> = names.split(',').collect();
    if let Some(unknown) = names.iter().find(|wanted| !table.iter().any(|one| name(one) == **wanted)) {
        let known: Vec<&str> = table.iter().map(name).collect();
        return Err(format!("no {unknown:?} among {}", known.join(", ")));
    }
    Ok(table.iter().filter(|one| names.contains(&name(one))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> Outcome<(String, String)> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let choice = Choice::parse(&words)?;
        let rows: Vec<_> = choice.rows.iter().map(|row| row.name).collect();
        let columns: Vec<_> = choice.columns.iter().map(|column| column.name).collect();
        Ok((rows.join(" "), columns.join(" ")))
    }

    #[test]
    fn a_few_are_usual_and_all_can_be_had() {
        let (rows, columns) = chosen("").unwrap();
        assert_eq!(rows, "landline tokio naive-tokio");
        assert_eq!(columns, "c50 c1k x16 64k churn line");
        let (rows, columns) = chosen("--all").unwrap();
        assert_eq!((rows.split(' ').count(), columns.split(' ').count()), (ROWS.len(), COLUMNS.len()));
    }

    #[test]
    fn rows_and_columns_are_chosen_by_name_and_keep_their_order() {
        let (rows, columns) = chosen("--rows go,landline --columns memory,c1").unwrap();
        assert_eq!((&*rows, &*columns), ("landline go", "c1 memory"));
        let (rows, _) = chosen("--all --columns c1").unwrap();
        assert!(rows.ends_with("redis"));
    }

    #[test]
    fn an_unknown_name_and_a_missing_one_are_mistakes() {
        assert!(chosen("--rows cobol").unwrap_err().contains("among landline, tokio"));
        for line in ["--columns", "--columns c2", "--rows landline,", "everything"] {
            assert!(chosen(line).is_err(), "{line}");
        }
    }
}
