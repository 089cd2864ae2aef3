//! Each right that the operator's login is given is one that it needs: without it, something that
//! it must be able to do fails. That they are enough all other tests show, which use that login.

use std::time::Duration;

use domicile_core::admin::admin_sql;
use domicile_core::facts::Epoch;
use domicile_core::health::Probe;
use domicile_core::time::Mono;
use domicile_lab::postgres::{ADMIN, Binaries};
use domicile_providers::Generic;

use crate::world::{World, eventually, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    without_a_right_what_it_is_for_fails_and_is_told,
    the_login_may_do_nothing_that_is_not_on_its_list,
);

/// What is taken away, how the probe names it, and what fails then.
const RIGHTS: &[(&str, &str, &str)] = &[
    ("ALTER ROLE domicile_admin NOCREATEDB", "CREATEDB", "make"),
    (
        "ALTER ROLE domicile_admin NOCREATEROLE",
        "CREATEROLE",
        "make",
    ),
    (
        "REVOKE pg_monitor FROM domicile_admin",
        "member of pg_monitor",
        "lag",
    ),
    (
        "REVOKE pg_signal_backend FROM domicile_admin",
        "member of pg_signal_backend",
        "fence",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM domicile_admin",
        "EXECUTE on pg_reload_conf",
        "synchronous",
    ),
    (
        "REVOKE ALTER SYSTEM ON PARAMETER synchronous_standby_names FROM domicile_admin",
        "ALTER SYSTEM on synchronous_standby_names",
        "synchronous",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM domicile_admin",
        "EXECUTE on pg_promote",
        "promote",
    ),
];

async fn without_a_right_what_it_is_for_fails_and_is_told(binaries: &Binaries) {
    let world = World::new(binaries);
    let standby = world.lab.standby("eu-central", &world.primary).unwrap();
    let (provider, there) = (world.provider(), world.provider_of(&standby));
    place(&provider, &plan("acme", "u1"), 0).await;
    assert_eq!(facts(&provider).await.senders.len(), 1);
    for (n, (revoke, name, fails)) in RIGHTS.iter().enumerate() {
        world.sql("postgres", revoke);
        let told = facts(&provider).await;
        assert_eq!(told.missing_rights, [*name]);
        let new = plan(&format!("new{n}"), "u9");
        let refused = match *fails {
            "make" => provider
                .ensure_tenant(&new, Epoch(0), &verifiers())
                .await
                .err(),
            "synchronous" => {
                let other = format!("s{n}");
                let set = provider.set_synchronous(Some(&other), Epoch(0)).await;
                world.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
                set.err()
            }
            "promote" => {
                standby
                    .await_streaming(&world.primary, Duration::from_secs(5))
                    .unwrap();
                there.promote(Epoch(0)).await.err()
            }
            "fence" => std::thread::scope(|scope| {
                let session = world.session(scope, ("acme_ro_a", "acme"), "SELECT pg_sleep(4)");
                let fenced = tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(provider.fence(Epoch(0)))
                });
                drop(session.join());
                fenced.err()
            }),
            _ => {
                // How far a standby is cannot be seen.
                assert!(told.senders.iter().all(|sender| sender.replayed.is_none()));
                None
            }
        };
        let reason = refused.map(|error| error.reason());
        let wanted = (*fails != "lag").then_some("AdminPrivilegesInsufficient");
        assert_eq!(reason, wanted, "{revoke}");
        world.sql("postgres", &admin_sql(ADMIN));
        provider.take_authority(Epoch(0)).await.unwrap();
    }
    place(&provider, &plan("after", "u9"), 0).await;
    // Everybody has these by default. Where that was taken away, the login's own right counts, and
    // without it a server cannot even be told from another.
    let runtime = tokio::runtime::Handle::current();
    let failed = |of: &Generic| {
        let probe = tokio::task::block_in_place(|| runtime.block_on(of.probe(Mono(1))));
        matches!(probe, Probe::Failed(..))
    };
    for (function, of) in [
        ("pg_control_system()", &provider),
        ("pg_control_checkpoint()", &there),
    ] {
        let revoke = |from| format!("REVOKE EXECUTE ON FUNCTION {function} FROM {from}");
        world.sql("postgres", &revoke("PUBLIC"));
        assert!(!failed(of), "{function}");
        world.sql("postgres", &revoke("domicile_admin"));
        eventually(function, || failed(of));
        world.sql("postgres", &admin_sql(ADMIN));
        eventually(function, || !failed(of));
    }
    println!("{} rights taken away one by one", RIGHTS.len() + 2);
}

/// What would make the login more than it needs to be.
const NEVER: &[&str] = &[
    "SET ROLE postgres",
    "ALTER ROLE postgres PASSWORD 'x'",
    "ALTER ROLE domicile_admin SUPERUSER",
    "ALTER ROLE domicile_admin REPLICATION",
    "ALTER ROLE domicile_admin BYPASSRLS",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT rolpassword FROM pg_authid",
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION f()",
];

/// Before 16, CREATEROLE reaches every role but superusers, and with one of them the machine.
const NEVER_ON_16: &[&str] = &[
    "ALTER ROLE of_the_platform PASSWORD 'x'",
    "ALTER ROLE of_the_platform NOLOGIN",
    "GRANT of_the_platform TO domicile_admin",
    "DROP ROLE of_the_platform",
    "GRANT pg_read_all_data TO domicile_admin",
    "GRANT pg_execute_server_program TO domicile_admin",
];

async fn the_login_may_do_nothing_that_is_not_on_its_list(binaries: &Binaries) {
    let world = World::new(binaries);
    world.sql("postgres", "CREATE ROLE of_the_platform LOGIN");
    let version = world.sql("postgres", "SHOW server_version_num");
    let secure = version.parse::<u32>().unwrap() >= 160_000;
    let password = &world.lab.passwords().admin;
    let try_it = |sql: &str| {
        let sql = format!("BEGIN; {sql}; ROLLBACK");
        world.primary.login_sql(ADMIN, password, "postgres", &sql)
    };
    let elsewhere = "SELECT pg_sleep(9)";
    std::thread::scope(|scope| {
        let session = scope.spawn(|| world.primary.superuser_sql("template1", elsewhere));
        eventually("a session of a superuser is there", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'template1'";
            world.sql("postgres", sql) == "1"
        });
        for sql in NEVER {
            assert!(try_it(sql).is_err(), "{sql} was not refused");
        }
        drop(session.join());
    });
    let refused = NEVER_ON_16.iter().filter(|sql| try_it(sql).is_err());
    let refused: Vec<_> = refused.collect();
    if secure {
        assert_eq!(refused.len(), NEVER_ON_16.len(), "{refused:?}");
    } else {
        // What the page on privileges warns of.
        assert!(refused.len() < 2, "{refused:?}");
    }
    println!(
        "{} of {} more are refused",
        refused.len(),
        NEVER_ON_16.len()
    );
}
