//! What is drawn of a run.

use std::time::Duration;

use crate::bench::figures::{self, float, nanos};
use crate::bench::latencies::Latencies;
use crate::bench::report::chart::{Axis, Chart, Ink, Line};
use crate::bench::series;
use crate::bench::summary::{Mode, Second, Summary};

/// More points than this nobody can tell apart, and the page would grow with the length of the run.
const POINTS_MAX: usize = 600;

/// How far the percentiles go: the fourth nine.
const NINES: u32 = 4;
/// How many points there are from one nine to the next.
const STEPS: u32 = 50;

/// Latency against the share of replies that took no longer, in nines.
pub(super) fn percentiles(summary: &Summary) -> Chart {
    let curves = [
        ("from the schedule", Ink::Blue, summary.from_schedule.as_ref()),
        ("from the send", Ink::Orange, Some(&summary.from_send)),
    ];
    let lines = curves
        .into_iter()
        .filter_map(|(name, ink, times)| Some(Line { name, ink, pieces: vec![curve(times?)] }));
    let lines: Vec<Line> = lines.collect();
    let labels = ["0%", "90%", "99%", "99.9%", "99.99%"].map(str::to_owned);
    let labels = (0..=NINES).map(f64::from).zip(labels).collect();
    let x = Axis { name: "share of replies", from: 0.0, to: f64::from(NINES), labels };
    Chart { x, y: Axis::linear("latency", most(&lines), time), lines }
}

fn curve(times: &Latencies) -> Vec<(f64, f64)> {
    let nines = (0..=NINES * STEPS).map(|step| f64::from(step) / f64::from(STEPS));
    let point = |nines: f64| Some((nines, float(nanos(times.quantile(1.0 - 10_f64.powf(-nines))?))));
    nines.filter_map(point).collect()
}

/// The latency of each second, on an axis of powers: the longest is often a hundred times the median.
pub(super) fn latency(summary: &Summary) -> Chart {
    let seconds = series::thin(&summary.seconds, POINTS_MAX);
    let line = |name, ink, value: fn(&Second) -> Option<Duration>| {
        let value = |second: &Second| value(second).map(|time| float(nanos(time)).max(1.0).log10());
        Line { name, ink, pieces: steps(&seconds, value) }
    };
    let lines = vec![
        line("max", Ink::Violet, |second| second.max),
        line("p99", Ink::Orange, |second| second.p99),
        line("p50", Ink::Blue, |second| second.p50),
    ];
    let values = || lines.iter().flat_map(|line| line.pieces.iter().flatten()).map(|(_, value)| *value);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // Without a reply there is nothing to draw, but still a chart.
    let (least, most) = if least <= most { (10_f64.powf(least), 10_f64.powf(most)) } else { (1e5, 1e7) };
    Chart { x: time_axis(&seconds), y: Axis::powers("latency", least, most, time), lines }
}

/// Replies per second, and in an open loop what was wanted.
pub(super) fn rate(summary: &Summary) -> Chart {
    let seconds = series::thin(&summary.seconds, POINTS_MAX);
    let pieces = steps(&seconds, |second| Some(second.rate()));
    let mut lines = vec![Line { name: "replies", ink: Ink::Blue, pieces }];
    if let Mode::Open { rate } = summary.run.mode {
        let pieces = steps(&seconds, |_| Some(float(rate)));
        lines.insert(0, Line { name: "wanted", ink: Ink::Orange, pieces });
    }
    let y = Axis::linear("per second", most(&lines), figures::per_second);
    Chart { x: time_axis(&seconds), y, lines }
}

/// Errors per second.
pub(super) fn errors(summary: &Summary) -> Chart {
    let seconds = series::thin(&summary.seconds, POINTS_MAX);
    let per_second = |second: &Second| figures::ratio(float(second.errors), second.lasted.as_secs_f64());
    let pieces = steps(&seconds, |second| Some(per_second(second)));
    let lines = vec![Line { name: "errors", ink: Ink::Red, pieces }];
    let y = Axis::linear("per second", most(&lines), figures::per_second);
    Chart { x: time_axis(&seconds), y, lines }
}

/// Each value holds for as long as its second lasted; where there is none, the line has a gap.
fn steps(seconds: &[Second], value: impl Fn(&Second) -> Option<f64>) -> Vec<Vec<(f64, f64)>> {
    let (mut pieces, mut piece, mut begin) = (Vec::new(), Vec::new(), 0.0);
    for second in seconds {
        let end = begin + second.lasted.as_secs_f64();
        match value(second) {
            Some(value) => piece.extend([(begin, value), (end, value)]),
            None => pieces.push(std::mem::take(&mut piece)),
        }
        begin = end;
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn time_axis(seconds: &[Second]) -> Axis {
    let lasted: Duration = seconds.iter().map(|second| second.lasted).sum();
    let mut axis = Axis::linear("time", lasted.as_secs_f64(), |value| time(value * 1e9));
    // A round number more would leave the right side empty.
    if !lasted.is_zero() {
        axis.to = lasted.as_secs_f64();
        axis.labels.retain(|(value, _)| *value <= axis.to);
    }
    axis
}

/// Nanoseconds as a label; nothing of something needs no unit.
fn time(value: f64) -> String {
    if value < 1.0 {
        return "0".to_owned();
    }
    figures::time(Duration::from_secs_f64((value / 1e9).max(0.0))).replace("us", "\u{b5}s")
}

fn most(lines: &[Line]) -> f64 {
    let points = lines.iter().flat_map(|line| line.pieces.iter().flatten());
    points.map(|(_, value)| *value).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::samples::{closed, open};

    fn last(axis: &Axis) -> &str {
        &axis.labels.last().unwrap().1
    }

    #[test]
    fn percentiles_go_from_the_least_to_the_fourth_nine() {
        let chart = percentiles(&open());
        assert_eq!(
            chart.lines.iter().map(|line| line.name).collect::<Vec<_>>(),
            ["from the schedule", "from the send"]
        );
        let curve = &chart.lines[1].pieces[0];
        assert_eq!((curve.len(), last(&chart.x), last(&chart.y)), (201, "99.99%", "20ms"));
        assert!(curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert!((curve[0].1 - 1e6).abs() < 2e3 && (curve[200].1 - 1e7).abs() < 2e4);
        assert_eq!(percentiles(&closed()).lines.len(), 1);
    }

    #[test]
    fn charts_over_time_end_where_the_run_ended() {
        for chart in [latency(&closed()), rate(&closed()), errors(&closed())] {
            assert_eq!(chart.x.labels[0].1, "0");
            assert_eq!((last(&chart.x), chart.x.to.round().to_string()), ("10s", "10".to_owned()));
        }
        assert_eq!(rate(&open()).lines[0].name, "wanted");
    }

    #[test]
    fn a_second_without_replies_is_a_gap() {
        let mut summary = closed();
        summary.seconds[4].p50 = None;
        let line = &latency(&summary).lines[2];
        let ends: Vec<(f64, f64)> =
            line.pieces.iter().map(|piece| (piece[0].0, piece.last().unwrap().0)).collect();
        assert_eq!(ends, [(0.0, 4.0), (5.0, 10.0)]);
    }
}
