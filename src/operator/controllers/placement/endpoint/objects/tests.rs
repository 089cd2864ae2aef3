use super::*;

fn wanted(host: &str, port: u16, epoch: i64) -> Wanted {
    Wanted {
        name: "acme-db-rw".into(),
        namespace: "ns".into(),
        placement: "acme".into(),
        uid: "u1".into(),
        region: None,
        lead: Lead::to(host, port),
        epoch: Epoch(epoch),
    }
}

/// What the API server holds after these writes.
fn applied(wanted: &Wanted) -> Live {
    let mut live = Live::default();
    for change in changes(&live.clone(), wanted) {
        match change {
            Change::Slice { mut document, new } => {
                assert!(new);
                document["metadata"]["uid"] = "s".into();
                live.slices.push(serde_json::from_value(document).unwrap());
            }
            Change::Service { mut document, new } => {
                assert!(new);
                document["metadata"]["uid"] = "v".into();
                document["spec"]["clusterIP"] = "10.96.0.7".into();
                live.service = Some(serde_json::from_value(document).unwrap());
            }
            Change::Remove(_) => panic!("nothing is there"),
        }
    }
    live
}

#[test]
fn what_is_there_as_it_must_be_is_not_written() {
    for host in ["10.0.0.1", "fd00::1", "pg.example.net"] {
        let wanted = wanted(host, 5433, 4);
        assert!(changes(&applied(&wanted), &wanted).is_empty(), "{host}");
    }
}

#[test]
fn a_move_turns_the_slice_and_leaves_the_service() {
    let live = applied(&wanted("10.0.0.1", 5432, 4));
    let changes = changes(&live, &wanted("10.0.0.2", 6000, 5));
    let [
        Change::Slice {
            document,
            new: false,
        },
    ] = &changes[..]
    else {
        panic!("{changes:?}");
    };
    assert_eq!(document["metadata"]["uid"], "s", "of that slice alone");
    assert_eq!(document["endpoints"][0]["addresses"][0], "10.0.0.2");
    assert_eq!(document["ports"][0]["port"], 6000);
    assert_eq!(document["metadata"]["annotations"][meta::EPOCH], "5");
}

#[test]
fn a_name_is_answered_by_dns_and_no_slice_is_left() {
    let live = applied(&wanted("10.0.0.1", 5432, 4));
    let there = changes(&live, &wanted("pg.example.net", 5432, 5));
    let [
        Change::Service {
            document,
            new: false,
        },
        Change::Remove(slice),
    ] = &there[..]
    else {
        panic!("{there:?}");
    };
    assert_eq!(document["spec"]["externalName"], "pg.example.net");
    assert_eq!(slice.name_any(), "acme-db-rw-ipv4");
    let back = changes(
        &applied(&wanted("pg.example.net", 5432, 5)),
        &wanted("10.0.0.1", 5432, 6),
    );
    let [
        Change::Slice { new: true, .. },
        Change::Service { document, .. },
    ] = &back[..]
    else {
        panic!("{back:?}");
    };
    assert_eq!(document["spec"]["type"], "ClusterIP");
}

#[test]
fn another_family_has_a_slice_of_its_own() {
    let live = applied(&wanted("10.0.0.1", 5432, 4));
    let changes = changes(&live, &wanted("fd00::2", 5432, 5));
    let [
        Change::Slice {
            document,
            new: true,
        },
        Change::Remove(old),
    ] = &changes[..]
    else {
        panic!("{changes:?}");
    };
    assert_eq!(document["addressType"], "IPv6");
    assert_eq!(old.name_any(), "acme-db-rw-ipv4");
}

#[test]
fn what_belongs_to_others_or_to_a_newer_epoch_is_refused() {
    let mut live = applied(&wanted("10.0.0.1", 5432, 4));
    assert_eq!(admit(&live, "u1", Epoch(4)), Ok(()));
    assert_eq!(admit(&live, "u2", Epoch(4)), Err(Refusal::Service));
    assert_eq!(admit(&live, "u1", Epoch(3)), Err(Refusal::Newer(Epoch(4))));
    let mut foreign = live.slices[0].clone();
    foreign.metadata.name = Some("theirs".into());
    foreign.metadata.annotations = None;
    live.slices.push(foreign);
    let refused = Err(Refusal::Slice("theirs".into()));
    assert_eq!(admit(&live, "u1", Epoch(4)), refused);
    let alias = applied(&wanted("pg.example.net", 5432, 4));
    assert_eq!(admit(&alias, "u1", Epoch(3)), Err(Refusal::Newer(Epoch(4))));
    assert_eq!(admit(&Live::default(), "u1", Epoch(0)), Ok(()));
}

#[test]
fn what_is_in_the_cluster_of_a_region_has_its_name() {
    let hub = wanted("10.0.0.1", 5432, 4);
    let region = Wanted {
        region: Some("eu-west".into()),
        ..hub.clone()
    };
    let theirs = applied(&region);
    assert!(changes(&theirs, &region).is_empty());
    let marks = |live: &Live| live.ours("u1").filter_map(super::region).count();
    assert_eq!((marks(&theirs), marks(&applied(&hub))), (2, 0));
    assert_eq!(theirs.ours("u2").count(), 0);
    // The name is put on what lacks it. The hub does not mind one.
    assert_eq!(changes(&applied(&hub), &region).len(), 2);
    assert!(changes(&theirs, &hub).is_empty());
}
