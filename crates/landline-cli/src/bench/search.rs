//! Looking for the highest rate that holds a condition. Pure.

/// A rate that holds and one that does not are close enough when they differ by no more than this.
const CLOSE_ENOUGH: f64 = 1.05;
/// How many rates are tried at most; each takes the duration of a run.
const TRIES_MAX: u32 = 20;
/// Below this there is nothing to find, in requests per second.
const LEAST: f64 = 1.0;

/// A search that is told of each rate whether it held.
#[derive(Debug)]
pub(crate) struct Search {
    held: Option<f64>,
    failed: Option<f64>,
    tries: u32,
    start: f64,
}

impl Search {
    /// Begins with a rate that is a fair guess.
    pub(crate) fn new(start: f64) -> Self {
        Self { held: None, failed: None, tries: 0, start: start.max(LEAST) }
    }

    /// The next rate to try; none when it is found, or there is none.
    pub(crate) fn next(&self) -> Option<f64> {
        if self.tries == TRIES_MAX {
            return None;
        }
        match (self.held, self.failed) {
            (None, None) => Some(self.start),
            (Some(held), None) => Some(held * 2.0),
            (None, Some(failed)) => Some(failed / 2.0).filter(|rate| *rate >= LEAST),
            (Some(held), Some(failed)) => (failed > held * CLOSE_ENOUGH).then(|| (held * failed).sqrt()),
        }
    }

    /// How the rate that was asked for did.
    pub(crate) fn tell(&mut self, rate: f64, held: bool) {
        self.tries += 1;
        let place = if held { &mut self.held } else { &mut self.failed };
        *place = Some(rate);
    }

    /// The highest rate that held.
    pub(crate) fn found(&self) -> Option<f64> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate that is found, and after how many tries, where all up to `limit` hold.
    fn find(start: f64, limit: f64) -> (Option<f64>, u32) {
        let mut search = Search::new(start);
        while let Some(rate) = search.next() {
            search.tell(rate, rate <= limit);
        }
        (search.found(), search.tries)
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for start in [10.0, 1000.0, 100_000.0] {
            let (found, tries) = find(start, 7300.0);
            let found = found.unwrap();
            assert!(found <= 7300.0 && found * CLOSE_ENOUGH >= 7300.0, "{start}: {found}");
            assert!(tries < TRIES_MAX, "{start}: {tries}");
        }
    }

    #[test]
    fn what_never_holds_and_what_always_holds_come_to_an_end() {
        assert_eq!(find(1000.0, 0.0).0, None);
        let (found, tries) = find(1000.0, f64::INFINITY);
        assert!(found.is_some() && tries == TRIES_MAX);
    }
}
