//! The file of `serve --config`: found, read, and every fault of it said in one line.

mod parse;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use landline::Address;
use rustix::fs::OFlags;

#[cfg(test)]
pub(crate) use parse::parse;

use crate::exit::{Exit, Failure};
use crate::settings::{ListenerSettings, ServerSettings};

/// The most that is read, in bytes: a thousand listeners fit in easily.
const SIZE_MAX: u64 = 1 << 20;
/// The smallest file that serves.
const SMALLEST: &str = "the smallest is two lines: [[listener]] and address = \":8081\"";

/// What a file says.
#[derive(Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) server: ServerSettings,
    /// For each listener that says nothing else.
    pub(crate) defaults: ListenerSettings,
    /// At least one.
    pub(crate) listeners: Vec<ConfiguredListener>,
}

/// What a file says of one listener.
#[derive(Debug, PartialEq)]
pub(crate) struct ConfiguredListener {
    /// Where it begins.
    pub(crate) line: usize,
    pub(crate) address: Address,
    pub(crate) settings: ListenerSettings,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    line: Option<usize>,
    cause: String,
    hint: Option<String>,
}

impl Fault {
    /// `cause` has no full stop, and may hold what the file holds: it is escaped when it is said.
    pub(crate) fn new(line: impl Into<Option<usize>>, cause: impl Into<String>) -> Self {
        Self { line: line.into(), cause: cause.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For a person, with the name of the file.
    pub(crate) fn of(self, path: &Path) -> Failure {
        let line = self.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let text = format!("{}: {line}{}", path.display(), self.cause);
        let failure = Failure::new(Exit::Usage, in_one_line(&text));
        match self.hint {
            Some(hint) => failure.hint(in_one_line(&hint)),
            None => failure,
        }
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    contents(path).map_err(|fault| fault.of(path))
}

/// Checks what was read of a file.
pub(crate) fn check(path: &Path, bytes: &[u8]) -> Result<Config, Failure> {
    text(bytes).and_then(parse::parse).map_err(|fault| fault.of(path))
}

/// The bytes of a file that is one: neither without an end nor something that keeps its reader waiting.
fn contents(path: &Path) -> Result<Vec<u8>, Fault> {
    let cannot = |error: io::Error| {
        let cause = format!("cannot read the configuration: {}", landline::error::describe(&error));
        match error.kind() {
            io::ErrorKind::NotFound => Fault::new(None, cause).hint("check its path"),
            _ => Fault::new(None, cause).hint("it has to be a file that the server may read"),
        }
    };
    let file = open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if let Some(kind) = not_a_file(about.file_type()) {
        return Err(Fault::new(None, format!("{kind} can't be a configuration")).hint("name a file"));
    }
    let mut bytes = Vec::new();
    if about.len() <= SIZE_MAX {
        // It may grow while it is read.
        file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    if about.len() > SIZE_MAX || bytes.len() as u64 > SIZE_MAX {
        let cause = format!("the file has more than {} MiB", SIZE_MAX >> 20);
        return Err(Fault::new(None, cause).hint("is it a configuration?"));
    }
    Ok(bytes)
}

/// Without waiting, as it would for somebody to write into a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// What something is instead of a file.
fn not_a_file(kind: std::fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.is_empty() {
        return Err(Fault::new(None, "the file is empty").hint(SMALLEST));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        Fault::new(line, "there are bytes that are not UTF-8").hint("save the file as UTF-8")
    })
}

/// Nothing in a file can end the line it is shown in, or steer a terminal.
pub(crate) fn in_one_line(text: &(impl Display + ?Sized)) -> String {
    let is_plain = |letter: char| matches!(letter, '\'' | '"' | '\\');
    let mut line = String::new();
    for letter in text.to_string().chars() {
        if is_plain(letter) { line.push(letter) } else { line.extend(letter.escape_debug()) }
    }
    line
}

#[cfg(test)]
mod tests;
