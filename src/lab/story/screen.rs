//! The one screen that the demo prints.

use std::fmt;

use serde::Serialize;

use super::moves::Moved;
use super::report::{Residency, TenantReport};
use crate::checker::{Phase, first_acknowledgement};

/// One line of the table: a phase, summed over the tenants that move.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    name: String,
    seconds: f64,
    acknowledged: u64,
    lost: u64,
    writers: usize,
    pods: usize,
    bystander: u64,
}

/// The table of phases. `moving` are the tenants of the lost region, `bystander` the US one.
pub fn lines(
    phases: &[Phase],
    moving: &[&TenantReport],
    bystander: Option<&TenantReport>,
) -> Vec<Line> {
    let line = |(index, phase): (usize, &Phase)| {
        let reports = || {
            moving
                .iter()
                .filter_map(|one| one.verdict.phases.get(index))
        };
        let other = bystander.and_then(|one| one.verdict.phases.get(index));
        Line {
            name: phase.name.clone(),
            seconds: phase.to.saturating_sub(phase.from) as f64 / 1e9,
            acknowledged: reports().map(|one| one.acknowledged).sum(),
            lost: reports().map(|one| one.lost).sum(),
            writers: reports().map(|one| one.writers_at_once).max().unwrap_or(0),
            pods: moving
                .iter()
                .map(|one| one.restarts(phase.from, phase.to))
                .sum(),
            bystander: other.map_or(0, |one| one.acknowledged),
        }
    };
    phases.iter().enumerate().map(line).collect()
}

/// The table as text.
pub fn table(lines: &[Line]) -> Vec<String> {
    let head = format!(
        "{:<34}{:>8}{:>9}{:>6}{:>9}{:>6}{:>10}",
        "phase", "seconds", "rows", "lost", "writers", "pods", "US rows"
    );
    let rows = lines.iter().map(|line| {
        let Line {
            name,
            seconds,
            acknowledged,
            lost,
            writers,
            pods,
            bystander,
        } = line;
        let writers = if *writers == 0 {
            "-".to_owned()
        } else {
            writers.to_string()
        };
        format!(
            "{name:<34}{seconds:>8.2}{acknowledged:>9}{lost:>6}{writers:>9}{pods:>6}{bystander:>10}"
        )
    });
    std::iter::once(head).chain(rows).collect()
}

/// Where the time of a move went, in seconds: the first is the sum of the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// From the fault until the last tenant's first acknowledged row.
    pub total: f64,
    /// Until the machine began to fence.
    pub detect: f64,
    /// Until it began to promote.
    pub fence: f64,
    /// Until it began to turn Secrets and workloads.
    pub promote: f64,
    /// Until that was done, or the last tenant wrote.
    pub repoint: f64,
    /// Until the last tenant wrote.
    pub first_write: f64,
}

impl fmt::Display for Recovery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            total,
            detect,
            fence,
            promote,
            repoint,
            first_write,
        } = self;
        write!(
            formatter,
            "{total:.2} s = detect {detect:.2} + fence {fence:.2} + promote {promote:.2} + repoint \
             {repoint:.2} + first write {first_write:.2}"
        )
    }
}

/// Where the time went from the fault until the last tenant's first acknowledged row.
/// None when a tenant never wrote again.
pub fn recovery(moved: &Moved, moving: &[&TenantReport], address: &str) -> Option<Recovery> {
    let mut last = 0;
    for report in moving {
        let (at, _) = first_acknowledgement(&report.history, moved.fencing, Some(address))?;
        last = last.max(at);
    }
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
    let turned = moved.verifying.min(last);
    Some(Recovery {
        total: seconds(moved.begun, last),
        detect: seconds(moved.begun, moved.fencing),
        fence: seconds(moved.fencing, moved.promoting),
        promote: seconds(moved.promoting, moved.rerouting),
        repoint: seconds(moved.rerouting, turned),
        first_write: seconds(turned, last),
    })
}

/// The findings in words, below the table.
pub fn findings(moving: &[&TenantReport], residency: &Residency) -> Vec<String> {
    let sum = |count: fn(&TenantReport) -> u64| moving.iter().map(|one| count(one)).sum::<u64>();
    let acknowledged = sum(|one| one.verdict.acknowledged);
    let lost = sum(|one| one.verdict.lost.len() as u64);
    let unknown = sum(|one| one.verdict.unknown);
    let dual = sum(|one| one.verdict.dual.len() as u64);
    vec![
        format!("acknowledged rows lost: {lost} of {acknowledged} (no answer came for {unknown})"),
        format!("rows acknowledged by a server after another had taken over: {dual}"),
        format!(
            "EU rows in us-east: {} files, {} packets from or to the EU (search finds them in {} \
             files of the EU server)",
            residency.strays, residency.packets, residency.at_home
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_width() {
        let line = Line {
            name: "served from eu-west".to_owned(),
            seconds: 8.0,
            acknowledged: 1234,
            lost: 0,
            writers: 1,
            pods: 0,
            bystander: 400,
        };
        let silent = Line {
            writers: 0,
            ..line.clone()
        };
        let text = table(&[line, silent]);
        assert_eq!(text.len(), 3);
        assert!(
            text.iter().all(|row| row.len() == text[0].len()),
            "{text:?}"
        );
        assert!(text[2].contains(" - "));
    }
}
