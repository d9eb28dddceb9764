//! `landline ctl upgrade`: asks, and waits for the outcome. The process that was asked does not live to tell
//! it, so whichever answers at the control socket afterwards is asked for it by its number.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::control::{Status, client};
use crate::exit::{Exit, Failure};
use crate::serve::upgrade::{Draining, Progress, Step};

/// How many processes may end before one has answered.
const BREAKS_MAX: u32 = 8;
/// How long the server has for what is not the other program's doing.
const GRACE: Duration = Duration::from_secs(10);

/// Returns what to print.
pub(super) fn run(socket: &Path, binary: Option<&Path>, timeout: Duration) -> Result<String, Failure> {
    let binary = binary.map(std::path::absolute).transpose().map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot upgrade: {}", landline::error::describe(&error)))
    })?;
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let wanted = json!({ "binary": binary, "timeout_ms": timeout_ms });
    let before: Status = client::get(socket, "/status")?;
    let asked: Result<Progress, Failure> = client::ask(socket, "/upgrades", &wanted);
    wait(socket, before.last_upgrade.map_or(0, |last| last.number) + 1, asked, timeout)?;
    // That it is done is known, whatever happens to whoever would say more.
    let status = client::get::<Status>(socket, "/status");
    Ok(status.map_or_else(
        |_| "upgraded".to_owned(),
        |status| {
            let draining = draining(&status);
            format!("upgraded to landline {} (pid {}){draining}", status.version, status.pid)
        },
    ))
}

/// Waits for the outcome of what was asked, which is to have this number unless it was said otherwise: the
/// process that was asked may end before it has.
fn wait(
    socket: &Path,
    number: u32,
    asked: Result<Progress, Failure>,
    timeout: Duration,
) -> Result<(), Failure> {
    let (number, mut unheard) = match asked {
        Ok(asked) => (asked.number, None),
        Err(failure) if failure.is(Exit::Connect) => (number, Some(failure)),
        Err(failure) => return Err(failure),
    };
    let until = Instant::now() + timeout.saturating_mul(2).saturating_add(GRACE);
    let mut breaks = 0;
    loop {
        let progress: Progress = match client::get(socket, &format!("/upgrades/{number}")) {
            Ok(progress) => progress,
            // Whoever was to answer has ended. The next one finds who waits at its socket.
            Err(_) if breaks < BREAKS_MAX && Instant::now() < until => {
                breaks += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let failure = match progress.state {
            Step::Done => return Ok(()),
            Step::Checking | Step::Starting if Instant::now() < until => continue,
            Step::Checking | Step::Starting => {
                Failure::new(Exit::Timeout, "the upgrade does not come to its end")
            }
            Step::Unknown => unheard.take().unwrap_or_else(|| {
                Failure::new(Exit::Other, "the server does not know what became of the upgrade")
            }),
            Step::Failed => {
                let cause = progress.error.unwrap_or_default();
                Failure::new(Exit::Other, format!("cannot upgrade: {cause}"))
                    .hint("the program before serves on")
            }
        };
        return Err(failure);
    }
}

/// What the status says of upgrades, to be added to a line.
pub(super) fn describe(status: &Status) -> String {
    let done = match status.upgrades {
        0 => String::new(),
        1 => " - 1 upgrade".to_owned(),
        upgrades => format!(" - {upgrades} upgrades"),
    };
    let is_pending = |last: &Progress| matches!(last.state, Step::Checking | Step::Starting);
    let pending = if status.last_upgrade.as_ref().is_some_and(is_pending) { " - upgrading" } else { "" };
    format!("{done}{pending}")
}

/// A line for each process before this one that still has connections.
pub(super) fn draining(status: &Status) -> String {
    let line = |process: &Draining| {
        let connections = if process.open == 1 { "connection" } else { "connections" };
        format!("\npid {} before it - {} {connections} to end there", process.pid, process.open)
    };
    status.draining.iter().map(line).collect()
}
