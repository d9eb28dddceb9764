//! Runs that never were, for tests.

use super::{Mode, Run, Summary, Tcp};
use crate::bench::tally::{ErrorKind, Tally};
use landline::frame::Framing;
use std::time::Duration;

pub(in crate::bench) const MS: Duration = Duration::from_millis(1);

/// Ten seconds of 100 requests each, of which one is reset. Every hundredth reply takes ten times as long.
pub(in crate::bench) fn tally(latency: Duration) -> Tally {
    scheduled(latency, None)
}

/// The same in an open loop: every request is sent so late.
pub(in crate::bench) fn scheduled(latency: Duration, slip: Option<Duration>) -> Tally {
    let mut tally = Tally::new();
    tally.connected(MS / 2);
    for n in 0..1_000 {
        let at = n * 10 * MS;
        tally.sent(64, slip);
        if n % 100 == 99 {
            tally.failed(at, ErrorKind::Reset, 1);
        } else {
            let latency = if n % 100 == 50 { 10 * latency } else { latency };
            tally.received(64);
            tally.replied(at, latency, slip.map(|slip| slip + latency));
        }
    }
    tally
}

pub(in crate::bench) fn run(mode: Mode) -> Run {
    Run {
        target: "127.0.0.1:8081".to_owned(),
        payload: "64 bytes".to_owned(),
        expect: "upper".to_owned(),
        connections: 50,
        threads: 2,
        pipeline: 1,
        framing: Framing::Line,
        mode,
        duration: Some(Duration::from_secs(10)),
        started: "2026-11-22 12:00:00 UTC".to_owned(),
        fail_if: None,
    }
}

pub(in crate::bench) fn closed() -> Summary {
    Summary::new(run(Mode::Closed), Duration::from_secs(10), [tally(MS)])
}

/// A run of which everything is known.
pub(in crate::bench) fn open() -> Summary {
    let slept = scheduled(MS, Some(5 * MS));
    let mut summary = Summary::new(run(Mode::Open { rate: 100 }), Duration::from_secs(10), [slept]);
    summary.tcp = Some(Tcp { rtt: Duration::from_micros(80), retransmits: 3 });
    summary.generator_cpu = Some(Duration::from_secs(1));
    summary.server_cpu = Some(Duration::from_secs(2));
    summary.run.fail_if = "max>1h,errors>0".parse().ok();
    summary
}
