//! What a run does, while it does it: on a terminal, redrawn every second.

use std::io::{self, IsTerminal, Stderr};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Chart, Dataset, Gauge, GraphType, Paragraph};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::engine::Glimpse;
use super::latencies::Sparse;

/// How many rows it takes up.
const ROWS: u16 = 12;
/// How many seconds the chart shows.
const SHOWN: usize = 60;

/// The view of one run.
pub(crate) struct Live {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    picture: Picture,
}

/// What is to be seen.
struct Picture {
    title: String,
    /// How far the run is, if it has an end by time.
    duration: Option<Duration>,
    seconds: Vec<Second>,
    total: u64,
    errors: u64,
}

/// One second, of all threads together.
#[derive(Default)]
struct Second {
    replies: u64,
    latency: Sparse,
    /// In milliseconds: p50, p90, p99 and the most.
    times: [f64; 4],
}

impl Live {
    /// A view, if there is somebody to look at it.
    pub(crate) fn new(title: String, duration: Option<Duration>) -> Option<Self> {
        if !io::stderr().is_terminal() || std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
            return None;
        }
        let options = TerminalOptions { viewport: Viewport::Inline(ROWS) };
        let terminal = Terminal::with_options(CrosstermBackend::new(io::stderr()), options).ok()?;
        let picture = Picture { title, duration, seconds: Vec::new(), total: 0, errors: 0 };
        Some(Self { terminal, picture })
    }

    /// One thread's second is over.
    pub(crate) fn show(&mut self, glimpse: &Glimpse) {
        self.picture.add(glimpse);
        let picture = &self.picture;
        // A terminal that is gone is not looked at.
        let _ = self.terminal.draw(|frame| picture.draw(frame));
    }

    /// Takes the view away: the result is what stays, in its place.
    pub(crate) fn close(mut self) {
        let place = self.terminal.get_frame().area().as_position();
        let _ = self.terminal.clear();
        let _ = self.terminal.set_cursor_position(place);
    }
}

impl Picture {
    fn add(&mut self, glimpse: &Glimpse) {
        if self.seconds.len() <= glimpse.second {
            self.seconds.resize_with(glimpse.second + 1, Second::default);
        }
        let second = &mut self.seconds[glimpse.second];
        second.replies += glimpse.interval.replies;
        second.latency.merge(glimpse.interval.latency.clone());
        let times = second.latency.clone().quantiles([0.5, 0.9, 0.99, 1.0]);
        second.times = times.map(|time| time.map_or(0.0, |time| time.as_secs_f64() * 1e3));
        self.total += glimpse.interval.replies;
        self.errors += glimpse.interval.errors;
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Length(1), Constraint::Min(3)];
        let [bar, counts, times, chart] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(self.progress(), bar);
        frame.render_widget(Paragraph::new(self.counts()), counts);
        frame.render_widget(Paragraph::new(self.times()), times);
        self.draw_chart(frame, chart);
    }

    fn progress(&self) -> Gauge<'_> {
        let passed = Duration::from_secs(self.seconds.len() as u64);
        let (ratio, label) = match self.duration {
            Some(duration) => (
                (passed.as_secs_f64() / duration.as_secs_f64()).min(1.0),
                format!("{}: {}s of {}s", self.title, passed.as_secs(), duration.as_secs()),
            ),
            None => (0.0, format!("{}: {}s", self.title, passed.as_secs())),
        };
        Gauge::default().gauge_style(Style::new().fg(Color::Cyan)).ratio(ratio).label(label)
    }

    fn counts(&self) -> Line<'_> {
        let rate = self.seconds.last().map_or(0, |second| second.replies);
        Line::from(format!("{rate} replies/s   {} in all   {} errors", self.total, self.errors))
    }

    fn times(&self) -> Line<'_> {
        let [p50, p90, p99, max] = self.seconds.last().map_or([0.0; 4], |second| second.times);
        Line::from(format!("p50 {p50:.3}ms   p90 {p90:.3}ms   p99 {p99:.3}ms   max {max:.3}ms"))
    }

    fn draw_chart(&self, frame: &mut Frame<'_>, area: ratatui::layout::Rect) {
        let from = self.seconds.len().saturating_sub(SHOWN);
        let points = |which: usize| -> Vec<(f64, f64)> {
            let seconds = self.seconds.iter().enumerate().skip(from);
            seconds.map(|(at, second)| (float(at), second.times[which])).collect()
        };
        let (median, slow) = (points(0), points(2));
        let top = slow.iter().map(|(_, value)| *value).fold(0.001, f64::max) * 1.1;
        let line = |name, points, color| {
            let dataset = Dataset::default().name(name).data(points).graph_type(GraphType::Line);
            dataset.marker(Marker::Braille).style(Style::new().fg(color))
        };
        let datasets = vec![line("p50", &median, Color::Green), line("p99", &slow, Color::Yellow)];
        let (first, last) = (float(from), float(self.seconds.len().max(from + 2) - 1));
        let chart = Chart::new(datasets)
            .x_axis(Axis::default().bounds([first, last]).labels([format!("{first}s"), format!("{last}s")]))
            .y_axis(Axis::default().bounds([0.0, top]).labels(["0".to_owned(), format!("{top:.2}ms")]));
        frame.render_widget(chart, area);
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
fn float(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tally::{ErrorKind, Tally};
    use ratatui::backend::TestBackend;

    #[test]
    fn a_second_shows_its_rate_its_errors_and_its_times() {
        let mut picture = Picture {
            title: "127.0.0.1:8081".to_owned(),
            duration: Some(Duration::from_secs(10)),
            seconds: Vec::new(),
            total: 0,
            errors: 0,
        };
        let mut tally = Tally::new();
        for second in 0..3 {
            let at = Duration::from_secs(second);
            for _ in 0..1234 {
                tally.replied(at, Duration::from_millis(5), None);
            }
            tally.failed(at, ErrorKind::WrongReply, 1);
            let second = usize::try_from(second).unwrap();
            picture.add(&Glimpse { second, interval: tally.over(second) });
        }
        let mut terminal = Terminal::new(TestBackend::new(80, ROWS)).unwrap();
        terminal.draw(|frame| picture.draw(frame)).unwrap();
        let screen: Vec<String> = (0..ROWS)
            .map(|y| (0..80).map(|x| terminal.backend().buffer()[(x, y)].symbol().to_owned()).collect())
            .collect();
        assert!(screen[0].contains("127.0.0.1:8081: 3s of 10s"), "{screen:#?}");
        assert!(screen[1].starts_with("1234 replies/s   3702 in all   3 errors"), "{screen:#?}");
        assert!(screen[2].starts_with("p50 5.0"), "{screen:#?}");
    }
}
