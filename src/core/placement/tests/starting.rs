//! Policies that have not begun, or never will.

use super::*;

#[test]
fn a_policy_that_was_refused_changes_nothing_for_the_tenants_of_one_that_works() {
    let works = policy(Some(State::Steady), "eu-central", "eu-central");
    let mut refused = policy(None, "eu-west", "us-east");
    (refused.name, refused.machine) = ("another".into(), None);
    let mut by_standby = refused.clone();
    by_standby.primary = ServerId::new("us-east", "main");
    by_standby.standbys = works.standbys.clone();
    let both = vec![refused.clone(), works.clone(), by_standby];
    assert_eq!(effective(both), [works]);
    let undecided = vec![refused.clone(), refused];
    assert_eq!(effective(undecided.clone()), undecided);
}

#[test]
fn a_policy_that_has_not_begun_stops_no_tenant_that_is_served_at_home() {
    let mut starting = policy(None, "eu-west", "eu-central");
    starting.machine = None;
    let at = |region: &str| Recorded {
        active: RegionName::new(region),
        epoch: Epoch(3),
    };
    let row = |writable| {
        let epoch = Epoch(3);
        Some(Authority { epoch, writable })
    };
    let route = |recorded, row| route(&home_server(), Some(&starting), recorded, row);
    let home = at("eu-west");
    let (server, epoch) = (home_server(), Epoch(3));
    assert_eq!(
        route(Some(&home), row(true)),
        Route::Serve { server, epoch }
    );
    for (recorded, row) in [
        (None, row(true)),
        (Some(&home), row(false)),
        (Some(&at("eu-central")), row(true)),
    ] {
        let held = Route::Hold(Hold::PolicyStarting("eu-main".into()));
        assert_eq!(route(recorded, row), held);
    }
}
