//! How many placements are in which condition. Counted anew whenever figures are asked for, so that
//! nothing stays of those that are gone; no label names a tenant.

use std::collections::BTreeMap;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::placement::TenantPlacement;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::kube::cache::{Cache, Unreadable};

/// What stands for a reason that this version does not know.
const OTHER: &str = "Other";

/// A condition of placements. Of few values each: types and reasons are closed lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    /// The condition's type.
    pub condition: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// The reason.
    pub reason: &'static str,
}

/// How many placements say the same of a condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<ConditionLabels, i64>);

impl Tally {
    /// Counts the placements of a cache, those too that this version cannot read. Of a replica that
    /// does not lead the cache is empty.
    pub fn of(placements: &Cache<TenantPlacement>) -> Self {
        let readable = placements.unordered();
        let unreadable: Vec<Vec<Condition>> =
            placements.unreadable().iter().map(conditions).collect();
        let readable = readable.iter().map(|placement| {
            let status = placement.status.as_ref();
            status.map_or(&[][..], |status| &status.conditions)
        });
        Self::count(readable.chain(unreadable.iter().map(Vec::as_slice)))
    }

    /// Counts one list of conditions for each placement. One that nobody has looked at yet has
    /// none, and counts as not known to be ready.
    pub(crate) fn count<'a>(placements: impl Iterator<Item = &'a [Condition]>) -> Self {
        let mut told: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
        let mut unseen = 0;
        for list in placements {
            unseen += i64::from(list.is_empty());
            for one in list {
                let key = (one.type_.as_str(), one.status.as_str(), one.reason.as_str());
                *told.entry(key).or_default() += 1;
            }
        }
        let mut tally = Self::default();
        if unseen > 0 {
            let reason = Reason::NotObserved.as_str();
            tally.add(labels(ConditionType::Ready, "", reason), unseen);
        }
        for ((type_, status, reason), placements) in told {
            let mut types = ConditionType::ALL.iter();
            let Some(type_) = types.find(|known| known.as_str() == type_) else {
                continue;
            };
            let reason = Reason::parse(reason).map_or(OTHER, Reason::as_str);
            tally.add(labels(*type_, status, reason), placements);
        }
        tally
    }

    fn add(&mut self, labels: ConditionLabels, placements: i64) {
        *self.0.entry(labels).or_default() += placements;
    }

    /// The figures.
    pub fn gauges(&self) -> Family<ConditionLabels, Gauge> {
        let family = Family::<ConditionLabels, Gauge>::default();
        for (labels, placements) in &self.0 {
            family.get_or_create(labels).set(*placements);
        }
        family
    }
}

fn labels(condition: ConditionType, status: &str, reason: &'static str) -> ConditionLabels {
    let known = [Status::True, Status::False].map(Status::as_str);
    let status = known.into_iter().find(|known| *known == status);
    ConditionLabels {
        condition: condition.as_str(),
        status: status.unwrap_or(Status::Unknown.as_str()),
        reason,
    }
}

/// What a placement that cannot be read says all the same: our own words, written onto it.
fn conditions(placement: &Unreadable) -> Vec<Condition> {
    let told = placement.raw.pointer("/status/conditions");
    let told = told.and_then(|told| serde_json::from_value(told.clone()).ok());
    told.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domicile_api::conditions::{Conditions, Summary};

    use super::*;
    use crate::telemetry::Metrics;

    fn said(summary: Summary, reason: Reason, residency: Status) -> Vec<Condition> {
        let mut conditions = Conditions::of(&[], Some(1), jiff::Timestamp::UNIX_EPOCH);
        conditions.summarize(summary, reason, "tenant acme");
        let why = Reason::WouldLeaveJurisdiction;
        conditions.set(ConditionType::ResidencyCompliant, residency, why, "acme");
        conditions.into_list()
    }

    #[test]
    fn placements_are_counted_by_condition_and_none_is_named() {
        let full = || said(Summary::NotReady, Reason::RegionFull, Status::True);
        let mut newer = said(Summary::Ready, Reason::Placed, Status::False);
        for one in &mut newer {
            one.reason = "OfNextYear".to_owned();
        }
        let lists = [full(), full(), newer, Vec::new()];
        let tally = Tally::count(lists.iter().map(Vec::as_slice));
        let text = Metrics::default().text(&tally);
        let ready = "domicile_placements{condition=\"Ready\"";
        let lawful = "domicile_placements{condition=\"ResidencyCompliant\"";
        for expected in [
            format!("{ready},status=\"False\",reason=\"RegionFull\"}} 2\n"),
            format!("{ready},status=\"True\",reason=\"Other\"}} 1\n"),
            format!("{ready},status=\"Unknown\",reason=\"NotObserved\"}} 1\n"),
            format!("{lawful},status=\"True\",reason=\"WouldLeaveJurisdiction\"}} 2\n"),
            format!("{lawful},status=\"False\",reason=\"Other\"}} 1\n"),
        ] {
            assert!(text.contains(&expected), "{expected} is missing in\n{text}");
        }
        assert!(!text.contains("acme"), "{text}");
        assert_eq!(text.matches("# EOF\n").count(), 1);
        assert!(text.ends_with("# EOF\n"));
        // Those that are gone are not counted any more.
        let text = Metrics::default().text(&Tally::count(std::iter::empty()));
        assert!(!text.contains("domicile_placements{"), "{text}");
    }
}
