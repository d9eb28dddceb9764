//! Going on when the server's process is killed: what the keeper does, where the system has one.

#[cfg(not(target_os = "linux"))]
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landline::{Event, Subscriber};

use super::confinement::Confinement;
use super::tls::Contents;
use crate::bundle::Bundle;
use crate::exit::{Exit, Failure};
#[cfg(target_os = "linux")]
use crate::settings::LogFormat;
use crate::settings::{ServerSettings, Switch};
use crate::setup::Setup;

/// Whether the server is to go on: wherever it can, unless somebody said otherwise.
pub(super) fn is_wanted(settings: &ServerSettings) -> bool {
    settings.crash_survival.map_or_else(is_supported, |switch| switch == Switch::On)
}

/// What is said at the start of what happens when the process is killed.
pub(super) fn promise(settings: &ServerSettings) -> Option<&'static str> {
    if is_kept() {
        return Some(
            "if its process is killed, another takes its place: its listeners and connections stay open",
        );
    }
    // Whoever has switched it off knows.
    settings.crash_survival.is_none().then_some("if its process is killed, all ends: it takes a newer Linux")
}

#[cfg(target_os = "linux")]
fn is_supported() -> bool {
    landline::takeover::is_supported()
}

#[cfg(not(target_os = "linux"))]
fn is_supported() -> bool {
    false
}

/// Runs `work` in a process that is replaced when it is killed; returns the exit code.
#[cfg(target_os = "linux")]
pub(super) fn keep(
    setup: &Setup,
    confinement: &Confinement,
    mut work: impl FnMut() -> Result<(), Failure> + Send,
) -> Result<u8, Failure> {
    use landline::takeover::{Ended, Keeping};
    let settings = &setup.server;
    let is_json = settings.log_format == Some(LogFormat::Json);
    // It comes back with its hint and its code.
    let mut unprepared = None;
    let keeping = Keeping::new().core_dumps(settings.core_dumps == Some(Switch::On));
    let keeping = match settings.watchdog_timeout {
        Some(patience) => keeping.watchdog_timeout(patience),
        None => keeping,
    };
    let keeping = keeping.prepare(|| {
        confinement.prepare(setup).map_err(|failure| unprepared.insert(failure).text().to_owned().into())
    });
    let enter = || confinement.enter_worker().map_err(|failure| failure.in_json(is_json).report());
    let ended = keeping.in_each_worker(enter).keep(|| Failure::code_of(work()));
    if let Some(failure) = unprepared {
        return Err(failure);
    }
    match ended? {
        Ended::Code(code) => Ok(code),
        ended => Err(Failure::new(Exit::Other, ended.to_string()).with_code(ended.code())),
    }
}

/// Runs `work` in a process that is replaced when it is killed: not here.
#[cfg(not(target_os = "linux"))]
pub(super) fn keep(
    _: &Setup,
    _: &Confinement,
    _: impl FnMut() -> Result<(), Failure> + Send,
) -> Result<u8, Failure> {
    let failure = Failure::new(Exit::Usage, "a server survives the end of its process on Linux only");
    Err(failure.hint("leave out '--crash-survival on'"))
}

/// Whether this process is one that is replaced when it is killed.
#[cfg(target_os = "linux")]
pub(super) fn is_kept() -> bool {
    landline::takeover::process_id() != std::process::id()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_kept() -> bool {
    false
}

/// Whether another process served before this one.
#[cfg(target_os = "linux")]
pub(super) fn is_another() -> bool {
    landline::takeover::is_another()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_another() -> bool {
    false
}

/// The process that signals are sent to.
#[cfg(target_os = "linux")]
pub(crate) fn process_id() -> u32 {
    landline::takeover::process_id()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn process_id() -> u32 {
    process::id()
}

/// What a process before this one served by.
#[cfg(target_os = "linux")]
pub(super) fn last_good() -> Option<Bundle> {
    landline::takeover::recall().map(|bytes| Bundle::from_bytes(&bytes))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn last_good() -> Option<Bundle> {
    None
}

/// Checks that the next process can go by this, if there is to be one.
#[cfg(target_os = "linux")]
pub(super) fn can_remember(bundle: &Bundle, settings: &ServerSettings) -> Result<(), Failure> {
    if is_wanted(settings) {
        super::tls::check_size(bundle, landline::takeover::REMEMBERED_MAX)
    } else {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn can_remember(_: &Bundle, _: &ServerSettings) -> Result<(), Failure> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn remember(bundle: &Bundle) {
    // One that is too large was refused when it was read; certificates that have grown since are read anew.
    landline::takeover::remember(&bundle.to_bytes());
}

#[cfg(not(target_os = "linux"))]
fn remember(_: &Bundle) {}

/// Remembers what was read last, once the server serves by it: whatever lies on the disk when the next
/// process starts, that is what it serves by.
#[derive(Debug, Default)]
pub(super) struct LastGood(Mutex<Read>);

#[derive(Debug, Default)]
struct Read {
    /// What may turn out to be good.
    read: Option<Bundle>,
    good: Bundle,
}

impl LastGood {
    /// What may turn out to be good.
    pub(super) fn read(&self, bundle: Bundle) {
        self.lock().read = Some(bundle);
    }

    /// Certificates that are good, in the place of those before.
    pub(super) fn renew(&self, files: &Contents) {
        self.lock().good.files.extend(files.iter().map(|(path, contents)| (path.clone(), contents.clone())));
    }

    /// What was made, and is to stay.
    pub(super) fn made(&self) -> Bundle {
        Bundle { made: self.lock().good.made.clone(), ..Bundle::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for LastGood {
    fn event(&self, event: &Event) {
        let mut all = self.lock();
        match event {
            Event::Started { .. } | Event::Reloaded { .. } => {
                if let Some(read) = all.read.take() {
                    all.good = read;
                }
            }
            Event::CertificatesReloaded { .. } => {}
            _ => return,
        }
        if !all.good.is_empty() {
            remember(&all.good);
        }
    }
}
