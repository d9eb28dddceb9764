//! Having another program take over, where the system lets one: what the control socket asks for and tells.

use std::path::PathBuf;
#[cfg(target_os = "linux")]
use std::time::Duration;

use landline::Error;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::setup::Setup;

use super::survival;

/// What `POST /upgrades` asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// None for what lies where the server was started from.
    pub(crate) binary: Option<PathBuf>,
    pub(crate) timeout_ms: u64,
}

/// How far an upgrade is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) number: u32,
    pub(crate) state: Step,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

/// The steps of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Unknown,
    Checking,
    Starting,
    Done,
    Failed,
}

/// A process that another has replaced, and that still has connections with which nobody else can go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Draining {
    pub(crate) pid: u32,
    pub(crate) open: usize,
}

/// What only a program can know that was asked whether it can take over.
pub(super) fn can_take_over(setup: &Setup) -> Result<(), Failure> {
    if survival::is_wanted(&setup.server) {
        return Ok(());
    }
    let text = "crash_survival is off by now, and can't be changed while the server runs";
    Err(Failure::new(Exit::Usage, text))
}

#[cfg(target_os = "linux")]
pub(super) fn is_check() -> bool {
    landline::takeover::is_check()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_check() -> bool {
    false
}

/// Begins with an upgrade.
#[cfg(target_os = "linux")]
pub(crate) fn begin(wanted: &Wanted) -> Result<Progress, Error> {
    let patience = Duration::from_millis(wanted.timeout_ms);
    landline::takeover::upgrade(wanted.binary.as_deref(), patience).map(progress)
}

/// How far an upgrade is.
#[cfg(target_os = "linux")]
pub(crate) fn progress(number: u32) -> Progress {
    use landline::takeover::{UpgradeState, upgrade_state};
    let (state, error) = match upgrade_state(number) {
        UpgradeState::Checking => (Step::Checking, None),
        UpgradeState::Starting => (Step::Starting, None),
        UpgradeState::Done => (Step::Done, None),
        UpgradeState::Failed(cause) => (Step::Failed, Some(cause)),
        _ => (Step::Unknown, None),
    };
    Progress { number, state, error }
}

/// How many there were, and the last that was asked for.
#[cfg(target_os = "linux")]
pub(crate) fn all() -> (u32, Option<Progress>) {
    let (done, last) = landline::takeover::upgrades();
    (done, last.map(progress))
}

/// Those of them that there are.
#[cfg(target_os = "linux")]
pub(crate) fn draining() -> Vec<Draining> {
    let draining = landline::takeover::draining();
    draining.iter().map(|process| Draining { pid: process.process_id, open: process.open }).collect()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn draining() -> Vec<Draining> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn begin(_: &Wanted) -> Result<Progress, std::io::Error> {
    Err(std::io::Error::other("cannot upgrade: that is for Linux only"))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn progress(number: u32) -> Progress {
    Progress { number, state: Step::Unknown, error: None }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn all() -> (u32, Option<Progress>) {
    (0, None)
}
