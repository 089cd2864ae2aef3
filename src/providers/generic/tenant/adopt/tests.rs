use domicile_core::names::DatabaseName;

use super::*;

fn plan() -> TenantPlan {
    TenantPlan::bare("u1".into(), DatabaseName::parse("acme").unwrap())
}

fn ready() -> Found {
    Found {
        owner: "acme".into(),
        owner_comment: Some("domicile-adopt:shop/acme".into()),
        open: true,
        administered: true,
        myself: "domicile".into(),
        ..Found::default()
    }
}

fn steps(found: &Found) -> Vec<String> {
    let all = obstacles(&plan(), "shop/acme", found);
    all.into_iter().map(|one| one.step).collect()
}

#[test]
fn what_both_sides_agreed_on_has_no_obstacle_and_gets_only_marks() {
    assert_eq!(steps(&ready()), Vec::<String>::new());
    let sql = marked(&plan(), &ready(), 16);
    assert_eq!(
        sql,
        [
            "GRANT \"acme\" TO CURRENT_USER WITH INHERIT TRUE, SET TRUE",
            "COMMENT ON ROLE \"acme\" IS 'domicile:u1'",
            "COMMENT ON DATABASE \"acme\" IS 'domicile:u1'",
        ]
    );
    let logs_in = Found {
        logs_in: true,
        ..ready()
    };
    let sql = marked(&plan(), &logs_in, 16);
    let joined = "GRANT \"acme_ro\" TO \"acme\"".to_owned();
    assert!(
        sql.contains(&joined),
        "in one transaction with the mark: {sql:?}"
    );
    let commented = Found {
        commented: true,
        ..ready()
    };
    assert_eq!(marked(&plan(), &commented, 16).len(), 2);
}

#[test]
fn each_obstacle_has_its_step() {
    let found = Found {
        owner: "app".into(),
        owner_comment: Some("domicile-adopt:other/acme".into()),
        powers: vec!["SUPERUSER".into(), "CREATEDB".into()],
        public_connects: true,
        others: vec!["cron".into()],
        foreign: vec!["acme_a".into()],
        half_dropped: true,
        databases: 1,
        places: 2,
        myself: "domicile".into(),
        ..Found::default()
    };
    let steps = steps(&found);
    for step in [
        "ALTER ROLE \"app\" RENAME TO \"acme\"",
        "ALTER ROLE \"app\" NOSUPERUSER NOCREATEDB",
        "GRANT \"app\" TO \"domicile\" WITH ADMIN OPTION",
        "COMMENT ON ROLE \"app\" IS 'domicile-adopt:shop/acme'",
        "REVOKE CONNECT ON DATABASE \"acme\" FROM PUBLIC",
        "REVOKE CONNECT ON DATABASE \"acme\" FROM it",
        "ALTER ROLE \"acme_a\" RENAME",
        "DROP DATABASE \"acme\"",
        "ALTER DATABASE it OWNER TO another role",
        "datdba = '\"app\"'::regrole",
        "REASSIGN OWNED BY \"app\" TO another role; ALTER DATABASE \"acme\" OWNER TO \"app\"",
        "ALTER DATABASE \"acme\" ALLOW_CONNECTIONS true",
    ] {
        let said = steps.iter().any(|found| found.contains(step));
        assert!(said, "{step}: {steps:?}");
    }
}

#[test]
fn logins_of_others_are_counted_and_named_apart() {
    let found = Found {
        others: vec!["cron".into(), "batch".into()],
        ..ready()
    };
    let all = obstacles(&plan(), "shop/acme", &found);
    let [one] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert!(one.fact.starts_with("2 logins"), "{}", one.fact);
    for login in &found.others {
        let told = one.fact.contains(login) || one.step.contains(login);
        assert!(!told, "{one:?}");
    }
    assert_eq!(one.logins, found.others);
}
