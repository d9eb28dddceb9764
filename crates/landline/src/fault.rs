//! Moments at which a process can be made to kill itself, to prove that a kill at that moment does no harm.
//! Only builds with the feature `fault-points` have them.
//!
//! `LANDLINE_FAULT=stage:100` kills every worker when it passes the step `stage`: at a moment that is
//! drawn from the first hundred. With `LANDLINE_MISJUDGE` in its environment, the next one does not believe the
//! kernel that anything was sent: whoever verifies has to notice.

#![cfg_attr(
    not(all(target_os = "linux", feature = "takeover")),
    allow(dead_code, reason = "where no process takes over, nobody goes on with what was left")
)]

/// A step after which a process may be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A caller was accepted, and is in no table.
    Accept,
    /// A connection was put into the table.
    Begin,
    /// It was said where input is received.
    Claim,
    /// Input was received.
    Receive,
    /// A message was answered.
    Answer,
    /// It was said what is to be sent.
    Stage,
    /// Something was sent, maybe a part.
    Send,
    /// It was said that all is sent.
    Release,
    /// It was said that input is in other memory.
    Move,
    /// A connection was struck from the table, and its descriptor is open.
    Clear,
    /// Another process went on with a connection.
    Recover,
}

/// A process may be killed here.
#[inline]
pub(crate) fn passed(step: Step) {
    #[cfg(feature = "fault-points")]
    chosen::passed(step);
    let _ = step;
}

/// How far the kernel says that the output is, unless that is to be got wrong.
#[inline]
pub(crate) fn judged(written: u64, staged_at: u64) -> u64 {
    #[cfg(feature = "fault-points")]
    if std::env::var_os("LANDLINE_MISJUDGE").is_some() {
        return staged_at;
    }
    let _ = staged_at;
    written
}

#[cfg(feature = "fault-points")]
mod chosen {
    use std::env;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Step;
    use crate::sys::clock;

    /// What is to be killed, and at which passing, from 1.
    struct Chosen {
        step: String,
        moment: u64,
    }

    fn chosen() -> Option<&'static Chosen> {
        // A worker finds its keeper's memory as it was, so this is drawn anew in each.
        static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
        let draw = || {
            let asked = env::var("LANDLINE_FAULT").ok()?;
            let (step, within) = asked.split_once(':')?;
            let moment = 1 + clock::microseconds() % within.parse::<u64>().ok()?.max(1);
            Some(Chosen { step: step.to_owned(), moment })
        };
        CHOSEN.get_or_init(draw).as_ref()
    }

    pub(super) fn passed(step: Step) {
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let Some(chosen) = chosen() else { return };
        if chosen.step.eq_ignore_ascii_case(&format!("{step:?}"))
            && PASSED.fetch_add(1, Relaxed) + 1 == chosen.moment
        {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
