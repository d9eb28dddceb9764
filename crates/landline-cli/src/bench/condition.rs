//! `--fail-if 'p99>5ms,errors>0'`: a grammar for what a run should or should not have been.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::bench::figures::{self, float};
use crate::bench::summary::Summary;
use crate::escape::wrong;
use crate::units;

/// Several conditions, separated by commas.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conditions(Vec<Condition>);

/// A figure of a run, and what it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    metric: Metric,
    comparison: Comparison,
    /// In nanoseconds, requests, bytes per second or a fraction, as the metric is measured.
    limit: f64,
    /// The limit as it was written.
    written: String,
}

/// What a figure of a run was, next to the condition on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured<'a> {
    condition: &'a Condition,
    /// Nothing for the latency of a run without replies.
    value: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
    Mean,
    Errors,
    ErrorRate,
    Rate,
    Throughput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    More,
    AtLeast,
    Less,
    AtMost,
}

impl Conditions {
    /// What each was in this run, in the order they were written.
    pub(crate) fn measure<'a>(&'a self, summary: &Summary) -> impl Iterator<Item = Measured<'a>> {
        self.0.iter().map(|condition| condition.measure(summary))
    }
}

impl Condition {
    /// What it was in this run.
    pub(crate) fn measure(&self, summary: &Summary) -> Measured<'_> {
        Measured { condition: self, value: self.metric.of(summary) }
    }

    /// One condition, which begins at `start` of the text.
    fn read(text: &str, start: usize, end: usize) -> Result<Self, String> {
        const FORMS: &str = "a condition is a metric, one of > >= < <=, and a value, as in p99>5ms";
        let part = &text[start..end];
        let sign = part.find(['<', '>']).ok_or_else(|| wrong(text, start, FORMS))?;
        let name = part[..sign].trim();
        let begin = start + (part.len() - part.trim_start().len());
        let metric = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        let metric = metric.ok_or_else(|| wrong(text, begin, &Metric::forms()))?;
        let (comparison, length) = Comparison::read(&part[sign..]);
        let rest = &part[sign + length..];
        let written = rest.trim();
        let place = start + sign + length + (rest.len() - rest.trim_start().len());
        let limit = metric.limit(written).map_err(|cause| wrong(text, place, &cause))?;
        Ok(Self { metric, comparison, limit, written: written.to_owned() })
    }
}

impl FromStr for Conditions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut start = 0;
        let conditions = text.split(',').map(|part| {
            let begin = start;
            start += part.len() + 1;
            Condition::read(text, begin, begin + part.len())
        });
        conditions.collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text, 0, text.len())
    }
}

impl<'a> Measured<'a> {
    pub(crate) fn condition(&self) -> &'a Condition {
        self.condition
    }

    /// What was measured and what it is compared with, as programs are told: times in microseconds.
    pub(crate) fn for_programs(&self) -> (Option<f64>, f64) {
        let unit = if self.condition.metric.is_time() { 1e3 } else { 1.0 };
        (self.value.map(|value| value / unit), self.condition.limit / unit)
    }

    /// What was measured, for people.
    pub(crate) fn in_words(&self) -> String {
        self.value.map_or_else(|| "unknown".to_owned(), |value| self.condition.metric.show(value))
    }

    /// Whether the condition holds. The latency of a run without replies is longer than any: a reply that
    /// never came took for ever.
    pub(crate) fn holds(&self) -> bool {
        let (value, limit) = (self.value.unwrap_or(f64::INFINITY), self.condition.limit);
        match self.condition.comparison {
            Comparison::More => value > limit,
            Comparison::AtLeast => value >= limit,
            Comparison::Less => value < limit,
            Comparison::AtMost => value <= limit,
        }
    }
}

impl Metric {
    const ALL: [Self; 11] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::P9999,
        Self::Max,
        Self::Mean,
        Self::Errors,
        Self::ErrorRate,
        Self::Rate,
        Self::Throughput,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::P9999 => "p99.99",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Errors => "errors",
            Self::ErrorRate => "error-rate",
            Self::Rate => "rate",
            Self::Throughput => "throughput",
        }
    }

    fn forms() -> String {
        format!("a metric is one of {}", Self::ALL.map(Self::name).join(", "))
    }

    fn of(self, summary: &Summary) -> Option<f64> {
        let nanos = |time: Option<Duration>| time.map(|time| float(figures::nanos(time)));
        let latency = summary.latency();
        match self {
            Self::P50 => nanos(latency.quantile(0.5)),
            Self::P90 => nanos(latency.quantile(0.9)),
            Self::P99 => nanos(latency.quantile(0.99)),
            Self::P999 => nanos(latency.quantile(0.999)),
            Self::P9999 => nanos(latency.quantile(0.9999)),
            Self::Max => nanos(latency.max()),
            Self::Mean => nanos(latency.mean()),
            Self::Errors => Some(float(summary.errors.total())),
            Self::ErrorRate => Some(summary.error_rate()),
            Self::Rate => Some(summary.rate()),
            Self::Throughput => Some(summary.throughput()),
        }
    }

    fn is_time(self) -> bool {
        !matches!(self, Self::Errors | Self::ErrorRate | Self::Rate | Self::Throughput)
    }

    fn limit(self, text: &str) -> Result<f64, String> {
        let whole = |number: usize| float(number as u64);
        match self {
            Self::Errors if text == "0" => Ok(0.0),
            Self::Errors | Self::Rate => units::count(text).map(whole),
            Self::ErrorRate => fraction(text),
            Self::Throughput => units::size(text).map(whole),
            _ => units::duration(text).map(|time| float(figures::nanos(time))),
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Errors => format!("{value:.0}"),
            Self::ErrorRate => figures::percent(value),
            Self::Rate => figures::per_second(value),
            Self::Throughput => format!("{}/s", figures::bytes(value)),
            _ => figures::time(Duration::from_secs_f64(value / 1e9)),
        }
    }
}

impl Comparison {
    /// The sign that a text begins with, and how long it is.
    fn read(text: &str) -> (Self, usize) {
        match text.as_bytes() {
            [b'>', b'=', ..] => (Self::AtLeast, 2),
            [b'<', b'=', ..] => (Self::AtMost, 2),
            [b'<', ..] => (Self::Less, 1),
            _ => (Self::More, 1),
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::AtMost => "<=",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::More => "more than",
            Self::AtLeast => "at least",
            Self::Less => "less than",
            Self::AtMost => "at most",
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<String> = self.0.iter().map(Condition::to_string).collect();
        f.write_str(&conditions.join(","))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.metric.name(), self.comparison.sign(), self.written)
    }
}

impl fmt::Display for Measured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { metric, comparison, written, .. } = self.condition;
        let Some(value) = self.value else {
            return write!(f, "{} is unknown, for nothing was answered", metric.name());
        };
        let was = if *metric == Metric::Errors { "were" } else { "was" };
        let not = if self.holds() { "" } else { "not " };
        write!(f, "{} {was} {}, {not}{} {written}", metric.name(), metric.show(value), comparison.words())
    }
}

/// `1%` or `0.01`.
fn fraction(text: &str) -> Result<f64, String> {
    const FORMS: &str = "an error rate is percent or a fraction, as in 1% or 0.01";
    let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let number = number.trim_end().parse::<f64>().map_err(|_| FORMS.to_owned())? / whole;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(FORMS.to_owned()) }
}

#[cfg(test)]
mod tests;
