//! Numbers for people. Pure.

/// A count as a figure to calculate with.
#[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// With as many decimals as say something.
pub(crate) fn number(figure: f64) -> String {
    match figure.abs() {
        _ if figure.fract() == 0.0 => format!("{figure}"),
        ..10.0 => format!("{figure:.3}"),
        ..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// The one in the middle, or what lies half-way between the two there.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// The least figure that this share of all are not above.
pub(crate) fn percentile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above = |place: usize| float(place as u64) < share * float(sorted.len() as u64);
    let place = (1..=sorted.len()).find(|&place| !above(place));
    place.map_or(f64::NAN, |place| sorted[place - 1])
}

/// The median and the least and the most: `1.043 (1.031 to 1.060)`.
pub(crate) fn spread(figures: &[f64]) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.3} ({least:.3} to {most:.3})", median(figures))
}

#[test]
fn the_median_is_in_the_middle_of_an_odd_and_an_even_number_of_figures() {
    assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_string(), "2.5");
    assert!(median(&[]).is_nan());
}

#[test]
fn a_percentile_is_the_figure_that_so_many_are_not_above() {
    let figures: Vec<f64> = (1..=200).rev().map(f64::from).collect();
    let at = |share| number(percentile(&figures, share));
    assert_eq!([0.0, 0.5, 0.99, 1.0].map(at), ["1", "100", "198", "200"]);
    assert!(percentile(&[], 0.5).is_nan());
}

#[test]
fn figures_read_well_at_every_scale() {
    assert_eq!([1.0, 0.99951, 15.04, 1536.4].map(number), ["1", "1.000", "15.0", "1536"]);
    assert_eq!(spread(&[1.0, 1.5, 1.25]), "1.250 (1.000 to 1.500)");
}
