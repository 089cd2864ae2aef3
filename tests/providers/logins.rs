//! The logins of all tenants, opened and closed at once where `ALTER ROLE` would ask for each anew.

use domicile_core::admin::admin_sql;
use domicile_core::facts::Epoch;
use domicile_core::names::{quote_identifier, quote_literal};
use domicile_lab::postgres::{ADMIN, Binaries};
use domicile_providers::{Applied, Generic};

use crate::world::{World, eventually, facts, on_both_versions, place, plan};

on_both_versions!(
    a_move_sets_all_logins_at_once_and_one_by_one_where_it_must,
    what_sets_logins_gives_no_right,
    what_sets_logins_asks_what_holds_now,
);

/// Closes, then opens all; the count of logins that are open before and after each.
async fn moved(provider: &Generic, epoch: i64) -> [u32; 3] {
    let before = facts(provider).await.open_logins;
    let fenced = provider.fence(Epoch(epoch)).await.unwrap();
    assert_eq!((fenced.applied, fenced.sessions_left), (Applied::Done, 0));
    let shut = facts(provider).await.open_logins;
    let opened = provider.take_authority(Epoch(epoch + 1)).await.unwrap();
    assert_eq!(opened, Applied::Done);
    [before, shut, facts(provider).await.open_logins]
}

fn secure(world: &World) -> bool {
    let version = world.sql("postgres", "SHOW server_version_num");
    version.parse::<u32>().unwrap() >= 160_000
}

async fn a_move_sets_all_logins_at_once_and_one_by_one_where_it_must(binaries: &Binaries) {
    let world = World::with(binaries, &[("track_functions", "all")]);
    let (provider, secure) = (world.provider(), secure(&world));
    for (name, uid) in [("acme", "u1"), ("globex", "u2"), ("select", "u3")] {
        place(&provider, &plan(name, uid), 0).await;
    }
    let called = |times: u32| {
        let sql = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions
                   WHERE funcname = 'set_logins'";
        eventually("calls are counted", || {
            world.sql("postgres", sql).parse() == Ok(times)
        });
    };
    assert!(!facts(&provider).await.slow_logins);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    assert_eq!(moved(&provider, 1).await, [6, 0, 6]);
    called(if secure { 2 } else { 0 });

    // What the login administers by another role alone is left to the server's own check.
    if secure {
        world.sql(
            "postgres",
            "CREATE ROLE between; GRANT acme_a TO between WITH ADMIN OPTION;
             GRANT between TO domicile_admin;
             REVOKE acme_a FROM domicile_admin GRANTED BY postgres",
        );
        assert_eq!(moved(&provider, 3).await, [6, 0, 6]);
        called(4);
    }

    // A server whose superuser ran what an older version printed.
    world.sql("postgres", "DROP FUNCTION domicile.set_logins");
    assert_eq!(facts(&provider).await.slow_logins, secure);
    let there = world.provider_of(&standby);
    eventually("the standby follows", || {
        let told = facts(&there);
        let told = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(told));
        told.slow_logins == secure
    });
    assert_eq!(moved(&provider, 5).await, [6, 0, 6]);
    // Its schema is the login's own: what that made by the same name is not taken for it.
    let own = "CREATE FUNCTION domicile.set_logins(names text[], opened boolean)
               RETURNS SETOF text LANGUAGE sql SECURITY DEFINER RETURN 'nothing is set';
               GRANT EXECUTE ON FUNCTION domicile.set_logins TO domicile_admin";
    let password = &world.lab.passwords().admin;
    world
        .primary
        .login_sql(ADMIN, password, "postgres", own)
        .unwrap();
    assert_eq!(facts(&provider).await.slow_logins, secure);
    assert_eq!(moved(&provider, 7).await, [6, 0, 6]);
    world.sql("postgres", &admin_sql(ADMIN));
    assert!(!facts(&provider).await.slow_logins);
    assert_eq!(moved(&provider, 9).await, [6, 0, 6]);
}

/// What the operator's login is told that was not set; several statements may come before.
fn left(world: &World, before: &str, (names, opened): (&[&str], bool)) -> Result<String, String> {
    let names: Vec<String> = names.iter().map(|name| quote_literal(name)).collect();
    let sql = format!(
        "{before}; SELECT 'left:' || coalesce(string_agg(login, ', '), '') FROM
         domicile.set_logins(ARRAY[{}]::text[], {opened}) AS login",
        names.join(", ")
    );
    let password = &world.lab.passwords().admin;
    let said = world.primary.login_sql(ADMIN, password, "postgres", &sql);
    let said = said.map_err(|error| error.report())?;
    let (_, left) = said.rsplit_once("left:").unwrap();
    Ok(left.to_owned())
}

