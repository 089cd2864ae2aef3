//! When a restart is over: the moment from which the operator calls the API server no more often
//! than it does when nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::cost::Meter;
use super::limit;
use crate::clock::wall;
use crate::error::Result;
use crate::process::Patience;
use crate::story::stage::Stage;

/// As long nothing more must come.
const STILL: Duration = Duration::from_secs(20);
const BETWEEN: Duration = Duration::from_secs(1);

/// The calls after a moment, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Burst {
    /// From the moment until the first call.
    pub(super) begun: f64,
    /// From there until the last call of the last second that was busier than usual; 0, if none
    /// was.
    pub(super) lasted: f64,
}

/// Calls in the busiest second.
pub(super) fn busiest(calls: &[Timestamp]) -> usize {
    let from = calls.iter().min().copied().unwrap_or_default();
    let seconds = seconds(calls, from).into_values();
    seconds.map(|second| second.0).max().unwrap_or_default()
}

/// Waits until no second was busier than `usual` for a while, and answers the burst since `from`.
pub(super) fn await_quiet(
    stage: &Stage,
    meter: &mut Meter<'_>,
    (from, usual, number): (Timestamp, usize, usize),
) -> Result<Burst> {
    let patience = Patience::new("quiet after a restart", limit(number));
    let mut calls = Vec::new();
    loop {
        calls.extend(meter.read(stage)?);
        let burst = burst(&calls, from, usual);
        let passed = wall().duration_since(from).as_secs_f64();
        if let Some(burst) = burst
            && passed - burst.begun - burst.lasted >= STILL.as_secs_f64()
        {
            return Ok(burst);
        }
        patience.pause(|| format!("after {passed:.0} s: {burst:?}, {usual} calls/s are usual"))?;
        std::thread::sleep(BETWEEN);
    }
}

/// None before the first call.
fn burst(calls: &[Timestamp], from: Timestamp, usual: usize) -> Option<Burst> {
    let seconds = seconds(calls, from);
    let begun = calls.iter().filter(|at| **at >= from).min()?;
    let mut busy = seconds.values().rev().filter(|(count, _)| *count > usual);
    let last = busy.next().map_or(*begun, |(_, last)| *last);
    Some(Burst {
        begun: begun.duration_since(from).as_secs_f64(),
        lasted: last.duration_since(*begun).as_secs_f64(),
    })
}

/// For each second since `from`, how many calls there were, and the last of them.
fn seconds(calls: &[Timestamp], from: Timestamp) -> BTreeMap<i64, (usize, Timestamp)> {
    let mut seconds = BTreeMap::new();
    for at in calls.iter().filter(|at| **at >= from) {
        let second = seconds.entry(at.duration_since(from).as_secs());
        let (count, last) = second.or_insert((0, *at));
        *count += 1;
        *last = (*last).max(*at);
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn a_restart_is_over_with_the_last_second_that_is_busier_than_usual() {
        let calls = [-500, 2000, 2100, 2200, 3000, 5100, 5900, 7000].map(at);
        let found = burst(&calls, at(0), 1).unwrap();
        assert!((found.begun - 2.0).abs() < 1e-9 && (found.lasted - 3.9).abs() < 1e-9);
        let found = burst(&calls, at(0), 3).unwrap();
        assert!(found.lasted.abs() < 1e-9);
        assert_eq!(burst(&calls, at(8000), 1), None);
    }

    #[test]
    fn the_busiest_second_is_counted_from_the_first_call() {
        assert_eq!(busiest(&[900, 1000, 1100, 1950].map(at)), 3);
        assert_eq!(busiest(&[]), 0);
    }
}
