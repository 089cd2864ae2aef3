//! The state of a home.

use super::*;

const HOME: &str = "eu-west";

fn home(state: RegionState, served_by: &str) -> BTreeMap<RegionName, RegionView> {
    let mut regions = regions();
    if let Some(region) = regions.get_mut(&RegionName::new(HOME)) {
        region.state = state;
        region.served_by = (!served_by.is_empty()).then(|| RegionName::new(served_by));
    }
    regions
}

fn place(
    regions: &BTreeMap<RegionName, RegionView>,
    allowed: &[&str],
) -> Result<RegionName, ResidenceError> {
    residence(&RegionName::new(HOME), None, &law(allowed), regions)
}

#[test]
fn a_region_that_is_not_active_takes_no_new_tenant_and_keeps_those_it_has() {
    let recorded = RegionName::new(HOME);
    for state in [
        RegionState::Planned,
        RegionState::Draining,
        RegionState::Suspended,
    ] {
        let regions = home(state, "");
        let region = recorded.clone();
        let refused = place(&regions, &["EU"]);
        assert_eq!(refused, Err(ResidenceError::Closed { region, state }));
        let kept = residence(&recorded, Some(&recorded), &law(&["EU"]), &regions);
        assert_eq!(kept, Ok(recorded.clone()));
    }
    let active = place(&home(RegionState::Active, ""), &["EU"]);
    assert_eq!(active, Ok(recorded));
}

#[test]
fn another_region_of_an_allowed_law_holds_the_tenants_of_one_without_servers() {
    let only = |served_by| home(RegionState::MetadataOnly, served_by);
    let held = place(&only("eu-central"), &["EU"]);
    assert_eq!(held, Ok(RegionName::new("eu-central")));
    let abroad = place(&only("us-east"), &["EU"]);
    assert!(
        matches!(abroad, Err(ResidenceError::NotAllowed { .. })),
        "{abroad:?}"
    );
    let wide = place(&only("us-east"), &["EU", "US"]);
    assert_eq!(wide, Ok(RegionName::new("us-east")));
    for nowhere in ["nowhere", ""] {
        let missing = place(&only(nowhere), &["EU"]);
        assert!(
            matches!(missing, Err(ResidenceError::NotFound { .. })),
            "{missing:?}"
        );
    }
    // Nobody is passed on from one to the next, or back.
    let circle = place(&only(HOME), &["EU"]);
    assert!(
        matches!(circle, Err(ResidenceError::ServerClosed { .. })),
        "{circle:?}"
    );
}

proptest! {
    #[test]
    fn nobody_resides_outside_his_law(
        state in prop_oneof![
            Just(RegionState::Active), Just(RegionState::Planned),
            Just(RegionState::MetadataOnly), Just(RegionState::Draining),
            Just(RegionState::Suspended),
        ],
        served_by in prop_oneof![Just(""), Just("eu-central"), Just("us-east"), Just("eu-west")],
        eu: bool, us: bool,
    ) {
        let names: Vec<&str> =
            [("EU", eu), ("US", us)].into_iter().filter(|(_, on)| *on).map(|(n, _)| n).collect();
        let regions = home(state, served_by);
        if let Ok(found) = place(&regions, &names) {
            let view = &regions[&found];
            prop_assert_eq!(view.state, RegionState::Active);
            let abroad = found.as_str() != HOME;
            prop_assert!(!abroad || names.contains(&view.jurisdiction.as_str()));
        }
    }
}
