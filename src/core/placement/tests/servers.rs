//! The choice among the servers of one region.

use super::*;
use crate::placement::Unfit;

pub(super) const REGION: &str = "eu-west";

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn limited(name: &str, limit: u32) -> ServerView {
    ServerView {
        max_tenants: Some(limit),
        ..ServerView::open(name)
    }
}

fn for_plans(name: &str, plans: &[&str]) -> ServerView {
    ServerView {
        plans: names(plans),
        ..ServerView::open(name)
    }
}

fn with_plan(plan: &str) -> Wish {
    Wish {
        plan: Some(plan.to_owned()),
        ..Wish::default()
    }
}

pub(super) fn of(servers: Vec<ServerView>) -> BTreeMap<RegionName, RegionView> {
    let mut regions = regions();
    if let Some(region) = regions.get_mut(&RegionName::new(REGION)) {
        region.servers = servers;
    }
    regions
}

pub(super) fn on(server: &str, uids: &[&str]) -> Vec<Holder> {
    let holder = |uid: &&str| Holder {
        uid: (*uid).to_owned(),
        home: Some(RegionName::new(REGION)),
        server: ServerId::new(REGION, server),
    };
    uids.iter().map(holder).collect()
}

pub(super) fn counted(holders: &[Holder], policies: &[PolicyView]) -> Held {
    held(&RegionName::new(REGION), "self", holders, policies)
}

pub(super) fn ask(
    wish: &Wish,
    held: &Held,
    servers: Vec<ServerView>,
) -> Result<Choice, ServerError> {
    let asked = Asked {
        region: &RegionName::new(REGION),
        recorded: None,
        allowed: &law(&["EU"]),
        wish,
        held,
    };
    choose_server(&asked, &of(servers), &[])
}

pub(super) fn name_of(choice: Result<Choice, ServerError>) -> Option<String> {
    choice.ok().map(|choice| choice.server)
}

#[test]
fn without_limits_the_first_listed_server_takes_all_however_many_it_holds() {
    let servers = || vec![ServerView::open("z"), ServerView::open("a")];
    let held = counted(&on("z", &["1", "2", "3"]), &[]);
    assert_eq!(
        name_of(ask(&Wish::default(), &held, servers())).as_deref(),
        Some("z")
    );
}

#[test]
fn the_smaller_share_of_the_limit_wins_and_then_the_order_of_the_list() {
    let servers = || vec![limited("b", 4), limited("a", 2), limited("c", 4)];
    let taken = [on("b", &["1", "2"]), on("a", &["3"]), on("c", &["4"])].concat();
    let least = ask(&Wish::default(), &counted(&taken, &[]), servers()).unwrap();
    assert_eq!(least.server, "c");
    assert_eq!(
        least.why,
        "c takes tenants with no plan, Shared; 1 of its 4 places were taken, the smallest share \
         of 3 servers that have room"
    );
    let even = [on("b", &["1", "2"]), on("a", &["3"]), on("c", &["4", "5"])].concat();
    let first = ask(&Wish::default(), &counted(&even, &[]), servers());
    assert_eq!(name_of(first).as_deref(), Some("b"));
}

#[test]
fn a_plan_gets_the_server_that_names_it_and_no_other_tenant_does() {
    let servers = || {
        vec![
            ServerView::open("any"),
            for_plans("paid", &["paid", "gold"]),
        ]
    };
    let held = Held::default();
    for (wish, server) in [
        (with_plan("paid"), "paid"),
        (with_plan("free"), "any"),
        (Wish::default(), "any"),
    ] {
        let found = name_of(ask(&wish, &held, servers()));
        assert_eq!(found.as_deref(), Some(server), "{wish}");
    }
    let alone = vec![for_plans("paid", &["paid", "gold"])];
    let refused = ask(&with_plan("free"), &held, alone).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no server is for a tenant with plan free, Shared (paid: takes the plans gold, paid \
         only); change the placement, or list such a server in the Region"
    );
}

