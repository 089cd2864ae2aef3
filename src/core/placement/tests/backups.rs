use super::*;

/// The regions of the tests, in which the backups of `of` lie in `backups`.
fn backed_up(of: &str, backups: &[&str]) -> BTreeMap<RegionName, RegionView> {
    let mut regions = regions();
    let region = regions.get_mut(&RegionName::new(of)).unwrap();
    region.backups = backups.iter().map(|name| RegionName::new(*name)).collect();
    regions
}

/// What keeps a tenant of eu-west off its server.
fn refused(
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
    allowed: &[&str],
) -> Option<ServerError> {
    server_in("eu-west", None, &law(allowed), regions, policies).err()
}

#[test]
fn a_tenant_is_kept_off_a_server_whose_backups_lie_abroad() {
    let regions = backed_up("eu-west", &["eu-central", "us-east"]);
    let error = refused(&regions, &[], &["EU"]).unwrap();
    assert_eq!(
        error,
        ServerError::BackupOutside {
            server: ServerId::new("eu-west", "main"),
            backup: RegionName::new("us-east"),
            jurisdiction: Some(Jurisdiction::new("US")),
        }
    );
    for part in ["eu-west/main", "us-east", "US", "spec.residency.backup"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(refused(&regions, &[], &["EU", "US"]), None);
    let at_home = backed_up("eu-west", &["eu-west", "eu-central"]);
    assert_eq!(refused(&at_home, &[], &["EU"]), None);
}

#[test]
fn the_backups_of_a_standby_count_as_well() {
    let regions = backed_up("eu-central", &["us-east"]);
    assert_eq!(refused(&regions, &[], &["EU"]), None);
    let policies = [policy(None, "eu-west", "eu-central")];
    let error = refused(&regions, &policies, &["EU"]).unwrap();
    assert!(
        error.to_string().contains("backups of eu-central/main"),
        "{error}"
    );
}

#[test]
fn a_backup_region_that_does_not_exist_is_within_no_law() {
    let regions = backed_up("eu-west", &["moon"]);
    let error = refused(&regions, &[], &["EU", "US"]).unwrap();
    assert!(
        error.to_string().contains("no Region of that name"),
        "{error}"
    );
    let Copies(all) = copies(
        &ServerId::new("eu-west", "main"),
        None,
        &law(&["EU"]),
        &regions,
    );
    let backup = all.last().unwrap();
    assert_eq!((backup.kind, backup.compliant), (CopyKind::Backup, false));
    assert_eq!(backup.jurisdiction, None);
}

#[test]
fn backups_are_copies_and_each_region_of_them_is_named_once() {
    let mut regions = backed_up("eu-west", &["eu-west", "us-east"]);
    let central = regions.get_mut(&RegionName::new("eu-central")).unwrap();
    central.backups = [RegionName::new("us-east")].into();
    let policy = policy(Some(State::Steady), "eu-west", "eu-central");
    let active = ServerId::new("eu-west", "main");
    let all = copies(&active, Some(&policy), &law(&["EU"]), &regions);
    let told: Vec<String> = all.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the primary in eu-west",
            "a standby in eu-central",
            "backups in eu-west",
            "backups in us-east",
        ]
    );
    let outside: Vec<String> = all.outside().iter().map(ToString::to_string).collect();
    assert_eq!(outside, ["backups in us-east"]);
}

#[test]
fn a_region_is_closed_whose_backups_lie_where_a_tenant_allows_none() {
    let closed_to = |regions, allowed: &[&str]| -> Vec<String> {
        let law = law(allowed);
        let closed = closed([Some(&law)], &regions);
        closed.to_servers.iter().map(ToString::to_string).collect()
    };
    let abroad = || backed_up("eu-central", &["us-east"]);
    assert_eq!(closed_to(abroad(), &["EU"]), ["eu-central", "us-east"]);
    assert_eq!(closed_to(abroad(), &["EU", "US"]), [] as [&str; 0]);
    let unknown = backed_up("eu-central", &["moon"]);
    assert_eq!(closed_to(unknown, &["EU", "US"]), ["eu-central"]);
    let nobody = backed_up("eu-central", &["moon"]);
    assert_eq!(closed([], &nobody), Closed::default());
}

/// What is copied to a region as a backup is not backed up again from there.
#[test]
fn a_region_takes_backups_whose_own_backups_lie_elsewhere() {
    let (regions, law) = (backed_up("eu-central", &["us-east", "moon"]), law(&["EU"]));
    let closed = closed([Some(&law)], &regions);
    let central = RegionName::new("eu-central");
    assert!(closed.to_servers.contains(&central));
    assert_eq!(closed.to_backups, [RegionName::new("us-east")].into());
}
