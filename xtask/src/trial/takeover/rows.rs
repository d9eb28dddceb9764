//! Who asks what, and what is done to the server meanwhile.

use super::callers::{Callers, Life};
use super::fault::{ABORT, BUS, Fault, KILL, SEGV};

/// One row of the trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) callers: Callers,
    /// What is done, in turn.
    pub(super) faults: &'static [Fault],
    /// After how many milliseconds it is done again, to a process that may not serve yet.
    pub(super) again: Option<[u64; 2]>,
    /// How often it is done, if not as often as there is time for.
    pub(super) times: Option<usize>,
    /// By how much the longest wait may be longer than without a strike, in milliseconds.
    pub(super) longer_ms: Option<f64>,
}

/// Between two strikes, in milliseconds: four hundred in a minute where it takes a few milliseconds to go on,
/// and a hundred where it takes more.
const PAUSE_FEW: [u64; 2] = [50, 250];
const PAUSE: [u64; 2] = [200, 1_000];
/// Between two upgrades, with few or a thousand connections, and with more.
const PAUSE_UPGRADES: [u64; 2] = [10, 150];
const PAUSE_UPGRADES_MANY: [u64; 2] = [200, 400];
/// So many upgrades follow each other.
const UPGRADES: usize = 20;
/// So often something is killed during one, in each of two rows.
const KILLS: usize = 50;
/// So many connections are few.
const FEW: usize = 50;
/// From this number on, going on with them takes longer.
const MANY: usize = 10_000;
const LONGER_MS: f64 = 30.0;
const LONGER_MANY_MS: f64 = 100.0;
/// Half of what a server answers, or less.
const RATE: &str = "20k";
const SLOW_RATE: &str = "2k";
/// Callers who part choose for themselves.
const MIXED: &str = "mixed";

const fn row(connections: usize, framing: &'static str, size: &'static str, depth: &'static str) -> Row {
    let callers = Callers { connections, framing, size, depth, life: Life::Stay, rate: None };
    let longer_ms = if connections < MANY { LONGER_MS } else { LONGER_MANY_MS };
    Row { callers, faults: &[KILL], again: None, times: None, longer_ms: Some(longer_ms) }
}

const fn with(life: Life, row: Row) -> Row {
    Row { callers: Callers { life, ..row.callers }, ..row }
}

/// Asked at a rate that leaves the server time.
const fn steady(row: Row) -> Row {
    Row { callers: Callers { rate: Some(RATE), ..row.callers }, ..row }
}

/// Asked so seldom that whoever comes and goes does not run out of ports, for which callers would wait.
const fn slow(row: Row) -> Row {
    Row { callers: Callers { rate: Some(SLOW_RATE), ..row.callers }, ..row }
}

/// So many ask so much at once that a round takes as long as a strike may. Whoever would have been the last
/// of the old process's round can be the last of the new one's: its wait says nothing of the time without
/// service.
const fn crowded(row: Row) -> Row {
    Row { longer_ms: None, ..row }
}

/// Two deaths take twice as long as one.
const fn twice(row: Row) -> Row {
    Row { again: Some([0, 20]), longer_ms: Some(2.0 * LONGER_MS), ..row }
}

pub(super) const ROWS: &[Row] = &[
    row(50, "raw", "64", "1"),
    row(50, "line", "64", "16"),
    row(50, "length", "1KiB", "16"),
    row(50, "raw", "64KiB", "1"),
    crowded(row(50, "length", "64KiB", "16")),
    with(Life::Churn, row(50, "line", "64", "1")),
    with(Life::Part, row(50, "line", MIXED, "8")),
    with(Life::Part, row(50, "raw", MIXED, "8")),
    Row { faults: &[SEGV, ABORT, BUS], ..row(50, "line", "1KiB", "16") },
    twice(row(50, "length", "64", "16")),
    steady(row(1_000, "raw", "64", "1")),
    crowded(row(1_000, "line", "64", "16")),
    crowded(row(1_000, "length", "16KiB", "1")),
    with(Life::Churn, crowded(row(1_000, "raw", "64", "1"))),
    steady(row(10_000, "raw", "64", "1")),
    crowded(row(10_000, "line", "1KiB", "1")),
];

/// Each time another program takes over.
const fn upgraded(row: Row) -> Row {
    Row { faults: &[Fault::Upgrade], times: Some(UPGRADES), ..row }
}

/// Until somebody serves again, more than one process may have ended: the longest wait has no bound.
const fn killed(row: Row) -> Row {
    Row { faults: &[Fault::KillInUpgrade], times: Some(KILLS), longer_ms: None, ..row }
}

pub(super) const UPGRADE_ROWS: &[Row] = &[
    upgraded(row(50, "raw", "64", "1")),
    upgraded(row(50, "line", "64", "16")),
    upgraded(slow(with(Life::Churn, row(50, "length", "1KiB", "1")))),
    upgraded(with(Life::Part, row(50, "line", MIXED, "8"))),
    upgraded(steady(row(1_000, "raw", "64", "1"))),
    upgraded(crowded(row(1_000, "length", "1KiB", "16"))),
];

/// These take longer, and have a while to catch up between two.
pub(super) const UPGRADE_MANY_ROWS: &[Row] = &[upgraded(steady(row(10_000, "raw", "64", "1")))];

/// Who calls in the moment in which a keeper is killed may be closed, as the docs say: so nobody does.
pub(super) const KILL_ROWS: &[Row] =
    &[killed(row(50, "line", "64", "16")), killed(steady(row(1_000, "raw", "64", "1")))];

impl Row {
    /// Whether other programs take over.
    pub(super) fn is_upgraded(&self) -> bool {
        self.times.is_some()
    }

    pub(super) fn words(&self) -> String {
        let faults: Vec<&str> = self.faults.iter().map(|fault| fault.name()).collect();
        let times = if self.again.is_some() { ", twice at a time" } else { "" };
        format!("{}; {}{times}", self.callers.words(), faults.join(", "))
    }

    /// The time between two strikes is between these, in milliseconds.
    pub(super) fn pause(&self) -> [u64; 2] {
        match self.callers.connections {
            MANY.. if self.is_upgraded() => PAUSE_UPGRADES_MANY,
            _ if self.is_upgraded() => PAUSE_UPGRADES,
            ..=FEW => PAUSE_FEW,
            _ => PAUSE,
        }
    }
}
