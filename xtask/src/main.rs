//! `cargo xtask`: the commands that people and continuous integration run, one module each.
//!
//! Every command line is printed before it runs, so that whatever happens can be repeated by hand.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its whole work is to tell a person what it runs"
)]

#[cfg(target_os = "linux")]
mod bench;
mod check;
mod fuzz;
mod packages;
mod step;
mod test;
mod tools;
#[cfg(target_os = "linux")]
mod trial;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  check           formatting, lints, documentation, dependencies; stops at the first failure
  test [-- ARGS]  every test of the workspace, skipping none; ARGS go to cargo test
  trial [NAME]    a measurement of the real program, held to its bound; without a NAME, a list of them
  fuzz [SECONDS]  a search for input that can't be stood, for a minute each; it needs a nightly toolchain
  bench [--all] [--rows A,B] [--columns X,Y]
                  what a reply costs landline and others in CPU time, as one table; an unknown name lists those
                  there are
  help            this text
";

/// What a task comes to; a failure is the one line that a person reads last.
type Outcome<T = ()> = Result<T, String>;

#[derive(Debug, PartialEq, Eq)]
enum Task {
    Check,
    Test(Vec<OsString>),
    /// A trial by its name, or the list of them.
    Trial(Option<OsString>),
    /// How long it is to take.
    Fuzz(Option<OsString>),
    /// The words that choose a part of the table.
    Bench(Vec<OsString>),
    /// A process that a trial or a benchmark starts from this program: not for people.
    Part(Vec<OsString>),
    Help,
}

fn main() -> ExitCode {
    let outcome = match parse(env::args_os().skip(1)) {
        Ok(Task::Check) => enter_workspace().and_then(|()| check::run()),
        Ok(Task::Test(extra)) => enter_workspace().and_then(|()| test::run(extra)),
        Ok(Task::Trial(None)) => trial::list(),
        Ok(Task::Trial(Some(name))) => enter_workspace().and_then(|()| trial::run(&name)),
        Ok(Task::Fuzz(seconds)) => enter_workspace().and_then(|()| fuzz::run(seconds.as_deref())),
        Ok(Task::Bench(words)) => enter_workspace().and_then(|()| bench::run(&words)),
        Ok(Task::Part(words)) => bench::part(&words).unwrap_or_else(|| trial::part(&words)),
        Ok(Task::Help) => {
            print!("{USAGE}");
            Ok(())
        }
        Err(mistake) => {
            eprint!("xtask: {mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Task, String> {
    let mut args = args.into_iter();
    let word = args.next().ok_or("which task?")?;
    let mut rest: Vec<OsString> = args.collect();
    let task = match word.to_str() {
        Some("check") => Task::Check,
        Some("test") if rest.first().is_some_and(|first| first == "--") => {
            return Ok(Task::Test(rest.split_off(1)));
        }
        Some("test") => Task::Test(Vec::new()),
        Some("trial") if rest.len() < 2 => return Ok(Task::Trial(rest.pop())),
        Some("fuzz") if rest.len() < 2 => return Ok(Task::Fuzz(rest.pop())),
        Some("bench") => return Ok(Task::Bench(rest)),
        Some("part") => return Ok(Task::Part(rest)),
        Some("help" | "--help" | "-h") => Task::Help,
        _ => return Err(format!("no task is called {}", word.display())),
    };
    match rest.first() {
        None => Ok(task),
        Some(stray) => Err(format!("{} takes no {}", word.display(), stray.display())),
    }
}

/// Goes to the workspace's root, wherever `cargo xtask` was started; every path and step is seen from there.
fn enter_workspace() -> Outcome {
    let root = workspace(env::var_os("CARGO_MANIFEST_DIR"))?;
    env::set_current_dir(&root).map_err(|error| format!("cannot go to {}: {error}", root.display()))
}

/// The root, from what cargo says when it runs us.
///
/// What it said when it compiled us would not do: two checkouts that share a target directory share this
/// program, and one would silently be judged in place of the other.
fn workspace(manifest_dir: Option<OsString>) -> Outcome<PathBuf> {
    let package = manifest_dir.ok_or("cargo did not start this; run it as `cargo xtask`")?;
    let root = Path::new(&package).parent().ok_or("xtask lies in no workspace")?;
    Ok(root.to_owned())
}

/// Benchmarks read what only Linux tells about a process.
#[cfg(not(target_os = "linux"))]
mod bench {
    use std::ffi::OsString;

    use crate::Outcome;

    pub(crate) fn run(_: &[OsString]) -> Outcome {
        Err("the benchmark needs Linux".to_owned())
    }

    pub(crate) fn part(_: &[OsString]) -> Option<Outcome> {
        None
    }
}

/// Trials read what only Linux tells about a process.
#[cfg(not(target_os = "linux"))]
mod trial {
    use std::ffi::{OsStr, OsString};

    use crate::Outcome;

    const ELSEWHERE: &str = "trials need Linux";

    pub(crate) fn list() -> Outcome {
        Err(ELSEWHERE.to_owned())
    }

    pub(crate) fn run(_: &OsStr) -> Outcome {
        Err(ELSEWHERE.to_owned())
    }

    pub(crate) fn part(_: &[OsString]) -> Outcome {
        Err(ELSEWHERE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Task, parse, workspace};
    use std::ffi::OsString;
    use std::path::PathBuf;

    #[test]
    fn the_workspace_is_the_one_that_cargo_names_at_run_time() {
        assert_eq!(workspace(Some("/somewhere/else/xtask".into())), Ok(PathBuf::from("/somewhere/else")));
        assert!(workspace(None).unwrap_err().contains("cargo xtask"));
    }

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn each_task_is_known_by_its_word() {
        assert_eq!(parsed("check"), Ok(Task::Check));
        assert_eq!(parsed("test"), Ok(Task::Test(vec![])));
        assert_eq!(parsed("trial"), Ok(Task::Trial(None)));
        assert_eq!(parsed("trial startup"), Ok(Task::Trial(Some("startup".into()))));
        assert_eq!(parsed("bench --all"), Ok(Task::Bench(vec!["--all".into()])));
        assert_eq!(parsed("fuzz 5"), Ok(Task::Fuzz(Some("5".into()))));
        assert_eq!(parsed("help"), Ok(Task::Help));
    }

    #[test]
    fn what_follows_the_dashes_goes_to_cargo_test_untouched() {
        let extra = ["drain", "--", "--nocapture"].map(OsString::from).to_vec();
        assert_eq!(parsed("test -- drain -- --nocapture"), Ok(Task::Test(extra)));
    }

    #[test]
    fn an_unknown_word_a_stray_one_and_none_at_all_are_mistakes() {
        for line in ["", "chekc", "check now", "test drain", "trial spread now", "help me"] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }
}
