use proptest::prelude::*;

use super::*;
use crate::bench::summary::samples::{closed, open};

fn conditions(text: &str) -> Conditions {
    text.parse().unwrap()
}

fn measured(text: &str, summary: &Summary) -> (bool, String) {
    let condition: Condition = text.parse().unwrap();
    let measured = condition.measure(summary);
    (measured.holds(), measured.to_string())
}

fn written() -> impl Strategy<Value = String> {
    let latency = prop::sample::select(vec!["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"]);
    let number = 1_u32..100_000;
    let sign = || prop::sample::select(vec![">", ">=", "<", "<="]);
    let unit = prop::sample::select(vec!["us", "ms", "s", "m"]);
    let count = prop::sample::select(vec!["errors", "rate"]);
    let size = prop::sample::select(vec!["", "B", "KB", "MiB"]);
    prop_oneof![
        (latency, sign(), number.clone(), unit).prop_map(|(m, s, n, u)| format!("{m}{s}{n}{u}")),
        (count, sign(), number.clone()).prop_map(|(m, s, n)| format!("{m}{s}{n}")),
        (sign(), number.clone(), size).prop_map(|(s, n, u)| format!("throughput{s}{n}{u}")),
        (sign(), 0_u32..=100).prop_map(|(s, n)| format!("error-rate{s}{n}%")),
    ]
}

proptest! {
    #[test]
    fn conditions_are_shown_as_they_were_written(all in prop::collection::vec(written(), 1..5)) {
        let text = all.join(",");
        prop_assert_eq!(conditions(&text).to_string(), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[pemr0-9.,<>=% ]{0,20}|.*") {
        if let Ok(conditions) = text.parse::<Conditions>() {
            prop_assert_eq!(&conditions.to_string().parse::<Conditions>().unwrap(), &conditions);
        }
    }

    #[test]
    fn a_condition_and_its_opposite_never_hold_together(text in written()) {
        let opposite = match text.find('=') {
            Some(_) if text.contains(">=") => text.replace(">=", "<"),
            Some(_) => text.replace("<=", ">"),
            None => text.replace('>', "<!").replace('<', ">=").replace(">=!", "<="),
        };
        let summary = closed();
        prop_assert_ne!(measured(&text, &summary).0, measured(&opposite, &summary).0, "{}", opposite);
    }
}

#[test]
fn spaces_around_the_parts_of_a_condition_do_not_matter() {
    assert_eq!(conditions(" p99 > 5ms , errors >= 1 "), conditions("p99>5ms,errors>=1"));
}

#[test]
fn a_condition_says_what_was_measured_and_how_it_compares() {
    let summary = closed();
    let said = |text: &str| measured(text, &summary);
    assert_eq!(said("p50<900us"), (false, "p50 was 1ms, not less than 900us".to_owned()));
    assert_eq!(said("max>5ms"), (true, "max was 10ms, more than 5ms".to_owned()));
    assert_eq!(said("errors>0"), (true, "errors were 10, more than 0".to_owned()));
    assert_eq!(said("error-rate<=1%"), (true, "error-rate was 1%, at most 1%".to_owned()));
    assert_eq!(said("error-rate>=0.5"), (false, "error-rate was 1%, not at least 0.5".to_owned()));
    assert_eq!(said("rate<10k"), (true, "rate was 99, less than 10k".to_owned()));
    assert_eq!(said("throughput>1MB"), (false, "throughput was 12.7 kB/s, not more than 1MB".to_owned()));
}

#[test]
fn latency_in_an_open_loop_is_that_from_the_schedule() {
    assert!(measured("p50>5ms", &open()).0);
}

#[test]
fn a_reply_that_never_came_took_for_ever() {
    let summary = Summary::new(closed().run, Duration::from_secs(1), []);
    assert_eq!(measured("p99>5ms", &summary), (true, "p99 is unknown, for nothing was answered".to_owned()));
    assert!(!measured("p99<1h", &summary).0);
    let all = conditions("p99<1h,errors<1");
    let held: Vec<bool> = all.measure(&summary).map(|measured| measured.holds()).collect();
    assert_eq!(held, [false, true]);
}

#[test]
fn what_makes_no_sense_is_named_with_its_place() {
    for (text, place, expected) in [
        ("", 1, "a condition is a metric"),
        ("p99", 1, "a condition is a metric"),
        ("p99=5ms", 1, "a condition is a metric"),
        ("p99>5ms,", 9, "a condition is a metric"),
        ("p99>5ms, p98>1ms", 10, "a metric is one of p50, p90"),
        ("p99>5", 5, "a duration is a number and a unit"),
        ("p99 >= 0s", 8, "more than zero"),
        ("errors>-1", 8, "a count is a number"),
        ("rate<0", 6, "zero makes no sense"),
        ("error-rate>2", 12, "percent or a fraction"),
        ("error-rate>NaN", 12, "percent or a fraction"),
        ("throughput<1.5MB", 12, "a size is bytes"),
    ] {
        let error = text.parse::<Conditions>().unwrap_err();
        assert!(
            error.starts_with(&format!("at character {place}: ")) && error.contains(expected),
            "{text}: {error}"
        );
    }
}
