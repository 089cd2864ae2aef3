//! The owner of a database may change nearly every setting of every session in it.

use domicile_core::facts::Epoch;
use domicile_core::names::{Access, Slot};
use domicile_lab::postgres::Binaries;
use domicile_providers::{Applied, scram_verifier};
use secrecy::SecretString;

use crate::world::{CANARY, World, facts, on_both_versions, place, plan, verifiers};

on_both_versions!(
    no_setting_of_a_tenant_stops_or_misleads_the_operator,
    what_ends_sessions_early_ends_none_of_the_operator,
    an_owner_that_shuts_its_database_shuts_out_nobody_else,
    a_tenant_that_relaxes_its_commits_speaks_for_itself_alone,
);

/// All that users may set, for the tenant's database and for its own login: `$number`, `$flag`,
/// `$word` and `$text` stand for what they are set to.
const ALL: &str = r"
DO $do$ DECLARE s record; v text; BEGIN
FOR s IN SELECT * FROM pg_settings WHERE context = 'user' LOOP
  v := CASE s.vartype WHEN 'bool' THEN $flag WHEN 'string' THEN $text
    WHEN 'enum' THEN $word ELSE $number END;
  BEGIN
    EXECUTE format('ALTER DATABASE acme SET %I = %L', s.name, v);
    EXECUTE format('ALTER ROLE acme_a SET %I = %L', s.name, v);
  EXCEPTION WHEN others THEN NULL; END;
END LOOP;
COMMENT ON DATABASE acme IS 'x';
END $do$";

async fn no_setting_of_a_tenant_stops_or_misleads_the_operator(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    acme.schemas = vec!["app".into()];
    place(&provider, &acme, 0).await;
    let step = "CASE s.vartype WHEN 'integer' THEN (s.min_val::numeric + 1)::text \
                ELSE s.min_val END";
    let profiles = [
        ("s.min_val", "'off'", "s.enumvals[1]", "''"),
        (
            step,
            "'on'",
            "s.enumvals[cardinality(s.enumvals)]",
            "'nowhere'",
        ),
        (
            "s.max_val",
            "CASE s.setting WHEN 'on' THEN 'off' ELSE 'on' END",
            "s.enumvals[1]",
            "'acme'",
        ),
    ];
    for (number, flag, word, text) in profiles {
        world.sql("acme", "REVOKE USAGE ON SCHEMA app FROM acme_ro");
        let sql = ALL.replace("$number", number).replace("$flag", flag);
        let sql = sql.replace("$word", word).replace("$text", text);
        // From outside: inside, its own next session would be stopped.
        world.as_tenant("acme_a", "postgres", &sql).unwrap();
        let taken = "SELECT cardinality(s.setconfig) FROM pg_db_role_setting s
                     JOIN pg_database d ON d.oid = s.setdatabase
                     WHERE d.datname = 'acme' AND s.setrole = 0";
        let taken: u32 = world.sql("postgres", taken).parse().unwrap();
        assert!(taken > 100, "only {taken} settings were taken");
        let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        let settled = settled.unwrap_or_else(|error| panic!("{number} {flag}: {error}"));
        assert_eq!(settled.mended.len(), 2, "{:?}", settled.mended);
        let again = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        assert_eq!(again.unwrap().applied, Applied::Already);
        facts(&provider).await;
        println!("{taken} settings at {number}, {flag}, {text}: one look mended what differed");
        if number != "s.max_val" {
            world.sql("postgres", "ALTER DATABASE acme RESET ALL");
            world.sql("postgres", "ALTER ROLE acme_a RESET ALL");
        }
    }
    // The last of them stay while the rest of a tenant's life goes by.
    let verifier = scram_verifier(&SecretString::from("another-one"));
    let one = [(Access::ReadWrite, verifier.clone())];
    let set = provider.set_passwords(&acme, Slot::A, &one, Epoch(0));
    set.await.unwrap();
    assert_eq!(provider.fence(Epoch(1)).await.unwrap().sessions_left, 0);
    provider.take_authority(Epoch(2)).await.unwrap();
    let dropped = provider.drop_tenant(&acme, Epoch(2)).await.unwrap();
    assert_eq!(dropped.applied, Applied::Done);
}

