use proptest::prelude::*;

use super::*;
use crate::facts::Authority;

mod adopted;
mod backups;
mod destinations;
mod reads;
mod residences;
mod servers;
mod starting;
mod unplaced;

fn regions() -> BTreeMap<RegionName, RegionView> {
    [
        ("eu-west", "EU", true),
        ("eu-central", "EU", false),
        ("us-east", "US", false),
    ]
    .into_iter()
    .map(|(name, law, default)| {
        let servers = vec![ServerView::open("main")];
        let jurisdiction = Jurisdiction::new(law);
        (
            RegionName::new(name),
            RegionView {
                jurisdiction,
                default,
                state: RegionState::Active,
                served_by: None,
                backups: BTreeSet::new(),
                cluster: ClusterUse::Absent,
                servers,
            },
        )
    })
    .collect()
}

/// All three regions, each with a cluster for tenants.
fn with_clusters() -> BTreeMap<RegionName, RegionView> {
    let mut regions = regions();
    for view in regions.values_mut() {
        view.cluster = ClusterUse::Tenants;
    }
    regions
}

#[test]
fn the_law_of_a_tenant_is_what_its_spec_lists_or_that_of_its_home() {
    let (home, listed) = (Jurisdiction::new("EU"), Jurisdiction::new("CH"));
    assert_eq!(allowed(None, &home), [home.clone()].into());
    let spec = [listed.clone()].into();
    assert_eq!(allowed(Some(&spec), &home), [listed].into());
}

fn policy(state: Option<State>, active: &str, standby: &str) -> PolicyView {
    PolicyView {
        name: "eu-main".into(),
        primary: ServerId::new("eu-west", "main"),
        standbys: vec![ServerId::new(standby, "main")],
        machine: Some(MachineView {
            state,
            epoch: Epoch(7),
            active: RegionName::new(active),
        }),
    }
}

