//! What a reply costs this build in CPU time, next to another build of the program.

use std::env;
use std::path::PathBuf;

use super::duel::{self, Rival};
use super::program::{built, serve_with};
use super::report::Report;
use crate::Outcome;

/// The other build.
const BASE: &str = "LANDLINE_BASE";
/// More flags of `landline serve`, for this build only.
const FLAGS: &str = "LANDLINE_FLAGS";

pub(super) fn run(report: &mut Report) -> Outcome {
    let base = base(env::var_os(BASE).map(PathBuf::from))?;
    let flags = env::var(FLAGS).unwrap_or_default();
    report.tell(format!("the base is {}", base.display()));
    if !flags.is_empty() {
        report.tell(format!("this build has more to do: {flags}"));
    }
    let plain = ["--quiet", "--threads", "1"];
    let more: Vec<&str> = plain.into_iter().chain(flags.split_whitespace()).collect();
    let base = Rival::new("the base", serve_with(base, &plain));
    let ours = Rival::new("this build", serve_with(built("landline"), &more));
    duel::compare(report, base, ours)
}

/// The program to compare with, from what the variable says.
fn base(named: Option<PathBuf>) -> Outcome<PathBuf> {
    let base = named.ok_or_else(|| format!("{BASE} has to name the landline program to compare with"))?;
    if base.is_file() { Ok(base) } else { Err(format!("{BASE} names {}, which is no file", base.display())) }
}

#[test]
fn a_base_that_is_not_named_or_not_there_is_asked_for() {
    assert!(base(None).unwrap_err().starts_with("LANDLINE_BASE has to name"));
    assert!(
        base(Some("/no/such/program".into())).unwrap_err().ends_with("/no/such/program, which is no file")
    );
    assert_eq!(base(Some("/bin/sh".into())), Ok(PathBuf::from("/bin/sh")));
}
