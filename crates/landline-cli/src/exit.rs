//! How the program ends: its exit codes, and the one form of its error messages.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use landline::error::Error;
use serde::Serialize;

/// How long the last words have to be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the program ends with something other than 0. The numbers are an interface: scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything without a number of its own.
    Other = 1,
    /// A command line or a configuration that makes no sense.
    Usage = 2,
    /// A name that could not be resolved.
    Resolve = 3,
    /// A peer that refused or could not be reached.
    Connect = 4,
    /// A peer that took too long.
    Timeout = 5,
    /// A connection that was reset, or closed before the answer.
    Lost = 6,
    /// A peer with which TLS can't be spoken, or which is not who it has to be.
    Tls = 7,
    /// An expectation that was not met.
    Expectation = 9,
    /// An address that could not be listened on.
    Listen = 10,
    /// A server that stopped and had to cut connections.
    Cut = 11,
    /// A run that Ctrl-C ended, as shells number it.
    Interrupted = 130,
}

/// What went wrong, for a person: `landline: error: TEXT` and perhaps a hint.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
    hint: Option<String>,
    in_json: bool,
}

impl Failure {
    /// `text` names the operation, the object and the cause, without a full stop.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { code: exit as u8, text: text.into(), hint: None, in_json: false }
    }

    /// Adds what the person may do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Gives it a code that is none of our own: that of a signal, as shells number it.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Has it said as a line of a log in JSON, if that is what stderr is.
    pub(crate) fn in_json(mut self, in_json: bool) -> Self {
        self.in_json = in_json;
        self
    }

    /// Whether it ends the program with this.
    pub(crate) fn is(&self, exit: Exit) -> bool {
        self.code == exit as u8
    }

    /// The code it ends the program with.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What the person may do about it.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The same as a part of something larger.
    pub(crate) fn under(mut self, whole: &str) -> Self {
        self.text = format!("{whole}: {}", self.text);
        self
    }

    /// What went wrong, in words.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text with its hint, for where there is but one line.
    pub(crate) fn in_one_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.text),
            None => self.text.clone(),
        }
    }

    /// A failure to write data to stdout: a reader that has gone is no failure at all.
    pub(crate) fn of_stdout(error: &std::io::Error) -> Result<(), Self> {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Ok(());
        }
        let cause = landline::error::describe(error);
        Err(Self::new(Exit::Other, format!("cannot write to standard output: {cause}")))
    }

    /// The exit code for an outcome; what went wrong is said.
    pub(crate) fn code_of(done: Result<(), Self>) -> u8 {
        match done {
            Ok(()) => 0,
            Err(failure) => failure.report(),
        }
    }

    /// Says it on stderr; the result is the exit code.
    ///
    /// It is said by a thread of its own: stderr may be a full pipe that nobody reads, and the program has to
    /// end all the same.
    pub(crate) fn report(self) -> u8 {
        let code = self.code;
        let (said, heard) = sync_channel(1);
        let failure = Arc::new(self);
        let speaker = Arc::clone(&failure);
        let speaking = thread::Builder::new().spawn(move || {
            speaker.say();
            // After its patience, nobody listens any more.
            let _ = said.send(());
        });
        match speaking {
            Ok(_) => drop(heard.recv_timeout(PATIENCE)),
            Err(_) => failure.say(),
        }
        code
    }

    fn say(&self) {
        let mut stderr = anstream::stderr().lock();
        if self.in_json {
            let _ = writeln!(stderr, "{}", json_line(&self.text, self.hint.as_deref()));
            return;
        }
        // With stderr gone there is nobody to tell; the exit code still does.
        let _ = writeln!(stderr, "landline: {}: {}", paint(AnsiColor::Red, "error"), self.text);
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "  {}: {hint}", paint(AnsiColor::Cyan, "hint"));
        }
    }
}

/// What went wrong as one line of a log in JSON, which is ASCII.
pub(crate) fn json_line(error: &str, hint: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        event: &'static str,
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
    }
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let line = serde_json::to_string(&Line { time, event: "error", error, hint }).unwrap_or_default();
    let mut ascii = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_ascii() && letter != '\x7f' {
            ascii.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string can't fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// Says on stderr what a person should know and what is no failure.
pub(crate) fn warn(text: &str) {
    let mut stderr = anstream::stderr().lock();
    // With stderr gone there is nobody to tell.
    let _ = writeln!(stderr, "landline: {}: {text}", paint(AnsiColor::Yellow, "warning"));
}

fn paint(color: AnsiColor, word: &str) -> impl Display {
    let style = Style::new().bold().fg_color(Some(color.into()));
    format!("{style}{word}{style:#}")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            error if error.is_config() => Exit::Usage,
            error if error.is_resolve() => Exit::Resolve,
            error if error.is_connect() => Exit::Connect,
            error if error.is_timeout() => Exit::Timeout,
            error if error.is_lost() => Exit::Lost,
            error if error.is_tls() => Exit::Tls,
            error if error.is_listen() => Exit::Listen,
            _ => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_json_is_one_line_of_ascii_that_reads_as_what_was_said() {
        let line = json_line("a \"name\"\n\u{7f}\u{1f980}", Some("h\u{f6}r zu"));
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["event"], &read["hint"]), (&"error".into(), &"h\u{f6}r zu".into()));
        assert_eq!(read["error"], "a \"name\"\n\u{7f}\u{1f980}");
        assert!(!json_line("no", None).contains("hint"));
    }
}