/// The server of a region for a tenant that asks for nothing.
fn server_in(
    region: &str,
    recorded: Option<&str>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<String, ServerError> {
    let asked = Asked {
        region: &RegionName::new(region),
        recorded,
        allowed,
        wish: &Wish::default(),
        held: &Held::default(),
    };
    choose_server(&asked, regions, policies).map(|choice| choice.server)
}

fn law(names: &[&str]) -> BTreeSet<Jurisdiction> {
    names.iter().map(|name| Jurisdiction::new(*name)).collect()
}

fn home_server() -> ServerId {
    ServerId::new("eu-west", "main")
}

#[test]
fn the_recorded_home_wins_over_spec_and_default() {
    let (recorded, spec) = (RegionName::new("eu-central"), RegionName::new("us-east"));
    assert_eq!(
        home(Some(&recorded), Some(&spec), &regions()),
        Ok(recorded.clone())
    );
    assert_eq!(home(None, Some(&spec), &regions()), Ok(spec));
    assert_eq!(home(None, None, &regions()), Ok(RegionName::new("eu-west")));
}

#[test]
fn no_default_and_two_defaults_are_different_errors() {
    let mut none = regions();
    for region in none.values_mut() {
        region.default = false;
    }
    assert_eq!(home(None, None, &none), Err(HomeError::NoDefault));
    let mut two = regions();
    for region in two.values_mut() {
        region.default = region.jurisdiction.as_str() == "EU";
    }
    let both = vec![RegionName::new("eu-central"), RegionName::new("eu-west")];
    assert_eq!(
        home(None, None, &two),
        Err(HomeError::DuplicateDefault(both))
    );
}

#[test]
fn a_server_with_a_standby_abroad_is_refused() {
    let policies = [policy(None, "eu-west", "us-east")];
    let chosen = server_in("eu-west", None, &law(&["EU"]), &regions(), &policies);
    assert!(
        matches!(chosen, Err(ServerError::WouldLeaveJurisdiction { .. })),
        "{chosen:?}"
    );
    let wide = server_in("eu-west", None, &law(&["EU", "US"]), &regions(), &policies);
    assert_eq!(wide, Ok("main".into()));
}

#[test]
fn the_next_server_is_taken_when_the_first_would_leave_the_law() {
    let mut regions = regions();
    let eu_west = RegionName::new("eu-west");
    regions
        .get_mut(&eu_west)
        .unwrap()
        .servers
        .push(ServerView::open("quiet"));
    let policies = [policy(None, "eu-west", "us-east")];
    let chosen = server_in("eu-west", None, &law(&["EU"]), &regions, &policies);
    assert_eq!(chosen, Ok("quiet".into()));
}

#[test]
fn a_standby_of_an_unknown_region_is_outside_every_law() {
    let policies = [policy(None, "eu-west", "nowhere")];
    let chosen = server_in("eu-west", None, &law(&["EU"]), &regions(), &policies);
    assert!(
        matches!(chosen, Err(ServerError::WouldLeaveJurisdiction { .. })),
        "{chosen:?}"
    );
}

#[test]
fn a_recorded_server_stays_and_its_copies_say_that_it_breaks_the_law() {
    let policies = [policy(Some(State::Steady), "eu-west", "us-east")];
    let eu = law(&["EU"]);
    let chosen = server_in("eu-west", Some("main"), &eu, &regions(), &policies);
    assert_eq!(chosen, Ok("main".into()));
    let copies = copies(&home_server(), policies.first(), &eu, &regions());
    let outside: Vec<&str> = copies
        .outside()
        .iter()
        .map(|copy| copy.region.as_str())
        .collect();
    assert_eq!(outside, ["us-east"]);
    let gone = server_in("eu-west", Some("old"), &eu, &regions(), &policies);
    assert_eq!(gone, Err(ServerError::NotFound("old".into())));
}

#[test]
fn a_standby_takes_no_tenant_of_its_own() {
    let policies = [policy(None, "eu-west", "eu-central")];
    let chosen = server_in("eu-central", None, &law(&["EU"]), &regions(), &policies);
    assert!(
        matches!(chosen, Err(ServerError::IsStandby { .. })),
        "{chosen:?}"
    );
}

#[test]
fn a_server_in_two_policies_is_refused() {
    let mut second = policy(None, "eu-west", "eu-central");
    second.name = "other".into();
    let policies = [policy(None, "eu-west", "eu-central"), second];
    let chosen = server_in("eu-west", None, &law(&["EU"]), &regions(), &policies);
    assert!(
        matches!(chosen, Err(ServerError::InTwoPolicies { .. })),
        "{chosen:?}"
    );
}

#[test]
fn a_home_outside_the_law_is_refused() {
    let chosen = server_in("us-east", None, &law(&["EU"]), &regions(), &[]);
    assert_eq!(
        chosen,
        Err(ServerError::HomeNotAllowed(Jurisdiction::new("US")))
    );
}

#[test]
fn only_states_in_which_a_server_holds_the_right_to_write_route() {
    let holding = [
        State::Draining,
        State::Fencing,
        State::CatchingUp,
        State::Aborting,
        State::Promoting,
        State::Halted,
    ];
    for state in State::ALL.iter().copied() {
        let policy = policy(Some(state), "eu-central", "eu-central");
        let route = route(&home_server(), Some(&policy), None, None);
        let held = matches!(route, Route::Hold(Hold::Moving { .. }));
        assert_eq!(held, holding.contains(&state), "{state}");
        if !held {
            let server = ServerId::new("eu-central", "main");
            assert_eq!(
                route,
                Route::Serve {
                    server,
                    epoch: Epoch(7)
                }
            );
        }
    }
}

#[test]
fn an_unknown_state_and_a_foreign_region_hold() {
    let unknown = policy(None, "eu-west", "eu-central");
    assert!(matches!(
        route(&home_server(), Some(&unknown), None, None),
        Route::Hold(_)
    ));
    let foreign = policy(Some(State::Steady), "us-east", "eu-central");
    let held = route(&home_server(), Some(&foreign), None, None);
    assert!(
        matches!(held, Route::Hold(Hold::ActiveRegionUnknown { .. })),
        "{held:?}"
    );
}

/// Faults: 12.
#[test]
fn a_policy_that_forgot_its_epoch_is_not_followed() {
    let forgetful = policy(Some(State::Steady), "eu-west", "eu-central");
    let recorded = Recorded {
        active: RegionName::new("eu-central"),
        epoch: Epoch(8),
    };
    let held = route(&home_server(), Some(&forgetful), Some(&recorded), None);
    assert!(
        matches!(held, Route::Hold(Hold::PolicyStarting(_))),
        "{held:?}"
    );
}

/// Faults: 92.
#[test]
fn a_tenant_that_was_moved_does_not_go_home_because_its_policy_is_gone() {
    let recorded = Recorded {
        active: RegionName::new("eu-central"),
        epoch: Epoch(8),
    };
    let held = route(&home_server(), None, Some(&recorded), None);
    assert!(
        matches!(held, Route::Hold(Hold::PolicyMissing { .. })),
        "{held:?}"
    );
}

#[test]
fn the_home_server_is_found_from_wherever_the_tenant_is_served() {
    let policies = [policy(Some(State::Steady), "eu-central", "eu-central")];
    let eu_west = RegionName::new("eu-west");
    assert_eq!(
        crate::placement::home_server(&eu_west, None, &policies),
        Ok(None)
    );
    for region in ["eu-west", "eu-central"] {
        let recorded = ServerId::new(region, "main");
        let found = crate::placement::home_server(&eu_west, Some(&recorded), &policies);
        assert_eq!(found, Ok(Some("main".into())), "{region}");
    }
    let lost =
        crate::placement::home_server(&eu_west, Some(&ServerId::new("eu-central", "main")), &[]);
    assert!(matches!(lost, Err(Hold::PolicyMissing { .. })), "{lost:?}");
}

#[test]
fn without_a_policy_the_row_of_the_server_gives_the_epoch() {
    let row = |epoch, writable| {
        Some(Authority {
            epoch: Epoch(epoch),
            writable,
        })
    };
    let serve = |epoch| Route::Serve {
        server: home_server(),
        epoch: Epoch(epoch),
    };
    assert_eq!(route(&home_server(), None, None, None), serve(0));
    assert_eq!(route(&home_server(), None, None, row(4, true)), serve(4));
    let fenced = route(&home_server(), None, None, row(4, false));
    assert!(
        matches!(fenced, Route::Hold(Hold::Fenced { .. })),
        "{fenced:?}"
    );
}

#[test]
fn the_former_primary_is_a_copy_after_a_move() {
    let policy = policy(Some(State::Steady), "eu-central", "eu-central");
    let active = ServerId::new("eu-central", "main");
    let copies = copies(&active, Some(&policy), &law(&["EU"]), &regions());
    let seen: Vec<(CopyKind, &str)> = copies
        .0
        .iter()
        .map(|copy| (copy.kind, copy.region.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (CopyKind::Primary, "eu-central"),
            (CopyKind::Standby, "eu-west")
        ]
    );
    assert!(copies.outside().is_empty());
}

#[test]
fn nothing_is_dropped_unless_it_was_asked_for_twice() {
    for delete in [false, true] {
        for protected in [false, true] {
            let decided = deletion(delete, protected, false);
            assert_eq!(decided == Deletion::Drop, delete && !protected);
            assert_eq!(deletion(delete, protected, true), Deletion::Release);
        }
    }
}

proptest! {
    /// Faults: 6.
    #[test]
    fn a_chosen_server_never_has_a_standby_outside_the_law(
        standbys in proptest::collection::vec(
            prop_oneof![Just("eu-central"), Just("us-east"), Just("nowhere")], 0..3,
        ),
        eu: bool, us: bool,
    ) {
        let mut policy = policy(None, "eu-west", "eu-central");
        policy.standbys = standbys.iter().map(|name| ServerId::new(*name, "main")).collect();
        let names: Vec<&str> =
            [("EU", eu), ("US", us)].into_iter().filter(|(_, on)| *on).map(|(n, _)| n).collect();
        let allowed = law(&names);
        let policies = [policy];
        if server_in("eu-west", None, &allowed, &regions(), &policies).is_ok() {
            let copies = copies(&home_server(), policies.first(), &allowed, &regions());
            prop_assert!(copies.outside().is_empty());
        }
    }

    /// Faults: 23.
    #[test]
    fn a_route_never_presents_an_epoch_below_the_recorded_one(
        state in proptest::sample::select(State::ALL.to_vec()), seen in 0_i64..12, row in 0_i64..12,
        covered: bool,
    ) {
        let policy = covered.then(|| policy(Some(state), "eu-west", "eu-central"));
        let recorded = Recorded { active: RegionName::new("eu-west"), epoch: Epoch(seen) };
        let row = Authority { epoch: Epoch(row), writable: true };
        let routed = route(&home_server(), policy.as_ref(), Some(&recorded), Some(row));
        if let Route::Serve { epoch, .. } = routed {
            prop_assert!(epoch >= Epoch(seen));
        }
    }
}