/// All roles that can log in.
fn open(world: &World) -> String {
    let sql = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin";
    world.sql("postgres", sql)
}

async fn what_sets_logins_gives_no_right(binaries: &Binaries) {
    let world = World::new(binaries);
    place(&world.provider(), &plan("acme", "u1"), 0).await;
    world.sql(
        "postgres",
        "CREATE ROLE of_the_platform LOGIN; CREATE ROLE closed;
         CREATE ROLE platform CREATEROLE; GRANT of_the_platform TO platform WITH ADMIN OPTION;
         CREATE ROLE another SUPERUSER LOGIN; GRANT another TO domicile_admin WITH ADMIN OPTION",
    );
    let (secure, before) = (secure(&world), open(&world));
    let foreign = [
        "postgres",
        "another",
        "of_the_platform",
        "domicile_admin",
        "nobody",
    ];
    assert_eq!(
        left(&world, "", (&foreign, false)).unwrap(),
        foreign.join(", ")
    );
    let foreign = ["closed", "pg_monitor"];
    assert_eq!(
        left(&world, "", (&foreign, true)).unwrap(),
        foreign.join(", ")
    );
    assert_eq!(open(&world), before);
    // It sets what the login itself may set.
    let (own, odd) = (["acme_a"], ["it's \"odd\" ; %I"]);
    let made = quote_identifier(odd[0]);
    let made =
        format!("CREATE ROLE {made} LOGIN; GRANT {made} TO domicile_admin WITH ADMIN OPTION");
    world.sql("postgres", &made);
    for (of, opened) in [(own, false), (odd, false), (own, true)] {
        let was = open(&world);
        let kept = if secure { "" } else { of[0] };
        assert_eq!(left(&world, "", (&of, opened)).unwrap(), kept);
        assert_eq!(open(&world) != was, secure, "{of:?}");
    }
    let before = open(&world);
    if !secure {
        // Which it may do before 16, where such a role is a superuser's alone to alter.
        let sql = "CREATE ROLE streams REPLICATION LOGIN;
                   GRANT streams TO domicile_admin WITH ADMIN OPTION";
        world.sql("postgres", sql);
        assert_eq!(left(&world, "", (&["streams"], false)).unwrap(), "streams");
        world.sql("postgres", "DROP ROLE streams");
    }
    world.sql("postgres", "ALTER ROLE domicile_admin NOCREATEROLE");
    assert_eq!(left(&world, "", (&own, false)).unwrap(), own[0]);
    assert_eq!(open(&world), before);

    // A tenant cannot call it, nor would it do anything for one.
    let sql = "SELECT domicile.set_logins(ARRAY['acme_b'], true)";
    for (object, grant) in [
        ("schema domicile", "USAGE ON SCHEMA domicile"),
        (
            "function set_logins",
            "EXECUTE ON FUNCTION domicile.set_logins",
        ),
    ] {
        let refused = world.as_tenant("acme_a", "postgres", sql).unwrap_err();
        let wanted = format!("permission denied for {object}");
        assert!(refused.contains(&wanted), "{refused}");
        world.sql("postgres", &format!("GRANT {grant} TO PUBLIC"));
    }
    let kept = world.as_tenant("acme_a", "postgres", sql);
    assert_eq!(kept.unwrap(), "acme_b");
    assert_eq!(open(&world), before);
}

/// Nor by what a caller makes it see: a catalogue of its own, or one of an earlier moment.
async fn what_sets_logins_asks_what_holds_now(binaries: &Binaries) {
    let world = World::new(binaries);
    place(&world.provider(), &plan("acme", "u1"), 0).await;
    world.sql("postgres", "CREATE ROLE of_the_platform LOGIN");
    let before = open(&world);
    let forged = "CREATE TEMP TABLE pg_roles AS SELECT * FROM (VALUES
                    (1::oid, 'of_the_platform'::name, false, false),
                    (2, 'domicile_admin', false, true)) AS r(oid, rolname, rolsuper, rolcreaterole);
                  CREATE TEMP TABLE pg_auth_members AS
                    SELECT 1::oid AS roleid, 2::oid AS member, true AS admin_option;
                  SET search_path = pg_temp, pg_catalog";
    let kept = left(&world, forged, (&["of_the_platform"], false));
    assert_eq!(kept.unwrap(), "of_the_platform");
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let earlier = format!("BEGIN ISOLATION LEVEL {isolation}");
        let refused = left(&world, &earlier, (&["acme_a"], false)).unwrap_err();
        assert!(refused.contains("needs READ COMMITTED"), "{refused}");
    }
    assert_eq!(open(&world), before);
}
