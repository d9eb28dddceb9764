//! `/file PATH`: what a file holds, piece by piece.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use landline::error::describe;
use landline::event::{Charset, escape};

/// How much is sent at a time, in bytes.
const PIECE_LEN: u64 = 64 * 1024;

/// A file on its way.
pub(super) struct Source {
    file: File,
    name: String,
    pub(super) sent: u64,
    /// How long it was when it was opened.
    pub(super) len: u64,
    ends_line: bool,
}

impl Source {
    /// Opens it; the error is in words.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = escape(path.as_os_str().as_bytes(), Charset::Utf8);
        let cannot = |cause: &str| format!("cannot send {name}: {cause}");
        let file = File::open(path).map_err(|error| cannot(&describe(&error)))?;
        let about = file.metadata().map_err(|error| cannot(&describe(&error)))?;
        if about.is_dir() {
            return Err(cannot("it is a folder"));
        }
        if !about.is_file() {
            return Err(cannot("it is no regular file, and may have no end"));
        }
        Ok(Self { file, name, sent: 0, len: about.len(), ends_line: true })
    }

    /// The next piece; an empty one is the end. A last line without an ending gets one.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, String> {
        let mut piece = Vec::new();
        let read = (&self.file).take(PIECE_LEN).read_to_end(&mut piece);
        read.map_err(|error: io::Error| format!("cannot read on in {}: {}", self.name, describe(&error)))?;
        match piece.last() {
            Some(last) => self.ends_line = *last == b'\n',
            None if !std::mem::replace(&mut self.ends_line, true) => piece.push(b'\n'),
            None => {}
        }
        self.sent += piece.len() as u64;
        Ok(piece)
    }

    /// All of it, if it is no longer than `max`.
    pub(super) fn whole(mut self, max: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(max as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot read {}: {}", self.name, describe(&error)))?;
        if bytes.len() > max {
            return Err(format!("cannot send {}: it is longer than one message may be, {max} B", self.name));
        }
        Ok(bytes)
    }

    /// What to say of it when it is out, or when its connection has ended.
    pub(super) fn report(&self) -> String {
        let Self { name, sent, len, .. } = self;
        if sent < len {
            format!("{sent} of {len} B of {name} were sent")
        } else {
            format!("{name} was sent: {sent} B")
        }
    }
}
