//! The lines that were typed, kept for the next time.
//!
//! They lie in one file for all prompts of a user, a line each. It is opened for each line that is kept, and
//! locked meanwhile: so two prompts at once lose nothing of each other.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// How many lines are brought back.
pub(super) const LINES_MAX: usize = 1_000;

/// Longer lines are not kept, in bytes.
const LINE_MAX: usize = 4 * 1024;

/// Above this size the older half of the file is dropped, in bytes.
const FILE_MAX: usize = 1024 * 1024;

pub(super) struct History {
    path: Option<PathBuf>,
    /// The line that was kept last: the same one again is not.
    last: String,
}

impl History {
    /// That of this user, with the lines it has, oldest first. Where no place for it is known there are
    /// none; the error is one of reading.
    pub(super) fn open() -> (Self, io::Result<Vec<String>>) {
        Self::at(place(|name| std::env::var_os(name).map(PathBuf::from)))
    }

    fn at(path: Option<PathBuf>) -> (Self, io::Result<Vec<String>>) {
        let lines = path.as_deref().map_or(Ok(Vec::new()), read);
        let last = lines.as_ref().ok().and_then(|lines| lines.last().cloned()).unwrap_or_default();
        (Self { path, last }, lines)
    }

    /// Whether a line is one to bring back: it does not begin with a space, which is how to say that it
    /// should be forgotten.
    pub(super) fn wants(line: &str) -> bool {
        !line.is_empty()
            && line.len() <= LINE_MAX
            && !line.starts_with(' ')
            && !line.contains(char::is_control)
    }

    /// Keeps a line, if it is one to keep and not the one before.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        if !Self::wants(line) || line == self.last {
            return Ok(());
        }
        line.clone_into(&mut self.last);
        let Some(path) = &self.path else { return Ok(()) };
        let mut file = open_own(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        if file.metadata()?.len() > FILE_MAX as u64 {
            cut_down(&mut file)?;
        }
        file.write_all(format!("{line}\n").as_bytes())
    }
}

/// Where the history lies, by the rules for folders of the XDG: what is neither configuration nor a cache is
/// state.
fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("landline/history"))
}

/// Opens the file to append, and makes it if it is not there, for nobody else to read.
fn open_own(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    Ok(file)
}

fn read(path: &Path) -> io::Result<Vec<String>> {
    match File::open(path) {
        Ok(file) => {
            flock(&file, FlockOperation::LockShared)?;
            read_lines(&file)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The last lines. Whoever else wrote into the file can't steer a terminal by it.
fn read_lines(mut file: &File) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| History::wants(line)).collect();
    let from = lines.len().saturating_sub(LINES_MAX);
    Ok(lines[from..].iter().map(|line| (*line).to_owned()).collect())
}

fn cut_down(file: &mut File) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let older = &bytes[..bytes.len().saturating_sub(FILE_MAX / 2)];
    let from = older.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(0)?;
    file.write_all(&bytes[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place of its own for each test.
    fn fresh(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("landline-history-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder.join("state/landline/history")
    }

    #[test]
    fn the_state_folder_is_that_of_the_xdg_or_the_one_at_home() {
        let with = |state: Option<&'static str>, home: Option<&'static str>| {
            place(|name| if name == "HOME" { home } else { state }.map(PathBuf::from))
        };
        assert_eq!(with(Some("/s"), Some("/h")), Some("/s/landline/history".into()));
        assert_eq!(with(None, Some("/h")), Some("/h/.local/state/landline/history".into()));
        assert_eq!(with(Some("relative"), Some("/h")), Some("/h/.local/state/landline/history".into()));
        assert_eq!(with(None, None), None);
    }

    #[test]
    fn lines_come_back_but_for_secrets_repetitions_and_what_could_steer_a_terminal() {
        let path = fresh("lines");
        let (mut history, before) = History::at(Some(path.clone()));
        assert!(before.unwrap().is_empty());
        for line in
            ["one", " a secret", "two", "two", "你好", "", "\x1b[2J", &"x".repeat(LINE_MAX + 1), "one"]
        {
            history.add(line).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let (_, lines) = History::at(Some(path));
        assert_eq!(lines.unwrap(), ["one", "two", "你好", "one"]);
    }

    #[test]
    fn two_at_once_lose_nothing_of_each_other_even_while_the_file_is_cut_down() {
        let path = fresh("two");
        let threads: Vec<_> = (0..2)
            .map(|who| {
                let mut history = History::at(Some(path.clone())).0;
                std::thread::spawn(move || {
                    for at in 0..600 {
                        history.add(&format!("{who} {at} {}", "x".repeat(900))).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let lines = History::at(Some(path)).1.unwrap();
        for who in ["0 ", "1 "] {
            let of_one: Vec<&String> = lines.iter().filter(|line| line.starts_with(who)).collect();
            let first = 600 - of_one.len();
            assert!(
                of_one
                    .iter()
                    .enumerate()
                    .all(|(at, line)| line.starts_with(&format!("{who}{} ", first + at)))
            );
        }
        assert!((500..LINES_MAX).contains(&lines.len()), "{}", lines.len());
    }

    #[test]
    fn a_place_that_can_not_be_written_is_an_error_and_no_place_is_none() {
        let (mut history, lines) = History::at(Some("/proc/nowhere/history".into()));
        assert!(lines.unwrap().is_empty() && history.add("line").is_err());
        let (mut history, lines) = History::at(None);
        assert!(lines.unwrap().is_empty() && history.add("line").is_ok());
    }
}
