//! The program on a terminal of its own.

use std::process::Command;

use nix::sys::wait::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use crate::support::GUARD;

/// The program on a terminal of its own.
pub(crate) struct Terminal(PtySession);

impl Terminal {
    pub(crate) fn open(command: Command) -> Self {
        let guard = u64::try_from(GUARD.as_millis()).unwrap();
        Self(spawn_command(command, Some(guard)).unwrap())
    }

    /// Waits for `text`; returns what was seen before it.
    pub(crate) fn sees(&mut self, text: &str) -> String {
        // rexpect takes every byte for a character.
        let bytes: String = text.bytes().map(char::from).collect();
        self.0.exp_string(&bytes).unwrap_or_else(|error| panic!("waiting for {text:?}: {error}"))
    }

    pub(crate) fn types(&mut self, line: &str) {
        self.0.send_line(line).unwrap();
    }

    /// Types `keys` without the end of a line.
    pub(crate) fn types_ahead(&mut self, keys: &str) {
        self.0.send(keys).unwrap();
        self.0.flush().unwrap();
    }

    pub(crate) fn presses_ctrl(&mut self, key: char) {
        self.0.send_control(key).unwrap();
        self.0.flush().unwrap();
    }

    /// Has the program look at its configuration again.
    pub(crate) fn asks_to_reload(&mut self) {
        self.0.process_mut().signal(nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    /// Waits for the end; returns the exit code and what was seen before it.
    pub(crate) fn ends(mut self) -> (i32, String) {
        let seen = self.0.exp_eof().unwrap();
        match self.0.process().wait().unwrap() {
            WaitStatus::Exited(_, code) => (code, seen),
            other => panic!("{other:?}"),
        }
    }
}
