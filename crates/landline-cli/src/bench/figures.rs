//! Figures for people, and the arithmetic on them.

use std::time::Duration;

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds are far below 2^53, or shown with 4 digits"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// A part of a whole, or nothing of nothing.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

/// `123,456`, and below ten `1.5`.
pub(super) fn per_second(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    let whole = rate.round() as u64;
    if whole < 10 { trimmed(&significant(rate, 2)) } else { grouped(whole) }
}

/// `79.0 MB`, in powers of 1000, as networks count.
pub(super) fn bytes(number: f64) -> String {
    if number < 999.5 {
        return format!("{number:.0} B");
    }
    let (mut number, mut unit) = (number / 1e3, "kB");
    for larger in ["MB", "GB", "TB", "PB"] {
        if number < 999.5 {
            break;
        }
        (number, unit) = (number / 1e3, larger);
    }
    format!("{} {unit}", significant(number, 3))
}

/// `312us`, `7.10ms`, `1.25s`: three digits, for a column of a table.
pub(super) fn column(time: Duration) -> String {
    in_unit(time, |number| significant(number, 3))
}

/// `312us`, `7.1ms`, `1.25s`: four digits at most, for a sentence.
pub(super) fn time(time: Duration) -> String {
    in_unit(time, |number| trimmed(&significant(number, 4)))
}

/// `0.25%`
pub(super) fn percent(fraction: f64) -> String {
    format!("{}%", trimmed(&significant(fraction * 100.0, 3)))
}

fn in_unit(time: Duration, write: impl Fn(f64) -> String) -> String {
    let nanos = float(nanos(time));
    let (number, unit) = match nanos {
        _ if nanos < 999.5 => return format!("{nanos:.0}ns"),
        _ if nanos < 999.5e3 => (nanos / 1e3, "us"),
        _ if nanos < 999.5e6 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    format!("{}{unit}", write(number))
}

/// So many digits at least, of which those after the point are the rest.
fn significant(number: f64, digits: usize) -> String {
    // What rounds up to one digit more before the point has one fewer behind it.
    let rounds_to =
        |limit: f64| number >= limit - 0.5 * limit * 0.1_f64.powi(i32::try_from(digits).unwrap_or(3));
    let before =
        [10.0, 100.0, 1000.0, 10_000.0].into_iter().take_while(|limit| rounds_to(*limit)).count() + 1;
    format!("{number:.*}", digits.saturating_sub(before))
}

fn trimmed(number: &str) -> String {
    let trimmed =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    trimmed.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_in_a_column_and_no_idle_zeros_in_a_sentence() {
        let micros = Duration::from_micros;
        let columns = [7, 312, 7_100, 12_345, 999_700, 1_250_000, 90_000_000].map(|us| column(micros(us)));
        assert_eq!(columns, ["7.00us", "312us", "7.10ms", "12.3ms", "1.00s", "1.25s", "90.0s"]);
        let sentences = [7, 7_100, 5_003, 1_000_000, 3_600_000_000].map(|us| time(micros(us)));
        assert_eq!(sentences, ["7us", "7.1ms", "5.003ms", "1s", "3600s"]);
        assert_eq!(
            (column(Duration::ZERO), column(Duration::from_nanos(512))),
            ("0ns".into(), "512ns".into())
        );
        assert_eq!((column(micros(9_999)), column(micros(99_960))), ("10.0ms".into(), "100ms".into()));
    }

    #[test]
    fn counts_are_grouped_and_sizes_have_a_unit() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 1.5, 9.96, 123_456.4].map(per_second), ["0", "1.5", "10", "123,456"]);
        assert_eq!(
            [0.0, 999.0, 1_000.0, 7.9e7, 999.9e6].map(bytes),
            ["0 B", "999 B", "1.00 kB", "79.0 MB", "1.00 GB"]
        );
        assert_eq!([0.0, 0.000_12, 0.5, 1.0].map(percent), ["0%", "0.01%", "50%", "100%"]);
        assert!((ratio(1.0, 0.0) - 0.0).abs() < f64::EPSILON);
    }
}
