//! What a server may not do any more once it listens: it ceases to be root, and what serves is in a sandbox.
//!
//! With a keeper, that one listens and ceases to be root before there is any worker, so that none ever was;
//! the sandbox is the worker's alone, because a keeper has to be able to start another program. Without one,
//! a single process does both before it has a second thread.

mod privilege;
mod sandbox;

use std::path::Path;

use landline::{Address, Server};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

use super::build;
use super::http::Telling;
use super::{ControlSocket, survival};
use crate::args::ServeArgs;
use crate::control::{self, place::Owner};
use crate::exit::{Exit, Failure};
use crate::settings::{ServerSettings, Switch};
use crate::setup::Setup;
use crate::units;
use privilege::Privilege;
use sandbox::Sandbox;

/// What a server may not do.
pub(super) struct Confinement {
    privilege: Privilege,
    sandbox: Option<Sandbox>,
    core_dumps: bool,
}

impl Confinement {
    /// Nothing is confined yet but a process that is no root any more; what can't be is an error.
    pub(super) fn new(setup: &Setup, args: &ServeArgs) -> Result<Self, Failure> {
        let privilege = Privilege::new(&setup.server)?;
        let is_sandboxed = setup.server.sandbox == Some(Switch::On);
        let sandbox = is_sandboxed.then(|| Sandbox::new(setup, args, privilege.owner())).transpose()?;
        let core_dumps = setup.server.core_dumps == Some(Switch::On);
        let confinement = Self { privilege, sandbox, core_dumps };
        if !confinement.privilege.is_to_be_dropped() {
            confinement.drop_privileges()?;
        }
        Ok(confinement)
    }

    /// What can be said of settings without root, and without listening.
    pub(super) fn check(setup: &Setup, args: &ServeArgs) -> Result<(), Failure> {
        Privilege::check(&setup.server)?;
        match setup.server.sandbox {
            Some(Switch::On) => Sandbox::check(setup, args),
            _ => Ok(()),
        }
    }

    /// Whether there is anything that the server may not do.
    pub(super) fn is_any(&self) -> bool {
        self.privilege.owner().is_some() || self.sandbox.is_some()
    }

    /// Who the server is to be, if not whoever starts it.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.privilege.owner()
    }

    /// What is said of it at the start.
    pub(super) fn words(&self) -> Option<String> {
        let sandbox = self.sandbox.as_ref().map(Sandbox::words);
        match (self.privilege.words(), sandbox) {
            (Some(user), Some(sandbox)) => Some(format!("it runs as {user}, {sandbox}")),
            (Some(user), None) => Some(format!("it runs as {user}")),
            (None, Some(sandbox)) => Some(format!("it runs {sandbox}")),
            (None, None) => None,
        }
    }

    /// In the keeper: listens as long as this process is root, and ceases to be. What it returns is for the
    /// workers to go on with.
    pub(super) fn prepare(&self, setup: &Setup) -> Result<Vec<Server>, Failure> {
        let mut listening = Vec::new();
        if self.privilege.is_to_be_dropped() {
            let (ahead, control) = self.listen_ahead(setup)?;
            listening = ahead;
            self.give_away(setup, control.as_ref())?;
            listening.extend(control.map(|control| control.listening));
        }
        self.drop_privileges()?;
        Ok(listening)
    }

    /// In a single process that listens and has one thread: all of it.
    pub(super) fn enter(&self, setup: &Setup, control: Option<&ControlSocket>) -> Result<(), Failure> {
        if self.privilege.is_to_be_dropped() {
            self.give_away(setup, control)?;
        }
        self.drop_privileges()?;
        self.enter_worker()
    }

    /// On the first thread of a worker, before it has another: what its keeper is not held to.
    pub(super) fn enter_worker(&self) -> Result<(), Failure> {
        self.sandbox.as_ref().map_or(Ok(()), Sandbox::enter)
    }

    /// In the order in which each worker asks for them: listeners, HTTP, the control socket. What was
    /// inherited takes no privilege, and there is but one descriptor of it.
    fn listen_ahead(&self, setup: &Setup) -> Result<(Vec<Server>, Option<ControlSocket>), Failure> {
        let mut listening = Vec::new();
        for listener in setup.listeners.iter().filter(|listener| !listener.address.is_inherited()) {
            listening.push(build::listen_on(&listener.address, |address| Server::bind(address))?);
        }
        let first = setup.listeners.first().filter(|first| !first.address.is_inherited());
        let port = first.and(listening.first()).map(|server| server.local_addr().port());
        listening.extend(setup.server.http.as_ref().map(Telling::listen).transpose()?);
        let control = ControlSocket::listen(&setup.server, port, self.owner())?;
        Ok((listening, control))
    }

    fn drop_privileges(&self) -> Result<(), Failure> {
        if !self.is_any() {
            return Ok(());
        }
        self.privilege.drop()?;
        let cannot = |error: rustix::io::Errno| {
            let cause = landline::error::describe(&error.into());
            Failure::new(Exit::Other, format!("cannot give up privileges for good: {cause}"))
        };
        // Whatever it starts can't gain by it, be it a program that belongs to root.
        set_no_new_privs(true).map_err(cannot)?;
        if self.owner().is_some() {
            // Others of this user's processes are not to look into this one. It says so itself, because a
            // program that takes over was readable when it was started.
            let dumps =
                if self.core_dumps { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
            set_dumpable_behavior(dumps).map_err(cannot)?;
        }
        Ok(())
    }

    /// Gives the files of Unix sockets to whoever the server is to be, as far as nobody was said to own them.
    fn give_away(&self, setup: &Setup, control: Option<&ControlSocket>) -> Result<(), Failure> {
        let Some((user, group)) = self.owner() else { return Ok(()) };
        let default = landline::Policy::default().unix_mode;
        for listener in &setup.listeners {
            let Some(path) = listener.address.path() else { continue };
            let said = listener.settings.unix_owner.as_deref().map(units::resolve_owner).transpose();
            let said = said.map_err(|cause| Failure::new(Exit::Usage, cause))?.unwrap_or_default();
            let owner = (said.0.unwrap_or(user), said.1.unwrap_or(group));
            privilege::give_file(path, owner, listener.settings.unix_mode.unwrap_or(default))?;
        }
        match control {
            Some(control) => privilege::give_file(&control.path, (user, group), control::MODE),
            None => Ok(()),
        }
    }
}

/// The addresses at which the settings have the server listen beside the control socket.
fn addresses(setup: &Setup) -> impl Iterator<Item = &Address> {
    setup.listeners.iter().map(|listener| &listener.address).chain(&setup.server.http)
}

/// Where the control socket lies, if it was said.
fn named_control(settings: &ServerSettings) -> Option<&Path> {
    settings.control.as_deref().filter(|path| path.as_os_str() != "none")
}

/// Whether another process goes on when this one is killed.
fn survives(setup: &Setup) -> bool {
    survival::is_wanted(&setup.server)
}
