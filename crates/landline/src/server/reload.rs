//! A running server gets other listeners and other limits. Everything that can fail is done before anything
//! changes.

use std::sync::Arc;

use super::Config;
use super::fleet::Fleet;
use super::listener::Listener;
use super::monitor::Monitor;
use super::plan::{Plan, max_connections};
use super::run::{Serving, cannot_raise, tell_of_backlog};
use crate::error::{Error, Kind, Outcome};
use crate::event::{Event, Subscriber};
use crate::sys::limits;

/// How a server finds out what it is to be from now on.
pub(super) type Reload = Box<dyn FnMut(&Monitor) -> Outcome<Serving>>;

/// Reloads a server that knows how to.
pub(super) struct Reloader {
    pub(super) monitor: Monitor,
    pub(super) reload: Option<Reload>,
}

impl Reloader {
    pub(super) fn can(&self) -> bool {
        self.reload.is_some()
    }

    /// Reloads, or says in an event why not.
    pub(super) async fn reload(&mut self, fleet: &Fleet) -> Result<(), Error> {
        let Some(read) = &mut self.reload else {
            return Err(cannot("there is nothing to read anew"));
        };
        let done = match read(&self.monitor) {
            Ok(anew) => reload(fleet, anew).await,
            Err(error) => Err(cannot(error.to_string())),
        };
        if let Err(error) = &done {
            let cause = error.to_string().into();
            fleet.share().events.event(&Event::ReloadFailed { cause });
        }
        done
    }
}

/// Puts other listeners and limits in the place of those that a server has.
pub(super) async fn reload(fleet: &Fleet, anew: Serving) -> Result<(), Error> {
    let before = fleet.plan().ok_or_else(|| cannot("the server is ending"))?;
    let share = fleet.share();
    check(&anew, &before.config)?;
    let open_files = limits::raise_open_files().map_err(cannot_raise)?;
    let (max_connections, _) = max_connections(&anew.config, anew.listeners.len(), open_files)?;
    let plan = Plan::new(&share.table, anew.config, anew.listeners, max_connections, Some(&before));
    let plan = plan.inspect_err(|_| {
        // Sockets that both have may be set up for the new one by now.
        for listener in &before.listeners {
            // What could be set before can be set again.
            let _ = listener.bound.prepare(&listener.policy);
        }
    })?;
    let new: Vec<_> = plan.listeners.iter().filter(|listener| !before.has(listener)).cloned().collect();
    let gone = before.listeners.iter().filter(|listener| !plan.has(listener));
    let gone: Vec<_> = gone.map(|listener| listener.bound.address.clone()).collect();
    let listeners = plan.listeners.len();
    // With the plan before go the sockets that only it had.
    drop(before);
    plan.listeners.iter().for_each(|listener| listener.renew(&share.events));
    fleet.follow(Arc::new(plan)).await;
    for listener in new {
        tell_of_backlog(&listener, &*share.events);
        listener.tell(&*share.events);
    }
    for address in gone {
        share.events.event(&Event::ListenerClosed { address });
    }
    share.events.event(&Event::Reloaded { listeners, max_connections });
    Ok(())
}

/// Whether a server can become this one while it runs.
fn check(anew: &Serving, running: &Config) -> Result<(), Error> {
    if let Some(misfit) = &anew.misfit {
        return Err(cannot(misfit.to_string()));
    }
    if anew.config.threads != running.threads {
        return Err(cannot(format!(
            "the number of threads is {} and can't be changed while it runs",
            running.threads
        )));
    }
    let is_twice = |(index, listener): (usize, &Arc<Listener>)| {
        anew.listeners[..index].iter().any(|other| Arc::ptr_eq(&other.bound, &listener.bound))
    };
    if anew.listeners.iter().enumerate().any(is_twice) {
        return Err(cannot("two of its listeners have one address"));
    }
    Ok(())
}

fn cannot(cause: impl Into<String>) -> Error {
    Error::new(Kind::Config, "cannot reload", cause)
}
