//! One chart as an SVG that stands in a page.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

/// In the units of the picture; the page scales it.
const SIZE: (u32, u32) = (920, 300);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// The colours are these in light; the style sheet of the page finds them by their values and has others for
/// the dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Blue,
    Orange,
    Violet,
    Red,
}

/// A chart: two axes and lines.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// An axis: from where to where, and what is written at which values.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) name: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) labels: Vec<(f64, String)>,
}

/// A line, in pieces where something is unknown between.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) ink: Ink,
    pub(super) pieces: Vec<Vec<(f64, f64)>>,
}

impl Ink {
    /// The class of the style sheet.
    pub(super) fn name(self) -> &'static str {
        match self {
            Ink::Blue => "blue",
            Ink::Orange => "orange",
            Ink::Violet => "violet",
            Ink::Red => "red",
        }
    }

    fn color(self) -> RGBColor {
        match self {
            Ink::Blue => RGBColor(0x1f, 0x6f, 0xc4),
            Ink::Orange => RGBColor(0xc4, 0x5a, 0x00),
            Ink::Violet => RGBColor(0x7a, 0x4f, 0xb5),
            Ink::Red => RGBColor(0xc9, 0x2a, 0x2a),
        }
    }
}

impl Axis {
    /// From nothing to the least round number that leaves nothing out, with a handful of labels.
    pub(super) fn linear(name: &'static str, most: f64, label: impl Fn(f64) -> String) -> Self {
        let step = round_step(most / 5.0);
        let count = (most / step).ceil().max(1.0);
        let values =
            (0_u32..).map(|n| f64::from(n) * step).take_while(|value| *value <= count * step * 1.001);
        Self {
            name,
            from: 0.0,
            to: count * step,
            labels: values.map(|value| (value, label(value))).collect(),
        }
    }

    /// Powers of ten, as exponents; where there are few of them, twos and fives too.
    pub(super) fn powers(name: &'static str, least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let (from, to) = ((least * 0.9).log10(), (most * 1.1).log10());
        let factors: &[f64] = if to - from > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        #[expect(clippy::cast_possible_truncation, reason = "they are exponents")]
        let exponents = from.floor() as i32..=to.ceil() as i32;
        let values =
            exponents.flat_map(|exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent)));
        let within = values.filter(|value| (from..=to).contains(&value.log10()));
        Self { name, from, to, labels: within.map(|value| (value.log10(), label(value))).collect() }
    }
}

/// An axis is where values lie and what is written there, however much room there is.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
        let pixels = (part * f64::from(last - first)).round() as i32;
        first + pixels
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light ones lie between those with a label, and there are none.
        let labels = if hint.weight().allow_light_points() { &[][..] } else { &self.labels };
        labels.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let found = self.labels.iter().find(|(at, _)| (at - value).abs() < f64::EPSILON);
        found.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// The SVG element of a chart.
pub(super) fn draw(chart: &Chart) -> String {
    let mut svg = String::new();
    draw_on(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), chart)
        .expect("a string takes whatever is drawn");
    // Within a page the element needs no namespace, and the page decides how large it is.
    let svg = svg.split_once("<svg ").and_then(|(_, rest)| rest.split_once("viewBox=")).map(|(_, rest)| rest);
    let svg = svg.unwrap_or_default().replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    format!("<svg role=\"img\" viewBox={svg}")
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

fn draw_on(area: &Area<'_>, chart: &Chart) -> Result<(), Failure> {
    let (x, y) = (&chart.x, &chart.y);
    let mut drawn = ChartBuilder::on(area)
        .margin_top(10)
        .margin_right(30)
        .x_label_area_size(48)
        .y_label_area_size(86)
        .build_cartesian_2d(x.clone(), y.clone())?;
    drawn
        .configure_mesh()
        .axis_style(TEXT)
        .bold_line_style(GRID)
        .label_style(("sans-serif", 19).into_font().color(&TEXT))
        .x_desc(x.name)
        .y_desc(y.name)
        .draw()?;
    for line in &chart.lines {
        for piece in &line.pieces {
            drawn.draw_series(LineSeries::new(piece.iter().copied(), line.ink.color().stroke_width(2)))?;
        }
    }
    area.present()
}

/// The least of 1, 2 and 5 times a power of ten that is not less.
fn round_step(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * 0.999);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.labels.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_ends_at_a_round_number() {
        let axis = |most: f64| Axis::linear("", most, |value| value.to_string());
        assert_eq!(labels(&axis(99.0)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&axis(7.0)), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(&axis(0.0)), ["0", "1"]);
        assert!((axis(99.0).to - 100.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_powers_has_labels_in_between_where_it_is_short() {
        let axis = |least: f64, most: f64| Axis::powers("", least, most, |value| format!("{value:.0}"));
        assert_eq!(labels(&axis(1_000.0, 10_000.0)), ["1000", "2000", "5000", "10000"]);
        assert_eq!(labels(&axis(10.0, 100_000.0)), ["10", "100", "1000", "10000", "100000"]);
    }

    #[test]
    fn a_chart_is_one_svg_element_without_a_namespace() {
        let axis = || Axis::linear("seconds", 10.0, |value| format!("<{value}>"));
        let line = Line { name: "", ink: Ink::Blue, pieces: vec![vec![(0.0, 1.0), (9.0, 3.0)], Vec::new()] };
        let svg = draw(&Chart { x: axis(), y: axis(), lines: vec![line] });
        assert!(svg.starts_with("<svg role=\"img\" viewBox=\"0 0 920 300\">"), "{svg}");
        assert!(
            svg.trim_end().ends_with("</svg>") && !svg.contains("http") && svg.contains("&lt;4&gt;"),
            "{svg}"
        );
        assert!(svg.contains("#1F6FC4") && svg.contains("#333333") && svg.contains("#DDDDDD"), "{svg}");
    }
}
