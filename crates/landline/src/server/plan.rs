//! What a server is to be: its listeners and the rules for all of them. A reload puts another plan in the
//! place of this one.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::config::{Config, MAX_CONNECTIONS};
use super::limits;
use super::listener::Listener;
use super::table::Table;
use super::thread;
use crate::error::{Error, Kind};

/// Descriptors kept free for what the program itself needs: standard streams, logs, libraries.
const OTHER_DESCRIPTORS: usize = 48;
/// The largest table there is: a descriptor limit can be far larger than any number of connections.
pub(crate) const TABLE_MAX: usize = 1 << 20;

/// What a server is.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) admission: Arc<Admission>,
    /// Whether others go on with the queues of the listeners that it lacks.
    pub(crate) leaves_queues: bool,
    /// Every accept loop that goes by this plan has a token.
    pub(crate) accepting: TaskTracker,
}

impl Plan {
    /// Checks everything and sets up the sockets. What `before` has counted goes on being counted.
    pub(crate) fn new(
        table: &Arc<Table>,
        config: Config,
        listeners: Vec<Arc<Listener>>,
        max_connections: usize,
        before: Option<&Plan>,
    ) -> Result<Self, Error> {
        for listener in &listeners {
            listener.check(&config)?;
        }
        for listener in &listeners {
            listener.bound.prepare(&listener.policy)?;
        }
        let before = before.map(|before| &*before.admission);
        let admission = Admission::new(Arc::clone(table), max_connections, &config, before);
        Ok(Self {
            config,
            listeners,
            admission: Arc::new(admission),
            leaves_queues: false,
            accepting: TaskTracker::new(),
        })
    }

    /// The same without listeners: whoever is there stays, nobody comes.
    pub(crate) fn closed(&self) -> Self {
        Self {
            config: self.config.clone(),
            listeners: Vec::new(),
            admission: Arc::clone(&self.admission),
            leaves_queues: false,
            accepting: TaskTracker::new(),
        }
    }

    /// The same without listeners, because another process goes on with them.
    #[cfg(all(target_os = "linux", feature = "takeover"))]
    pub(crate) fn handed_on(&self) -> Self {
        Self { leaves_queues: true, ..self.closed() }
    }

    /// How often connections have to be looked at.
    pub(crate) fn sweep_interval(&self) -> Duration {
        let limits = self.listeners.iter().filter_map(|listener| limits::shortest(&listener.policy));
        limits::sweep_interval(limits.chain(self.config.idle_reclaim).min())
    }

    /// Whether some listener listens where this one does.
    pub(crate) fn has(&self, listener: &Listener) -> bool {
        self.listeners.iter().any(|here| Arc::ptr_eq(&here.bound, &listener.bound))
    }
}

/// How many connections to let in, and whether the descriptor limit is what decided it.
pub(crate) fn max_connections(
    config: &Config,
    listeners: usize,
    open_files: usize,
) -> Result<(usize, bool), Error> {
    // The first listener is among the descriptors of each thread. Another is one itself, and each thread has
    // one for it and one in reserve.
    let more_listeners = listeners.saturating_sub(1) * (1 + 2 * config.threads);
    let own = OTHER_DESCRIPTORS + thread::DESCRIPTORS * config.threads + more_listeners;
    let held = open_files.min(TABLE_MAX).saturating_sub(own);
    match config.max_connections {
        None if held < MAX_CONNECTIONS => Ok((held.max(1), true)),
        None => Ok((MAX_CONNECTIONS, false)),
        Some(asked) if asked > held => Err(Error::new(
            Kind::Config,
            format!("cannot hold {asked} connections"),
            format!("the limit on open files is {open_files}, which is enough for {held}"),
        )),
        Some(asked) => Ok((asked, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_takes_descriptors_of_its_own() {
        let config = Config { threads: 2, ..Config::default() };
        let held = |listeners| max_connections(&config, listeners, 1024).unwrap();
        assert_eq!(held(1), (960, true));
        assert_eq!(held(11), (910, true));
        let asked = Config { max_connections: Some(911), ..config.clone() };
        assert!(max_connections(&asked, 1, 1024).is_ok());
        let error = max_connections(&asked, 11, 1024).unwrap_err();
        assert!(error.is_config() && error.to_string().ends_with("enough for 910"), "{error}");
    }
}
