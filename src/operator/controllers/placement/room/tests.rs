use std::sync::{Arc, Barrier};
use std::thread;

use super::*;

fn region() -> RegionName {
    RegionName::new("eu-west")
}

fn on(uid: &str) -> Holder {
    Holder {
        uid: uid.to_owned(),
        home: Some(region()),
        server: ServerId::new("eu-west", "main"),
    }
}

/// Takes `main` while fewer than `limit` hold it.
fn take(
    promises: &Promises,
    uid: &str,
    limit: u32,
    stored: (Vec<Holder>, BTreeSet<String>),
) -> bool {
    let choose = |holders: &[Holder], _: &BTreeSet<String>| {
        let held = placement::held(&region(), uid, holders, &[]);
        if held.count("main") < limit {
            let (server, why) = ("main".to_owned(), String::new());
            Ok(Choice { server, why })
        } else {
            Err(ServerError::NotFound(String::new()))
        }
    };
    let region = region();
    promises.choose((uid, &region), || stored, choose).is_ok()
}

fn live(uids: &[&str]) -> BTreeSet<String> {
    uids.iter().map(|uid| (*uid).to_owned()).collect()
}

/// Many choose at once, and none of their choices is stored yet.
#[test]
fn promises_that_are_not_stored_yet_count() {
    let promises = Arc::new(Promises::default());
    let uids: Vec<String> = (0..16).map(|at| format!("u{at}")).collect();
    let all: BTreeSet<String> = uids.iter().cloned().collect();
    let start = Arc::new(Barrier::new(uids.len()));
    let threads: Vec<_> = uids
        .into_iter()
        .map(|uid| {
            let (promises, start, all) = (Arc::clone(&promises), Arc::clone(&start), all.clone());
            thread::spawn(move || {
                start.wait();
                take(&promises, &uid, 3, (Vec::new(), all))
            })
        })
        .collect();
    let taken = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(taken.filter(|taken| *taken).count(), 3);
}

#[test]
fn a_promise_ends_when_it_is_settled_or_its_placement_is_gone() {
    let promises = Promises::default();
    let nobody = || (Vec::new(), live(&["a", "b"]));
    assert!(take(&promises, "a", 1, nobody()));
    assert!(!take(&promises, "b", 1, nobody()));
    // The one that holds it may ask again.
    assert!(take(&promises, "a", 1, nobody()));
    promises.settle("a");
    assert!(take(&promises, "b", 1, nobody()));
    assert!(take(&promises, "a", 1, (Vec::new(), live(&["a"]))));
}

#[test]
fn a_promise_and_what_is_stored_of_it_are_one_place() {
    let promises = Promises::default();
    assert!(take(&promises, "a", 2, (Vec::new(), live(&["a"]))));
    let stored = || (vec![on("a")], live(&["a", "b", "c"]));
    assert!(take(&promises, "b", 2, stored()));
    assert!(!take(&promises, "c", 2, stored()));
}
