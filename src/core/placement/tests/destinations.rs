//! Which clusters of regions get a tenant's Secret.

use super::*;

const WEST: &str = "eu-west";
const CENTRAL: &str = "eu-central";
const EAST: &str = "us-east";

fn names(names: &[&str]) -> BTreeSet<RegionName> {
    names.iter().map(|name| RegionName::new(*name)).collect()
}

/// What there is to be done for a tenant of `eu-west`, in words.
struct Case<'a> {
    standby: Option<&'a str>,
    law: &'a [&'a str],
    recorded: &'a [&'a str],
    obscure: &'a [&'a str],
    settled: bool,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            standby: Some(CENTRAL),
            law: &["EU"],
            recorded: &[],
            obscure: &[],
            settled: true,
        }
    }
}

impl Case<'_> {
    fn errands(&self, regions: &BTreeMap<RegionName, RegionView>) -> Errands {
        let policy = self
            .standby
            .map(|standby| policy(Some(State::Steady), WEST, standby));
        let reach = Reach {
            home: &WEST.into(),
            place: &ServerId::new(WEST, "main"),
            policy: policy.as_ref(),
            allowed: &law(self.law),
            recorded: &names(self.recorded),
            obscure: &names(self.obscure),
            settled: self.settled,
        };
        errands(&reach, regions)
    }

    fn told(&self, regions: &BTreeMap<RegionName, RegionView>) -> Vec<(String, Errand)> {
        let errands = self.errands(regions).of.into_iter();
        errands
            .map(|(name, errand)| (name.to_string(), errand))
            .collect()
    }
}

fn told(errands: &[(&str, Errand)]) -> Vec<(String, Errand)> {
    let errands = errands.iter();
    errands
        .map(|(name, errand)| ((*name).to_owned(), *errand))
        .collect()
}

#[test]
fn home_and_standbys_get_the_secret_each_once() {
    let regions = with_clusters();
    let both = told(&[(CENTRAL, Errand::Deliver), (WEST, Errand::Deliver)]);
    assert_eq!(Case::default().told(&regions), both);
    let alone = Case {
        standby: None,
        ..Case::default()
    };
    assert_eq!(alone.told(&regions), told(&[(WEST, Errand::Deliver)]));
    // The hub alone.
    assert_eq!(Case::default().told(&super::regions()), []);
}

#[test]
fn a_region_that_holds_the_tenants_of_another_counts_like_a_home() {
    let reach = Reach {
        home: &WEST.into(),
        place: &ServerId::new(CENTRAL, "main"),
        policy: None,
        allowed: &law(&["EU"]),
        recorded: &BTreeSet::new(),
        obscure: &BTreeSet::new(),
        settled: true,
    };
    let found = errands(&reach, &with_clusters()).of;
    assert_eq!(
        found.keys().cloned().collect::<BTreeSet<_>>(),
        names(&[WEST, CENTRAL])
    );
}

#[test]
fn a_cluster_outside_the_law_gets_nothing_and_gives_back_what_it_has() {
    let mut case = Case {
        standby: Some(EAST),
        settled: false,
        ..Case::default()
    };
    let found = case.errands(&with_clusters());
    assert_eq!(found.refused, [RegionName::new(EAST)]);
    assert_eq!(
        found.of.keys().collect::<Vec<_>>(),
        [&RegionName::new(WEST)]
    );
    case.recorded = &[EAST];
    let both = told(&[(WEST, Errand::Deliver), (EAST, Errand::Withdraw)]);
    let mut found = case.told(&with_clusters());
    found.sort_by_key(|(name, _)| *name == EAST);
    assert_eq!(found, both);
    // The home itself is not spared.
    case.law = &["US"];
    assert_eq!(
        case.told(&with_clusters()),
        told(&[(EAST, Errand::Deliver)])
    );
}

#[test]
fn a_region_that_is_none_any_more_gives_it_back_once_that_is_certain() {
    let mut case = Case {
        standby: None,
        recorded: &[CENTRAL, WEST],
        ..Case::default()
    };
    let withdrawn = told(&[(CENTRAL, Errand::Withdraw), (WEST, Errand::Deliver)]);
    assert_eq!(case.told(&with_clusters()), withdrawn);
    case.settled = false;
    let kept = told(&[(CENTRAL, Errand::Keep), (WEST, Errand::Deliver)]);
    assert_eq!(case.told(&with_clusters()), kept);
}

#[test]
fn what_lies_where_no_way_leads_is_given_up_and_what_cannot_be_read_is_kept() {
    let mut regions = with_clusters();
    regions.remove(&RegionName::new(CENTRAL));
    let mut case = Case {
        recorded: &[CENTRAL, WEST],
        ..Case::default()
    };
    let gone = told(&[(CENTRAL, Errand::Forget), (WEST, Errand::Deliver)]);
    assert_eq!(case.told(&regions), gone);
    case.obscure = &[CENTRAL];
    let obscure = told(&[(CENTRAL, Errand::Keep), (WEST, Errand::Deliver)]);
    assert_eq!(case.told(&regions), obscure);
    regions.get_mut(&RegionName::new(WEST)).unwrap().cluster = ClusterUse::Absent;
    assert_eq!(case.told(&regions)[1], (WEST.to_owned(), Errand::Forget));
}

#[test]
fn a_cluster_that_is_to_hold_promises_alone_gives_back_what_it_has() {
    let mut regions = with_clusters();
    regions.get_mut(&RegionName::new(CENTRAL)).unwrap().cluster = ClusterUse::Promises;
    let mut case = Case::default();
    assert_eq!(case.told(&regions), told(&[(WEST, Errand::Deliver)]));
    case.recorded = &[CENTRAL];
    let both = told(&[(CENTRAL, Errand::Withdraw), (WEST, Errand::Deliver)]);
    assert_eq!(case.told(&regions), both);
}

proptest! {
    /// Whatever else is so, nothing is brought where the law does not hold or was never asked for.
    #[test]
    fn nothing_is_brought_outside_the_law(
        laws in proptest::sample::subsequence(vec!["EU", "US", "CH"], 0..=3),
        standby in proptest::option::of(proptest::sample::select(vec![CENTRAL, EAST])),
        recorded in proptest::sample::subsequence(vec![CENTRAL, EAST, WEST, "gone"], 0..=4),
        settled in any::<bool>(),
        gone in proptest::option::of(proptest::sample::select(vec![CENTRAL, EAST, WEST])),
    ) {
        let mut regions = with_clusters();
        if let Some(gone) = gone {
            regions.remove(&RegionName::new(gone));
        }
        let case = Case { standby, law: &laws, recorded: &recorded, obscure: &[], settled };
        let found = case.errands(&regions);
        for (name, errand) in &found.of {
            let view = regions.get(name);
            let lawful = view.is_some_and(|view| laws.contains(&view.jurisdiction.as_str()));
            prop_assert!(*errand != Errand::Deliver || lawful);
            prop_assert!(lawful || view.is_none() || *errand == Errand::Withdraw);
        }
        // What is recorded is never lost sight of.
        prop_assert!(names(&recorded).iter().all(|name| found.of.contains_key(name)));
        let held: Vec<&RegionName> = found.of.keys().collect();
        for copy in secret_copies(held, &law(&laws), &regions) {
            let law = copy.jurisdiction.as_ref().map(Jurisdiction::as_str);
            prop_assert_eq!(copy.compliant, law.is_some_and(|law| laws.contains(&law)));
        }
    }
}
