//! What a worker has found of the one before it. It is in this process's own memory: what was looked at once
//! need not be looked at again, whatever the table says by then.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::sys::socket;

/// A connection by its descriptor's number and the kernel's name for its socket.
pub(crate) type Named = (usize, u64);

static CONNECTIONS: OnceLock<Connections> = OnceLock::new();
static ACCEPTED: Mutex<Vec<Named>> = Mutex::new(Vec::new());

/// Connections in the table whose descriptors still are what the table says.
#[derive(Debug)]
pub(super) struct Connections(Vec<AtomicU64>);

impl Connections {
    /// These, which are open: so their numbers are bounded by how many files can be.
    pub(super) fn new(open: &[Named]) -> Self {
        let len = open.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        let mut names = Vec::new();
        names.resize_with(len, AtomicU64::default);
        for (number, cookie) in open {
            names[*number] = AtomicU64::new(*cookie);
        }
        Self(names)
    }

    /// Whether one of them has this number, taken or not.
    pub(super) fn has(&self, number: usize) -> bool {
        self.0.get(number).is_some_and(|name| name.load(Relaxed) != 0)
    }

    /// Whether this is one of them that nobody has taken; from now on somebody has.
    fn take(&self, (number, cookie): Named) -> bool {
        let name = self.0.get(number).filter(|_| cookie != 0);
        name.is_some_and(|name| name.compare_exchange(cookie, 0, Relaxed, Relaxed).is_ok())
    }
}

/// Keeps what was found, for whoever asks.
pub(super) fn keep(connections: Connections, accepted: Vec<Named>) {
    // A process becomes a worker once.
    let _ = CONNECTIONS.set(connections);
    *ACCEPTED.lock().unwrap_or_else(PoisonError::into_inner) = accepted;
}

/// Connections that the worker before this one may have accepted without putting them into the table. Whoever
/// asks first gets them.
pub(crate) fn take_accepted() -> Vec<Named> {
    std::mem::take(&mut *ACCEPTED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes over a connection that is in the table, if its descriptor still is what it was: as this worker has
/// found it, or, if nobody has looked, as the kernel says now.
pub(crate) fn adopt(connection: Named) -> Option<OwnedFd> {
    match CONNECTIONS.get() {
        Some(connections) => connections.take(connection).then(|| socket::adopt_known(connection.0))?,
        None => socket::adopt(connection.0, connection.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_found_is_taken_once_and_under_its_own_name() {
        let connections = Connections::new(&[(7, 70), (5, 50)]);
        assert_eq!([4, 5, 6, 7, 8].map(|number| connections.has(number)), [false, true, false, true, false]);
        let asked = [(5, 70), (6, 0), (8, 0), (5, 0), (5, 50), (5, 50), (7, 70)];
        let taken = asked.map(|connection| connections.take(connection));
        assert_eq!(taken, [false, false, false, false, true, false, true]);
        assert!(!Connections::new(&[]).take((0, 0)));
    }
}
