//! The signals that a server obeys.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::sys::signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// SIGINT, SIGTERM: end.
    End,
    /// SIGHUP: look at the configuration again; without one, end.
    HangUp,
}

/// The signals of the process.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on. SIGINT and SIGHUP are left alone if they were ignored at the start.
    pub(crate) fn new() -> io::Result<Self> {
        let unless_ignored =
            |kind: SignalKind| (!signals::is_ignored(kind.as_raw_value())).then(|| signal(kind)).transpose();
        Ok(Self {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ask {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => Ask::End,
            _ = self.terminate.recv() => Ask::End,
            () = one(&mut self.hangup) => Ask::HangUp,
        }
    }

    /// Waits for one that ends a server. Cancel-safe.
    pub(crate) async fn end(&mut self, hangup_ends: bool) {
        while self.next().await == Ask::HangUp && !hangup_ends {}
    }
}
