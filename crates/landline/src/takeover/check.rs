//! Whether another program can take over, said by itself before anything stops.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::arrival::{ANSWER, CHECK};
use super::header;
use super::upgrade::{Request, path};
use crate::event::signal_name;

/// The most of what it says that is read, in bytes.
const WORDS_MAX: usize = 4096;
/// The most of it that is told on, in characters.
const CAUSE_MAX: usize = 500;

/// Another program that was asked.
pub(super) struct Checking {
    request: Request,
    child: Child,
    until: Instant,
}

impl Checking {
    /// Starts it with this program's arguments.
    pub(super) fn start(request: Request) -> Result<Self, (Request, String)> {
        let mut command = Command::new(path(&request.binary));
        command.args(std::env::args_os().skip(1)).env(CHECK, header::words());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok(Self { until: Instant::now() + request.patience, request, child }),
            Err(error) => Err((request, format!("it can't be started: {}", crate::error::describe(&error)))),
        }
    }

    /// What was asked for; the other program is not waited for any longer.
    pub(super) fn into_request(self) -> Request {
        self.request.clone()
    }

    /// How long it has left.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// What it says, once it has or its time is up.
    pub(super) fn verdict(&mut self) -> Option<Result<(), String>> {
        match self.child.try_wait() {
            Ok(None) if self.left().is_zero() => {
                let patience = self.request.patience;
                Some(Err(format!("it did not say within {patience:?} whether it can take over")))
            }
            Ok(None) => None,
            Ok(Some(status)) => {
                Some(judge(status, &said(self.child.stdout.take()), &said(self.child.stderr.take())))
            }
            Err(error) => Some(Err(crate::error::describe(&error))),
        }
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        // It fails if it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What lies in a pipe; whoever holds its other end is not waited for.
fn said<P: Read + AsFd>(pipe: Option<P>) -> String {
    let mut words = vec![0; WORDS_MAX];
    let read = pipe.and_then(|mut pipe| {
        rustix::io::ioctl_fionbio(&pipe, true).ok()?;
        pipe.read(&mut words).ok()
    });
    words.truncate(read.unwrap_or(0));
    String::from_utf8_lossy(&words).into_owned()
}

fn judge(status: ExitStatus, stdout: &str, stderr: &str) -> Result<(), String> {
    if let Some(signal) = status.signal() {
        return Err(format!("it was killed by {}", signal_name(signal)));
    }
    if status.success() {
        let has_answered = stdout.lines().any(|line| line == ANSWER);
        return if has_answered { Ok(()) } else { Err("it does not say that it can take over".to_owned()) };
    }
    let code = status.code().unwrap_or(1);
    let words = stderr.lines().map(str::trim).find(|line| !line.is_empty());
    // Who says it, and that it is an error, whoever tells it on says too.
    let words = words.map(|line| line.split_once("error: ").map_or(line, |(_, words)| words));
    let words = words.map(|words| words.chars().take(CAUSE_MAX).collect::<String>());
    Err(words.unwrap_or_else(|| format!("it ended with code {code}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_and_code_0_together_are_a_yes() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(judge(code(0), &format!("{ANSWER}\n"), ""), Ok(()));
        for (status, stdout, stderr, cause) in [
            (code(0), "ready", "", "it does not say that it can take over"),
            (code(1), ANSWER, "", "it ended with code 1"),
            (code(2), "", "\n it: error: no key\n  hint: none\n", "no key"),
            (ExitStatus::from_raw(9), ANSWER, "", "it was killed by SIGKILL"),
        ] {
            assert_eq!(judge(status, stdout, stderr), Err(cause.to_owned()));
        }
        assert_eq!(judge(code(1), "", &"x".repeat(1000)).unwrap_err().len(), CAUSE_MAX);
    }
}
