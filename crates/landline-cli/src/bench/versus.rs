//! Two servers in turns, and the ratio of what they did. Pure.

use std::fmt::Write;

use super::summary::Summary;

/// How often the four turns A B B A are taken.
pub(super) const ROUNDS: usize = 3;

/// What is compared: what it says of a run, if it says anything.
type Figure = fn(&Summary) -> Option<f64>;

const FIGURES: [(&str, Figure); 4] = [
    ("replies per second", |summary| Some(summary.rate())),
    ("p50 latency", |summary| summary.latency().quantile(0.5).map(|time| time.as_secs_f64())),
    ("p99 latency", |summary| summary.latency().quantile(0.99).map(|time| time.as_secs_f64())),
    ("server CPU per request", |summary| {
        summary.per_request(summary.server_cpu).map(|cpu| cpu.as_secs_f64())
    }),
];

/// Runs of A and B, pair by pair, and of A beside itself.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pairs: Vec<(Summary, Summary)>,
    noise: Vec<(Summary, Summary)>,
}

impl Comparison {
    /// One round: what A, B, B and A did, in this order.
    pub(super) fn add(&mut self, [a1, b1, b2, a2]: [Summary; 4]) {
        self.noise.push((a1.clone(), a2.clone()));
        self.pairs.push((a1, b1));
        self.pairs.push((a2, b2));
    }

    /// The ratio of B to A for each figure that both have, and of A to itself: how much of a difference means
    /// nothing.
    pub(super) fn in_words(&self, a: &str, b: &str) -> String {
        let mut text = format!("{b} to {a}, {} pairs: lowest, median, highest\n", self.pairs.len());
        for (name, figure) in FIGURES {
            if let (Some(ratios), Some(noise)) = (spread(&self.pairs, figure), spread(&self.noise, figure)) {
                // Writing to a string can't fail.
                let _ = writeln!(text, "  {name:<24} {}    {a} to itself {}", three(ratios), three(noise));
            }
        }
        text
    }
}

fn three([low, middle, high]: [f64; 3]) -> String {
    format!("{low:.3}  {middle:.3}  {high:.3}")
}

/// The lowest, the median and the highest ratio of the pairs.
fn spread(pairs: &[(Summary, Summary)], figure: Figure) -> Option<[f64; 3]> {
    let ratio = |(a, b): &(Summary, Summary)| Some(figure(b)? / figure(a)?).filter(|ratio| ratio.is_finite());
    let mut ratios = pairs.iter().map(ratio).collect::<Option<Vec<f64>>>()?;
    ratios.sort_by(f64::total_cmp);
    Some([*ratios.first()?, ratios[ratios.len() / 2], *ratios.last()?])
}

#[cfg(test)]
mod tests {
    use super::super::summary::samples::closed;
    use super::*;

    #[test]
    fn the_ratio_is_of_the_second_to_the_first_and_what_is_not_known_is_left_out() {
        let (a, mut b) = (closed(), closed());
        b.lasted = a.lasted * 2;
        let mut comparison = Comparison::default();
        comparison.add([a.clone(), b.clone(), b, a]);
        let text = comparison.in_words("one", "other");
        assert!(text.starts_with("other to one, 2 pairs"), "{text}");
        assert!(
            text.contains("replies per second       0.500  0.500  0.500    one to itself 1.000"),
            "{text}"
        );
    }
}