/// One by one, each so small that a session with it would be over at once.
async fn what_ends_sessions_early_ends_none_of_the_operator(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    let settings = [
        "idle_session_timeout = 1",
        "transaction_timeout = 1",
        "local_preload_libraries = 'nowhere'",
        "exit_on_error = on",
        "default_transaction_deferrable = on",
        "statement_timeout = 1",
        "session_authorization = acme_a",
    ];
    let mut taken = 0;
    for setting in settings {
        world.sql("acme", "REVOKE USAGE ON SCHEMA public FROM acme_ro");
        let sql = format!("ALTER DATABASE acme SET {setting}");
        taken += u32::from(world.as_tenant("acme_a", "postgres", &sql).is_ok());
        let repaired = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        let repaired = repaired.unwrap_or_else(|error| panic!("{setting}: {error}"));
        assert_eq!(repaired.applied, Applied::Done, "{setting}");
        world.sql("postgres", "ALTER DATABASE acme RESET ALL");
    }
    assert!(taken >= 5, "only {taken} were taken");
}

async fn an_owner_that_shuts_its_database_shuts_out_nobody_else(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let (acme, globex) = (plan("acme", "u1"), plan("globex", "u2"));
    place(&provider, &acme, 0).await;
    place(&provider, &globex, 0).await;
    let shut = [
        ("CONNECTION LIMIT 0", "database acme had connection limit 0"),
        ("CONNECTION LIMIT 3", "database acme had connection limit 3"),
        ("IS_TEMPLATE true", "database acme was a template"),
        (
            "ALLOW_CONNECTIONS false",
            "database acme took no connections",
        ),
    ];
    for (what, told) in shut {
        let sql = format!("ALTER DATABASE acme {what}");
        world.as_tenant("acme_a", "postgres", &sql).unwrap();
        let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
        assert_eq!(settled.unwrap().mended, [told]);
        let other = provider
            .ensure_tenant(&globex, Epoch(0), &verifiers())
            .await;
        assert_eq!(other.unwrap().applied, Applied::Already);
        assert!(
            world.as_tenant("acme_a", "acme", "SELECT 1").is_ok(),
            "{what}"
        );
    }
    // It may even drop its own: the next look makes an empty one, and says so.
    world
        .as_tenant("acme_a", "postgres", "DROP DATABASE acme")
        .unwrap();
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    let mended = settled.unwrap().mended;
    assert!(
        mended.contains(&"database acme was not there".to_owned()),
        "{mended:?}"
    );
    let password = SecretString::from(CANARY);
    provider
        .can_log_in(&acme.database, "acme_a", &password)
        .await
        .unwrap();
}

/// The claim that commits wait for the standby stays for the others, and the tenant's own commits
/// wait again after the next look (ADR 37).
async fn a_tenant_that_relaxes_its_commits_speaks_for_itself_alone(binaries: &Binaries) {
    let world = World::new(binaries);
    let provider = world.provider();
    let mut acme = plan("acme", "u1");
    place(&provider, &acme, 0).await;
    let relaxed = "SELECT count(*) FROM pg_db_role_setting
                   WHERE setconfig::text LIKE '%synchronous_commit%'";
    for sql in [
        "ALTER DATABASE acme SET synchronous_commit = off",
        "ALTER ROLE acme_a SET synchronous_commit = local",
        "ALTER ROLE acme_a IN DATABASE postgres SET synchronous_commit = off",
    ] {
        world.as_tenant("acme_a", "postgres", sql).unwrap();
    }
    assert_eq!(world.sql("postgres", relaxed), "3");
    assert!(!facts(&provider).await.synchrony.relaxed);
    // Where commits wait for nobody, the setting is the tenant's own affair.
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(settled.unwrap().mended, Vec::<String>::new());
    let names = "ALTER SYSTEM SET synchronous_standby_names = 'standby'";
    world.sql("postgres", names);
    world.sql("postgres", "SELECT pg_reload_conf()");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!facts(&provider).await.synchrony.relaxed);
    let commits = |verb: &str| {
        let whose = [
            "database acme",
            "role acme_a",
            "role acme_a in database postgres",
        ];
        whose.map(|whose| format!("commits of {whose} {verb} not wait for the synchronous standby"))
    };
    acme.keeps = true;
    let kept = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(kept.unwrap().left, commits("do"));
    acme.keeps = false;
    let settled = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(settled.unwrap().mended, commits("did"));
    assert_eq!(world.sql("postgres", relaxed), "0");
    let again = provider.ensure_tenant(&acme, Epoch(0), &verifiers()).await;
    assert_eq!(again.unwrap().applied, Applied::Already);
}
