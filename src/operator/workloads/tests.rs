use super::*;

fn key(name: &str) -> Key {
    Key::namespaced("tenant", name)
}

fn watched() -> Workloads {
    let workloads = Workloads::default();
    for kind in KINDS {
        assert!(!workloads.are_watched());
        workloads.watched(kind, BTreeSet::new());
    }
    workloads
}

#[test]
fn a_revision_lasts_until_something_of_that_placement_changes() {
    let workloads = watched();
    assert_eq!(workloads.revision(&key("a")), None, "nobody knows of it");
    workloads.placed(&key("a"));
    workloads.placed(&key("b"));
    let first = workloads.revision(&key("a"));
    assert!(first.is_some());
    workloads.changed(&key("b"));
    workloads.placed(&key("a"));
    assert_eq!(workloads.revision(&key("a")), first);
    workloads.changed(&key("a"));
    assert_ne!(workloads.revision(&key("a")), first);
    assert_eq!(workloads.of("tenant"), [key("a"), key("b")]);
    workloads.gone(&key("a"));
    workloads.changed(&key("a"));
    assert_eq!(workloads.revision(&key("a")), None);
    assert_eq!(workloads.of("elsewhere"), []);
}

#[test]
fn a_watch_that_was_refused_for_a_while_leaves_no_revision_of_before() {
    let workloads = watched();
    workloads.placed(&key("a"));
    let before = workloads.revision(&key("a"));
    workloads.lost(WorkloadKind::DaemonSet);
    assert_eq!(workloads.revision(&key("a")), None);
    // Refused again: it was not watched meanwhile.
    workloads.lost(WorkloadKind::DaemonSet);
    workloads.watched(WorkloadKind::DaemonSet, BTreeSet::new());
    let after = workloads.revision(&key("a"));
    assert!(after.is_some() && after != before);
}

#[test]
fn a_namespace_has_no_workloads_only_where_the_watch_would_have_shown_them() {
    let kind = WorkloadKind::StatefulSet;
    let of = |workloads: &Workloads| ["a", "b"].map(|space| workloads.may_have(kind, space));
    let workloads = Workloads::default();
    workloads.has(kind, "a", true);
    assert_eq!(of(&workloads), [true, true], "the list is not complete");
    workloads.watched(kind, BTreeSet::from(["a".to_owned()]));
    assert_eq!(of(&workloads), [true, false]);
    assert!(
        workloads.may_have(WorkloadKind::DaemonSet, "b"),
        "not watched"
    );
    workloads.has(kind, "b", true);
    assert_eq!(of(&workloads), [true, true], "one was made");
    workloads.has(kind, "a", false);
    assert_eq!(of(&workloads), [false, true], "the last one went");
    workloads.listing(kind);
    workloads.has(kind, "b", true);
    assert_eq!(of(&workloads), [true, true], "listed anew");
    workloads.watched(kind, BTreeSet::new());
    assert_eq!(of(&workloads), [false, false]);
    workloads.lost(kind);
    assert_eq!(of(&workloads), [true, true], "nobody watches");
}

#[test]
fn a_placement_is_woken_at_once_and_then_no_more_than_every_two_seconds() {
    let workloads = watched();
    workloads.placed(&key("a"));
    assert!(workloads.may_wake(&key("a"), Mono(10_000)));
    assert!(!workloads.may_wake(&key("a"), Mono(10_100)));
    assert!(!workloads.may_wake(&key("a"), Mono(11_900)));
    assert_eq!(workloads.due(Mono(11_999)), []);
    assert_eq!(workloads.due(Mono(12_000)), [key("a")]);
    assert_eq!(workloads.due(Mono(20_000)), [], "once");
    assert!(!workloads.may_wake(&key("unknown"), Mono(20_000)));
}

#[test]
fn a_watch_that_is_lost_makes_everybody_look_but_not_all_at_once() {
    let workloads = watched();
    for number in 0..=AT_ONCE {
        workloads.placed(&key(&number.to_string()));
    }
    assert!(workloads.lost(WorkloadKind::Deployment));
    assert!(!workloads.lost(WorkloadKind::Deployment));
    workloads.gone(&key("0"));
    assert_eq!(workloads.due(Mono(0)).len(), AT_ONCE);
    assert_eq!(workloads.due(Mono(0)), []);
}
