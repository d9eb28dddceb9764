//! `-o FILE`: what was received, byte for byte.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline::client::Stream;
use landline::event::{Charset, escape};

use super::{Seen, Watcher};
use crate::exit::{Exit, Failure};

pub(super) struct Save {
    path: PathBuf,
    file: File,
    /// The first failure to write; after it, nothing more is written.
    failed: Option<io::Error>,
}

impl Save {
    /// Takes the place of what the file held.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        match File::create(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, failed: None }),
            Err(error) => Err(cannot_write(path, &error)),
        }
    }
}

impl Watcher for Save {
    fn see(&mut self, _at: Duration, seen: &Seen<'_>, _stream: Option<&Stream>) {
        if let (Seen::Received(bytes), None) = (seen, &self.failed) {
            self.failed = self.file.write_all(bytes).err();
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.failed.take().map_or(Ok(()), |error| Err(cannot_write(&self.path, &error)))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let path = escape(path.as_os_str().as_bytes(), Charset::Utf8);
    let cause = landline::error::describe(error);
    Failure::new(Exit::Other, format!("cannot write what is received to {path}: {cause}"))
}
