//! What a look at a tenant's database found different from what was there before.

/// What is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// All is as planned.
    None,
    /// This differed, and was put right.
    Mended(Vec<String>),
    /// This differs, and is left alone; and this was put right.
    Left(Vec<String>, Vec<String>),
}

/// Decides from what a look put right and what it left. `settled` tells whether all was as planned
/// before, by the same plan: what is made for the first time did not drift.
pub fn drift(settled: bool, mended: Vec<String>, left: Vec<String>) -> Drift {
    let mended = if settled { mended } else { Vec::new() };
    match (mended.is_empty(), left.is_empty()) {
        (true, true) => Drift::None,
        (false, true) => Drift::Mended(mended),
        (_, false) => Drift::Left(left, mended),
    }
}

/// Some of them in one text, and how many more there are.
pub fn listed(all: &[String]) -> String {
    const MOST: usize = 6;
    let some = all.iter().take(MOST).map(String::as_str);
    let text = some.collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(MOST) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_for_the_first_time_did_not_drift() {
        let some = || vec!["role x was not there".to_owned()];
        assert_eq!(drift(false, some(), Vec::new()), Drift::None);
        assert_eq!(drift(true, some(), Vec::new()), Drift::Mended(some()));
        assert_eq!(drift(true, Vec::new(), Vec::new()), Drift::None);
        assert_eq!(
            drift(false, some(), some()),
            Drift::Left(some(), Vec::new())
        );
        assert_eq!(drift(true, some(), some()), Drift::Left(some(), some()));
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let all: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        assert_eq!(listed(&all), "0; 1; 2; 3; 4; 5; and 2 more");
        assert_eq!(listed(&all[..2]), "0; 1");
    }
}
