//! The law, and policies that cannot be read, while it is not known who serves a tenant.

use super::*;

const WEST: &str = "eu-west";
const EAST: &str = "us-east";

fn copy(kind: CopyKind, region: &str, law: &str) -> Copy {
    Copy {
        kind,
        region: RegionName::new(region),
        jurisdiction: Some(Jurisdiction::new(law)),
        compliant: true,
    }
}

#[test]
fn a_law_that_was_narrowed_judges_the_copies_that_are_recorded() {
    let recorded = [
        copy(CopyKind::Primary, EAST, "US"),
        copy(CopyKind::Standby, WEST, "EU"),
        copy(CopyKind::Secret, EAST, "US"),
    ];
    let told = |allowed: &[&str], regions: &BTreeMap<RegionName, RegionView>| -> Vec<bool> {
        let Copies(judged) = judged(recorded.clone(), &law(allowed), regions);
        judged.into_iter().map(|copy| copy.compliant).collect()
    };
    assert_eq!(told(&["EU", "US"], &regions()), [true, true, true]);
    assert_eq!(told(&["EU"], &regions()), [false, true, false]);
    // Of a region that is gone the law is the one that was recorded.
    assert_eq!(told(&["EU"], &BTreeMap::new()), [false, true, false]);
}

#[test]
fn a_recorded_copy_of_an_unknown_law_is_within_none() {
    let recorded = Copy {
        jurisdiction: None,
        ..copy(CopyKind::Backup, "moon", "US")
    };
    let judged = judged([recorded], &law(&["EU", "US"]), &regions());
    assert_eq!(judged.outside().len(), 1);
}

#[test]
fn only_what_the_law_forbids_is_taken_back_and_nothing_is_given_up() {
    let recorded: BTreeSet<_> = [WEST, "eu-central", EAST, "gone"]
        .map(RegionName::new)
        .into();
    let told = |regions: &BTreeMap<RegionName, RegionView>| {
        let found = withdrawals(&recorded, &law(&["EU"]), regions);
        assert_eq!(found.refused, [] as [RegionName; 0]);
        let names = found.of.keys().cloned();
        assert_eq!(names.collect::<BTreeSet<_>>(), recorded);
        let kept = found
            .of
            .iter()
            .filter(|(_, errand)| **errand != Errand::Keep);
        let kept = kept.map(|(name, errand)| (name.to_string(), *errand));
        kept.collect::<Vec<_>>()
    };
    let mut regions = with_clusters();
    assert_eq!(told(&regions), [(EAST.to_owned(), Errand::Withdraw)]);
    regions.get_mut(&RegionName::new(EAST)).unwrap().cluster = ClusterUse::Promises;
    assert_eq!(told(&regions), [(EAST.to_owned(), Errand::Withdraw)]);
    regions.get_mut(&RegionName::new(EAST)).unwrap().cluster = ClusterUse::Absent;
    assert_eq!(told(&regions), [], "no way leads there");
}

fn glimpse(primary: Option<&str>, standbys: Option<&[&str]>) -> Glimpse {
    let server = |region: &str| ServerId::new(region, "main");
    Glimpse {
        primary: primary.map(server),
        standbys: standbys.map(|all| all.iter().map(|region| server(region)).collect()),
    }
}

#[test]
fn a_policy_that_cannot_be_read_may_cover_whom_it_names_and_whom_it_hides() {
    let here = |glimpse: &Glimpse| glimpse.may_cover(&WEST.into(), &ServerId::new(WEST, "main"));
    assert!(here(&glimpse(Some(WEST), None)));
    assert!(here(&glimpse(None, Some(&[EAST]))));
    assert!(!here(&glimpse(Some(EAST), Some(&[WEST]))), "its standby");
    let other = ServerId::new(WEST, "other");
    assert!(!glimpse(Some(WEST), None).may_cover(&WEST.into(), &other));
    let moved = |glimpse: &Glimpse| glimpse.may_cover(&WEST.into(), &ServerId::new(EAST, "main"));
    assert!(moved(&glimpse(Some(WEST), Some(&[EAST]))));
    assert!(moved(&glimpse(None, Some(&[EAST]))));
    assert!(moved(&glimpse(Some(WEST), None)));
    assert!(!moved(&glimpse(Some(WEST), Some(&["eu-central"]))));
    assert!(!moved(&glimpse(Some("eu-central"), Some(&[EAST]))));
}

#[test]
fn the_servers_of_a_policy_are_known_only_when_all_of_them_are() {
    let both = [WEST, EAST].map(|region| ServerId::new(region, "main"));
    let all = glimpse(Some(WEST), Some(&[EAST])).servers();
    assert_eq!(all, Some(both.into()));
    assert_eq!(glimpse(None, Some(&[EAST])).servers(), None);
    assert_eq!(glimpse(Some(WEST), None).servers(), None);
}

#[test]
fn a_policy_that_can_be_read_covers_its_tenants_at_home_and_away() {
    let policies = [policy(Some(State::Steady), WEST, EAST)];
    let covered = |region: &str, server: &str, policies: &[PolicyView]| {
        is_covered(&WEST.into(), &ServerId::new(region, server), policies)
    };
    assert!(covered(WEST, "main", &policies));
    assert!(covered(EAST, "main", &policies));
    assert!(!covered(WEST, "other", &policies));
    assert!(!covered("eu-central", "main", &policies));
    assert!(!covered(WEST, "main", &[]) && !covered(EAST, "main", &[]));
    // Two are told as such.
    let two = [policies[0].clone(), policies[0].clone()];
    assert!(covered(WEST, "main", &two));
    // One that has not begun may be refused, for the sake of one that cannot be read.
    let [mut begins] = policies;
    begins.machine = None;
    let begins = [begins];
    assert!(!covered(WEST, "main", &begins) && !covered(EAST, "main", &begins));
}