#[test]
fn a_dedicated_server_holds_one_tenant_that_asked_for_it() {
    let own = || ServerView {
        isolation: Isolation::Dedicated,
        ..ServerView::open("own")
    };
    let wish = Wish {
        isolation: Isolation::Dedicated,
        ..Wish::default()
    };
    let servers = || vec![ServerView::open("all"), own()];
    let empty = Held::default();
    assert_eq!(
        name_of(ask(&wish, &empty, servers())).as_deref(),
        Some("own")
    );
    let shared = name_of(ask(&Wish::default(), &empty, servers()));
    assert_eq!(shared.as_deref(), Some("all"));
    let taken = counted(&on("own", &["1"]), &[]);
    let full = ask(&wish, &taken, servers()).unwrap_err();
    assert_eq!(
        full.to_string(),
        "no server has room for a tenant with no plan, Dedicated (all: is Shared; own: holds 1 of \
         1 tenants); raise `maxTenants` or list another server"
    );
}

#[test]
fn plane_and_version_are_asked_and_an_unknown_version_is_waited_for() {
    let seen = |name: &str, version| ServerView {
        major_version: version,
        ..ServerView::open(name)
    };
    let wish = Wish {
        minimum_version: Some(16),
        ..Wish::default()
    };
    let held = Held::default();
    let servers = vec![seen("old", Some(15)), seen("new", Some(17))];
    assert_eq!(name_of(ask(&wish, &held, servers)).as_deref(), Some("new"));
    let unknown = ask(&wish, &held, vec![seen("old", Some(15)), seen("new", None)]);
    assert!(
        matches!(unknown, Err(ServerError::NotKnown { .. })),
        "{unknown:?}"
    );
    let control = ServerView {
        planes: [Plane::Control].into(),
        ..ServerView::open("control")
    };
    let refused = fits(&control, &Wish::default());
    assert_eq!(refused, Err(Unfit::Plane(Plane::Tenant)));
}

#[test]
fn a_server_that_could_not_be_looked_at_takes_nobody_when_it_has_a_limit() {
    let mut held = Held::default();
    held.unseen("a");
    held.unseen("b");
    let servers = vec![limited("a", 5), ServerView::open("b")];
    assert_eq!(
        name_of(ask(&Wish::default(), &held, servers)).as_deref(),
        Some("b")
    );
    let refused = ask(&Wish::default(), &held, vec![limited("a", 5)]).unwrap_err();
    assert!(
        matches!(refused, ServerError::NotKnown { .. }),
        "{refused:?}"
    );
}

#[test]
fn a_database_that_a_deleted_placement_left_takes_its_place_and_is_told() {
    let mut held = counted(&on("main", &["1"]), &[]);
    held.found(
        "main",
        "self",
        &names(&["1", "gone"]),
        &names(&["1", "self"]),
    );
    assert_eq!((held.count("main"), held.left("main")), (2, 1));
    let full = ask(&Wish::default(), &held, vec![limited("main", 2)]).unwrap_err();
    let told = full.to_string();
    assert!(
        told.contains("main: holds 2 of 2 tenants, 1 of them left by placements that are gone"),
        "{told}"
    );
}

#[test]
fn a_placement_whose_status_was_lost_finds_its_own_database() {
    let mut held = counted(&on("b", &["1", "2"]), &[]);
    held.found(
        "b",
        "self",
        &names(&["self", "1", "2"]),
        &names(&["self", "1", "2"]),
    );
    let servers = vec![limited("a", 9), limited("b", 2)];
    let found = name_of(ask(&with_plan("paid"), &held, servers));
    assert_eq!(found.as_deref(), Some("b"));
}

#[test]
fn a_tenant_away_from_home_keeps_its_place_at_home() {
    let away = Holder {
        uid: "away".to_owned(),
        home: Some(RegionName::new(REGION)),
        server: ServerId::new("eu-central", "main"),
    };
    let policies = [policy(Some(State::Steady), "eu-central", "eu-central")];
    let known = counted(std::slice::from_ref(&away), &policies);
    assert_eq!((known.count("main"), known.count("other")), (1, 0));
    // Its policy is gone: it may belong to any server, so it counts on each.
    let astray = counted(&[away], &[]);
    assert_eq!((astray.count("main"), astray.count("other")), (1, 1));
    let home = ServerId::new(REGION, "main");
    let serving = serving_server(&home, &policies);
    assert_eq!(serving, ServerId::new("eu-central", "main"));
    assert_eq!(serving_server(&home, &[]), home);
}

