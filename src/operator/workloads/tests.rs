use super::*;

fn key(name: &str) -> Key {
    Key::namespaced("tenant", name)
}

fn watched() -> Workloads {
    let workloads = Workloads::default();
    for kind in KINDS {
        assert!(!workloads.are_watched());
        workloads.watched(kind);
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
    workloads.watched(WorkloadKind::DaemonSet);
    let after = workloads.revision(&key("a"));
    assert!(after.is_some() && after != before);
}

#[test]
fn only_a_missing_right_is_a_refusal() {
    let of = |code: u16| {
        let status = kube::core::Status {
            code,
            ..kube::core::Status::default()
        };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    };
    assert!(is_refused(&of(403)));
    assert!(!is_refused(&of(500)) && !is_refused(&of(410)));
    assert!(!is_refused(&watcher::Error::NoResourceVersion));
}
