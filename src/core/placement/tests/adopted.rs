//! A tenant whose database is there before it.

use super::servers::{REGION, ask, counted, limited, name_of, of, on};
use super::*;

/// A database of the tenant's name on `servers`, which no other tenant holds.
fn named(mut held: Held, servers: &[&str], adopts: bool) -> Held {
    let servers = servers.iter().map(|name| (*name).to_owned());
    held.named(servers.collect(), adopts);
    held
}

#[test]
fn the_server_with_the_tenants_database_comes_first_however_full_it_is() {
    let servers = || vec![ServerView::open("empty"), limited("full", 1)];
    let full = || counted(&on("full", &["before"]), &[]);
    for adopts in [false, true] {
        let held = named(full(), &["full"], adopts);
        let choice = ask(&Wish::default(), &held, servers()).unwrap();
        assert_eq!(choice.server, "full");
        assert!(choice.why.contains("database of the tenant's name"));
    }
    let choice = ask(&Wish::default(), &full(), servers());
    assert_eq!(name_of(choice).as_deref(), Some("empty"));
}

#[test]
fn who_adopts_waits_for_a_server_that_does_not_tell() {
    let servers = || vec![ServerView::open("a"), ServerView::open("b")];
    let silent = || {
        let mut held = counted(&[], &[]);
        held.unseen("b");
        held
    };
    let waits = ask(&Wish::default(), &named(silent(), &[], true), servers());
    assert!(
        matches!(&waits, Err(ServerError::NotKnown { refused, .. }) if refused[0].0 == "b"),
        "{waits:?}"
    );
    let found = ask(&Wish::default(), &named(silent(), &["a"], true), servers());
    assert_eq!(name_of(found).as_deref(), Some("a"));
    // A new one need not wait, and neither does one that no server can have.
    let new = ask(&Wish::default(), &named(silent(), &[], false), servers());
    assert_eq!(name_of(new).as_deref(), Some("a"));
    let told = named(counted(&[], &[]), &[], true);
    let none = ask(&Wish::default(), &told, servers());
    assert_eq!(name_of(none).as_deref(), Some("a"));
}

#[test]
fn a_database_on_two_servers_is_for_a_person() {
    let servers = vec![ServerView::open("a"), ServerView::open("b")];
    let held = named(counted(&[], &[]), &["b", "a"], true);
    let error = ask(&Wish::default(), &held, servers).unwrap_err();
    assert_eq!(
        error,
        ServerError::NamedOnSeveral(vec!["a".into(), "b".into()])
    );
    let told = error.to_string();
    assert!(
        told.contains("servers a, b") && told.contains("rename"),
        "{told}"
    );
}

#[test]
fn the_law_holds_for_a_database_that_is_there() {
    let covered = policy(Some(State::Steady), REGION, "us-east");
    let held = named(counted(&[], &[]), &["main"], true);
    let mut regions = of(vec![ServerView::open("main")]);
    regions.extend(
        super::regions()
            .into_iter()
            .filter(|(name, _)| name.as_str() != REGION),
    );
    let asked = Asked {
        region: &RegionName::new(REGION),
        recorded: None,
        allowed: &law(&["EU"]),
        wish: &Wish::default(),
        held: &held,
    };
    let abroad = choose_server(&asked, &regions, &[covered]);
    assert!(
        matches!(abroad, Err(ServerError::WouldLeaveJurisdiction { .. })),
        "{abroad:?}"
    );
    assert!(choose_server(&asked, &regions, &[]).is_ok());
}

/// What stands on a standby is a copy of another Region's.
#[test]
fn a_standby_has_no_database_of_the_regions_own_tenants() {
    let servers = || of(vec![ServerView::open("dr"), ServerView::open("main")]);
    let mut abroad = policy(Some(State::Steady), "us-east", REGION);
    abroad.primary = ServerId::new("us-east", "main");
    abroad.standbys = vec![ServerId::new(REGION, "dr")];
    let choose = |held: &Held| {
        let asked = Asked {
            region: &RegionName::new(REGION),
            recorded: None,
            allowed: &law(&["EU"]),
            wish: &Wish::default(),
            held,
        };
        choose_server(&asked, &servers(), std::slice::from_ref(&abroad))
    };
    for having in [&["dr"][..], &["dr", "main"]] {
        let held = named(counted(&[], &[]), having, true);
        assert_eq!(
            name_of(choose(&held)).as_deref(),
            Some("main"),
            "{having:?}"
        );
    }
    let mut silent = counted(&[], &[]);
    silent.unseen("dr");
    let choice = choose(&named(silent, &[], true)).unwrap();
    assert_eq!(choice.server, "main");
    assert!(!choice.why.contains("not asked"), "{}", choice.why);
}

#[test]
fn a_new_tenant_is_told_of_the_server_that_could_not_be_asked() {
    let mut silent = counted(&[], &[]);
    silent.unseen("b");
    let servers = vec![ServerView::open("a"), ServerView::open("b")];
    let choice = ask(&Wish::default(), &silent, servers).unwrap();
    assert_eq!(choice.server, "a");
    assert!(choice.why.ends_with("is there: b"), "{}", choice.why);
}
