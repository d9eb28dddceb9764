//! The text format that is older than `OpenMetrics`.

/// The same numbers in the text format 0.0.4. There the name of a counter ends in `_total` in its description
/// too, and there is neither a mark at the end nor a line for the unit.
pub(super) fn from_openmetrics(numbers: &str) -> String {
    let mut text = String::with_capacity(numbers.len() + 1024);
    let mut help = None;
    for line in numbers.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // Only the line after this one says whether it is a counter.
            help = described.split_once(' ').map(|(_, words)| words);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' '))
        {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some(words) = help.take() {
                text.extend(["# HELP ", name, total, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, total, " ", kind, "\n"]);
        } else if line != "# EOF" && !line.starts_with("# UNIT ") {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_between_the_formats_is_changed() {
        let openmetrics = "\
# HELP calls Calls so far.
# TYPE calls counter
calls_total{reason=\"a\"} 1
# HELP wait_seconds How long.
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_sum 0.5
wait_seconds_count 1
wait_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        let text = "\
# HELP calls_total Calls so far.
# TYPE calls_total counter
calls_total{reason=\"a\"} 1
# HELP wait_seconds How long.
# TYPE wait_seconds histogram
wait_seconds_sum 0.5
wait_seconds_count 1
wait_seconds_bucket{le=\"+Inf\"} 1
";
        assert_eq!(from_openmetrics(openmetrics), text);
    }
}
