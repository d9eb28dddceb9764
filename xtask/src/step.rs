//! One command line: shown, then run.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Outcome;

/// A command line with the variables set for it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    variables: Vec<(&'static str, OsString)>,
    words: Vec<OsString>,
}

impl Step {
    /// A program and its arguments, separated by blanks.
    pub(crate) fn new(line: &str) -> Self {
        Self { variables: Vec::new(), words: line.split_whitespace().map(OsString::from).collect() }
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub(crate) fn words(mut self, more: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.words.extend(more.into_iter().map(Into::into));
        self
    }

    /// Prints the line, then runs it to its end.
    pub(crate) fn run(&self) -> Outcome {
        self.show();
        self.judge(self.command().status())
    }

    /// Like `run`, but gives up when the time is over.
    ///
    /// The step gets a process group of its own, because what hangs is often a child of the child.
    pub(crate) fn run_within(&self, limit: Duration) -> Outcome {
        self.show();
        let child = self.command().stdin(Stdio::null()).process_group(0).spawn();
        let mut child = child.map_err(|error| self.cannot_start(&error))?;
        let group = Pid::from_child(&child);
        let (ended, end) = sync_channel(1);
        thread::spawn(move || ended.send(child.wait()));
        if let Ok(status) = end.recv_timeout(limit) {
            return self.judge(status);
        }
        // It may have ended by itself just now: then there is nobody left to kill, which is as good.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = end.recv();
        Err(format!("`{self}` was given up after {limit:?}"))
    }

    /// Whether the step succeeds, without a word of it being seen.
    pub(crate) fn succeeds_quietly(&self) -> bool {
        let status = self.command().stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn show(&self) {
        eprintln!("\n$ {self}");
    }

    fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn judge(&self, status: io::Result<ExitStatus>) -> Outcome {
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{self}` ended with {status}")),
            Err(error) => Err(self.cannot_start(&error)),
        }
    }

    fn cannot_start(&self, error: &io::Error) -> String {
        format!("`{self}` cannot be started: {error}")
    }
}

/// As one would type it in a shell.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}={} ", quoted(&value.to_string_lossy()))?;
        }
        let words: Vec<String> = self.words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        f.write_str(&words.join(" "))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::Step;
    use std::time::Duration;

    #[test]
    fn a_step_is_shown_as_one_would_type_it() {
        let step = Step::new("cargo doc --no-deps").variable("RUSTDOCFLAGS", "-D warnings").words(["it's"]);
        assert_eq!(step.to_string(), r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s'");
    }

    #[test]
    fn a_step_that_fails_is_named_with_its_exit_status() {
        let failure = Step::new("false").run().unwrap_err();
        assert_eq!(failure, "`false` ended with exit status: 1");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_not_a_panic() {
        let failure = Step::new("./no-such-program").run().unwrap_err();
        assert!(failure.contains("cannot be started"), "{failure}");
    }

    #[test]
    fn a_step_that_ends_in_time_is_judged_by_its_exit_status() {
        assert_eq!(Step::new("true").run_within(Duration::MAX), Ok(()));
        assert!(Step::new("false").run_within(Duration::MAX).is_err());
    }

    #[test]
    fn a_step_that_hangs_is_given_up() {
        let failure = Step::new("sleep 1000").run_within(Duration::ZERO).unwrap_err();
        assert_eq!(failure, "`sleep 1000` was given up after 0ns");
    }
}