#[test]
fn a_long_list_of_refusals_leaves_room_for_the_next_step() {
    let servers = (0..16).map(|at| for_plans(&format!("{at}-{}", "x".repeat(58)), &["p"]));
    let refused = ask(&with_plan("q"), &Held::default(), servers.collect()).unwrap_err();
    let told = refused.to_string();
    assert!(
        told.len() < 900 && told.ends_with("list such a server in the Region"),
        "{told}"
    );
}

fn servers() -> impl Strategy<Value = Vec<ServerView>> {
    let plans = proptest::sample::subsequence(vec!["free", "paid"], 0..=2);
    let limit = proptest::option::of(0_u32..3);
    proptest::collection::vec((plans, any::<bool>(), limit), 0..5).prop_map(|servers| {
        let server =
            |(at, (plans, dedicated, limit)): (usize, (Vec<&str>, bool, Option<u32>))| ServerView {
                isolation: if dedicated {
                    Isolation::Dedicated
                } else {
                    Isolation::Shared
                },
                max_tenants: limit,
                ..for_plans(&format!("s{at}"), &plans)
            };
        servers.into_iter().enumerate().map(server).collect()
    })
}

fn wishes() -> impl Strategy<Value = Wish> {
    let plan = proptest::option::of(prop_oneof![Just("free"), Just("paid"), Just("gold")]);
    (plan, any::<bool>()).prop_map(|(plan, dedicated)| Wish {
        plan: plan.map(str::to_owned),
        isolation: if dedicated {
            Isolation::Dedicated
        } else {
            Isolation::Shared
        },
        ..Wish::default()
    })
}

proptest! {
    /// Tenants come one after the other, each seeing those before it: no limit is ever passed,
    /// nobody is put where it does not fit, and nobody waits while a fitting server has room.
    #[test]
    fn no_server_ever_holds_more_than_its_limit(
        servers in servers(), wishes in proptest::collection::vec(wishes(), 0..12),
    ) {
        let mut holders: Vec<Holder> = Vec::new();
        for (at, wish) in wishes.iter().enumerate() {
            let held = counted(&holders, &[]);
            let room = |server: &&ServerView| {
                let open = server.limit().is_none_or(|limit| held.count(&server.name) < limit);
                open && fits(server, wish).is_ok()
            };
            let possible = servers.iter().any(|server| room(&server));
            let choice = ask(wish, &held, servers.clone());
            prop_assert_eq!(choice.is_ok(), possible);
            let Ok(choice) = choice else { continue };
            let server = servers.iter().find(|one| one.name == choice.server).unwrap();
            prop_assert!(room(&server));
            holders.extend(on(&choice.server, &[format!("t{at}").as_str()]));
        }
        let all = counted(&holders, &[]);
        for server in &servers {
            prop_assert!(server.limit().is_none_or(|limit| all.count(&server.name) <= limit));
        }
    }

    /// What is recorded is never chosen anew, whatever became of plans and limits.
    #[test]
    fn a_recorded_server_stays(
        servers in servers(), wish in wishes(), at in 0_usize..5, others in 0_usize..4,
    ) {
        let name = format!("s{at}");
        let uids: Vec<String> = (0..others).map(|uid| uid.to_string()).collect();
        let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
        let held = counted(&on(&name, &uids), &[]);
        let listed = servers.iter().any(|server| server.name == name);
        let asked = Asked {
            region: &RegionName::new(REGION),
            recorded: Some(&name),
            allowed: &law(&["EU"]),
            wish: &wish,
            held: &held,
        };
        let choice = name_of(choose_server(&asked, &of(servers), &[]));
        prop_assert_eq!(choice, listed.then_some(name));
    }
}
