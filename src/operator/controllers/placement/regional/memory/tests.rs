use std::sync::Arc;

use domicile_core::connection::Rendered;
use domicile_core::endpoint::Lead;
use domicile_core::facts::Epoch;
use domicile_core::injection::Origin;
use domicile_core::names::ServerId;

use super::*;
use crate::controllers::placement::endpoint::Facade;

const UID: &str = "u";
const NOW: Option<i64> = Some(1);

fn west() -> RegionName {
    RegionName::new("eu-west")
}

fn order(epoch: i64) -> Order {
    fronted(epoch, None)
}

/// What is ordered of a tenant whose Service leads there.
fn fronted(epoch: i64, host: Option<&str>) -> Order {
    let facade = host.map(|host| Facade {
        name: "acme-db-rw".into(),
        lead: Lead::to(host, 5432),
        told: true,
    });
    let origin = Origin {
        server: ServerId::new("eu-west", "main"),
        generation: 1,
    };
    let rendered = Rendered {
        data: BTreeMap::new(),
        variables: BTreeSet::new(),
    };
    Order::new(Arc::new(rendered), origin, (Epoch(epoch), None), facade)
}

fn share(rolling: bool) -> Outcome {
    Outcome::Delivered(Box::new(Share {
        injected: None,
        workloads: Vec::new(),
        rolling,
        pause: None,
        taken_up: false,
        notice: None,
        left: Left::default(),
        fronted: false,
    }))
}

fn errands(errand: Errand) -> Errands {
    Errands {
        of: [(west(), errand)].into(),
        refused: Vec::new(),
    }
}

fn silent(word: &str) -> Outcome {
    Outcome::Silent(word.to_owned())
}

/// Runs one errand that ends so. Answers whether that changes what is said.
fn run(regional: &Regional, outcome: Outcome) -> bool {
    let job = regional.begin(UID, &west(), NOW).unwrap();
    regional.end(UID, &west(), &job, (Some(outcome), NOW)).0
}

fn planned() -> Regional {
    let regional = Regional::default();
    regional.order(UID, order(1));
    regional.plan(UID, &errands(Errand::Deliver), NOW);
    regional
}

#[test]
fn what_was_brought_counts_for_what_was_ordered_alone() {
    let regional = planned();
    assert_eq!(regional.look(UID, &west(), NOW), Look::Unknown);
    assert!(run(&regional, share(false)));
    assert!(matches!(
        regional.look(UID, &west(), NOW),
        Look::Delivered(_)
    ));
    assert!(!run(&regional, share(false)), "that is no news");
    assert!(run(&regional, share(true)));
    regional.order(UID, order(2));
    assert_eq!(regional.look(UID, &west(), NOW), Look::Pending);
    assert!(run(&regional, share(false)));
    let newer = Some(2);
    assert_eq!(regional.look(UID, &west(), newer), Look::Pending);
}

/// The Secret is the same before and after a move.
#[test]
fn a_service_that_leads_elsewhere_is_another_order() {
    let regional = planned();
    regional.order(UID, fronted(1, Some("10.0.0.1")));
    assert!(run(&regional, share(false)));
    let is = |look: fn(&Look) -> bool| look(&regional.look(UID, &west(), NOW));
    let there = |look: &Look| matches!(look, Look::Delivered(_));
    let pending = |look: &Look| *look == Look::Pending;
    assert!(is(there));
    regional.order(UID, fronted(1, Some("10.0.0.1")));
    assert!(is(there), "that is the same one");
    regional.order(UID, fronted(2, Some("10.0.0.1")));
    assert!(is(pending), "it has another epoch");
    regional.order(UID, fronted(1, Some("10.0.0.2")));
    assert!(is(pending), "it leads elsewhere");
    regional.order(UID, order(1));
    assert!(is(pending), "there is none");
}

#[test]
fn a_cluster_that_is_behind_is_looked_at_soon() {
    let regional = planned();
    let behind = || regional.is_behind(UID, NOW);
    assert!(behind(), "nothing was looked at");
    assert!(run(&regional, share(false)));
    assert!(!behind());
    assert!(!run(&regional, silent("one")));
    assert!(run(&regional, silent("two")));
    assert!(behind());
    assert!(run(&regional, share(false)));
    regional.order(UID, order(2));
    assert!(behind(), "it has another epoch");
    regional.plan(UID, &errands(Errand::Keep), NOW);
    assert!(!behind());
    regional.plan(UID, &errands(Errand::Withdraw), NOW);
    assert!(behind());
    run(&regional, Outcome::Withdrawn);
    assert!(!behind());
}

#[test]
fn nothing_is_brought_while_nothing_may_be_changed() {
    let regional = planned();
    assert!(run(&regional, share(false)));
    regional.hold(UID);
    assert!(regional.begin(UID, &west(), NOW).is_none());
    // What was brought there is not brought again for that.
    regional.order(UID, order(1));
    assert!(matches!(
        regional.look(UID, &west(), NOW),
        Look::Delivered(_)
    ));
    regional.plan(UID, &errands(Errand::Withdraw), NOW);
    regional.hold(UID);
    assert!(regional.begin(UID, &west(), NOW).is_some());
}

#[test]
fn one_silence_is_not_told_and_the_words_of_the_first_stand() {
    let regional = planned();
    assert!(run(&regional, share(false)));
    assert!(!run(&regional, silent("one")));
    assert!(matches!(
        regional.look(UID, &west(), NOW),
        Look::Delivered(_)
    ));
    assert!(run(&regional, silent("two")));
    assert_eq!(regional.look(UID, &west(), NOW), Look::Silent("one".into()));
    assert!(!run(&regional, silent("three")));
    assert!(run(&regional, share(false)));
}

#[test]
fn an_errand_is_run_once_at_a_time_and_again_when_it_was_asked_for_meanwhile() {
    let regional = planned();
    let job = regional.begin(UID, &west(), NOW).unwrap();
    assert!(regional.begin(UID, &west(), NOW).is_none());
    let (_, again) = regional.end(UID, &west(), &job, (None, NOW));
    assert!(again);
    let job = regional.begin(UID, &west(), NOW).unwrap();
    assert!(!regional.end(UID, &west(), &job, (None, NOW)).1);
}

#[test]
fn what_was_brought_does_not_count_as_taken_back() {
    let regional = planned();
    let late = regional.begin(UID, &west(), NOW).unwrap();
    regional.plan(UID, &errands(Errand::Withdraw), NOW);
    assert_eq!(
        regional.end(UID, &west(), &late, (Some(share(false)), NOW)),
        (false, false)
    );
    assert_eq!(regional.look(UID, &west(), NOW), Look::Unknown);
    assert!(run(&regional, Outcome::Withdrawn));
    regional.plan(UID, &errands(Errand::Deliver), NOW);
    assert_eq!(regional.look(UID, &west(), NOW), Look::Unknown);
    regional.plan(UID, &errands(Errand::Keep), NOW);
    assert!(regional.begin(UID, &west(), NOW).is_none());
    regional.plan(UID, &errands(Errand::Deliver), NOW);
    let unseen = Some(2);
    assert!(
        regional.begin(UID, &west(), unseen).is_none(),
        "its law is not asked yet"
    );
}

/// Faults: 28.
#[test]
fn an_order_does_not_print_what_it_holds() {
    assert_eq!(format!("{:?}", order(1)), "Order { .. }");
}
