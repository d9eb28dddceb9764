//! Where a server can't be confined: what asks for it is an error.

use landline::Server;

use super::ControlSocket;
use crate::args::ServeArgs;
use crate::control::place::Owner;
use crate::exit::{Exit, Failure};
use crate::settings::Switch;
use crate::setup::Setup;

/// That nothing is confined.
pub(super) struct Confinement;

impl Confinement {
    pub(super) fn new(setup: &Setup, args: &ServeArgs) -> Result<Self, Failure> {
        Self::check(setup, args).map(|()| Self)
    }

    pub(super) fn check(setup: &Setup, _: &ServeArgs) -> Result<(), Failure> {
        let settings = &setup.server;
        if settings.user.is_none() && settings.group.is_none() && settings.sandbox != Some(Switch::On) {
            return Ok(());
        }
        let text = "a server gives up privileges, or enters a sandbox, on Linux only";
        Err(Failure::new(Exit::Usage, text).hint("leave out the user, the group and the sandbox"))
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        None
    }

    pub(super) fn words(&self) -> Option<String> {
        None
    }

    pub(super) fn enter(&self, _: &Setup, _: Option<&ControlSocket>) -> Result<(), Failure> {
        Ok(())
    }
}
