//! `--latency`: how long replies take, as they come.

use std::io::{self, IsTerminal, Write};

use hdrhistogram::Histogram;

use super::{Outcome, Report};

/// Takes the line away on which the cursor is.
const ERASE: &str = "\r\x1b[K";

/// A line that is drawn anew with each reply on a terminal, and once at the end elsewhere; both on stderr.
pub(super) struct Latency {
    /// In microseconds.
    times: Histogram<u64>,
    failed: u64,
    is_live: bool,
}

impl Latency {
    pub(super) fn new() -> Self {
        // Up to an hour, to three digits.
        let times = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds make sense");
        Self { times, failed: 0, is_live: io::stderr().is_terminal() }
    }

    fn line(&self) -> String {
        if self.times.is_empty() {
            return format!("0 replies, {} failed", self.failed);
        }
        format!(
            "{} replies, {} failed: min {}, median {}, p99 {}, max {}",
            self.times.len(),
            self.failed,
            ms(self.times.min()),
            ms(self.times.value_at_quantile(0.5)),
            ms(self.times.value_at_quantile(0.99)),
            ms(self.times.max())
        )
    }
}

impl Report for Latency {
    fn make_room(&mut self) {
        if self.is_live {
            // With stderr gone there is nobody to tell.
            let _ = write!(io::stderr(), "{ERASE}");
        }
    }

    fn tell(&mut self, outcome: &Outcome<'_>) -> io::Result<()> {
        if outcome.failure.is_some() {
            self.failed += 1;
        } else {
            // Where nothing is asked, connecting is what takes time.
            let took =
                if outcome.number == 0 { outcome.connecting.unwrap_or_default() } else { outcome.took };
            self.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        if self.is_live {
            let _ = write!(io::stderr(), "{ERASE}{}", self.line());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let erase = if self.is_live { ERASE } else { "" };
        let _ = writeln!(io::stderr(), "{erase}{}", self.line());
        Ok(())
    }
}

/// Microseconds as people read them.
fn ms(micros: u64) -> String {
    let micros = u32::try_from(micros).unwrap_or(u32::MAX);
    format!("{:.2}ms", f64::from(micros) / 1e3)
}
