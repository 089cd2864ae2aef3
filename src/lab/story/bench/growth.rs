//! How a figure grows with the number of placements.

/// The slope between two points on paper that is logarithmic on both axes: 0 for what stays the
/// same, 1 for what grows with the number, 2 for its square. None where there is no such paper: one
/// number twice, or a figure that is not above zero.
pub(super) fn exponent(first: (usize, f64), last: (usize, f64)) -> Option<f64> {
    let (numbers, figures) = (last.0 as f64 / first.0 as f64, last.1 / first.1);
    let drawn = [numbers, figures]
        .iter()
        .all(|one| one.is_normal() && *one > 0.0);
    (drawn && first.0 != last.0).then(|| figures.ln() / numbers.ln())
}

/// One line that tells the exponents of some figures between the first and the last number.
pub(super) fn line(from: usize, to: usize, figures: &[(&str, f64, f64)]) -> String {
    let of = |(name, first, last): &(&str, f64, f64)| match exponent((from, *first), (to, *last)) {
        Some(exponent) => format!("{name} {exponent:.2}"),
        None => format!("{name} none"),
    };
    let words: Vec<String> = figures.iter().map(of).collect();
    format!(
        "exponent of growth from {from} to {to} placements: {}",
        words.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_squares_are_told_apart() {
        let of = |first, last| exponent(first, last).map(|one| (one * 100.0).round() / 100.0);
        assert_eq!(of((20, 3.0), (60, 3.0)), Some(0.0));
        assert_eq!(of((20, 3.0), (60, 9.0)), Some(1.0));
        assert_eq!(of((60, 27.0), (20, 3.0)), Some(2.0));
    }

    #[test]
    fn there_is_none_without_two_numbers_and_two_figures() {
        assert_eq!(exponent((20, 3.0), (20, 9.0)), None);
        assert_eq!(exponent((0, 3.0), (20, 9.0)), None);
        assert_eq!(exponent((20, 0.0), (60, 9.0)), None);
        assert_eq!(exponent((20, 3.0), (60, 0.0)), None);
        let told = line(1, 10, &[("wall", 2.0, 20.0), ("calm reads", 0.0, 1.0)]);
        assert!(told.ends_with("from 1 to 10 placements: wall 1.00, calm reads none"));
    }
}
