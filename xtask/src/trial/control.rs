//! The control socket of a server under trial.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process;

use super::program::PATIENCE;

/// A place for one: a server is told its path. There is one for a trial at a time.
#[derive(Debug)]
pub(crate) struct Control(PathBuf);

impl Control {
    pub(crate) fn new() -> Self {
        Self(env::temp_dir().join(format!("landline-trial-{}.sock", process::id())))
    }

    /// The path, as a flag has it.
    pub(crate) fn words(&self) -> String {
        self.0.display().to_string()
    }

    /// What the server tells there, with the head of its answer.
    pub(crate) fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The server takes it away when it stops in order.
        let _ = fs::remove_file(&self.0);
    }
}
