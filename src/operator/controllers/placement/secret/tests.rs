use std::collections::BTreeSet;

use domicile_core::connection::{Connection, Home, Login, render};
use domicile_core::names::DatabaseName;

use super::*;

const RW: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const RO: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

fn usernames() -> Usernames {
    Usernames {
        read_write: Some("tenant_a_a".into()),
        read_only: Some("tenant_a_ro_a".into()),
    }
}

fn database() -> DatabaseName {
    DatabaseName::parse("tenant_a").unwrap()
}

fn rendered_at(host: &str, passwords: &Passwords) -> Result<Rendered, RenderError> {
    let database = database();
    let (read_write, read_only) = passwords.expose();
    render(&Connection {
        host,
        port: 5432,
        hosts: None,
        reads: None,
        database: &database,
        read_write: read_write.map(|password| Login {
            name: "rw",
            username: "tenant_a_a",
            password,
        }),
        read_only: read_only.map(|password| Login {
            name: "ro",
            username: "tenant_a_ro_a",
            password,
        }),
        ca_pem: "CA",
        folder: "/run/db",
        home: Home {
            name: "eu-west",
            key: "EU_WEST",
            jurisdiction: "EU",
        },
        serving_key: Some("EU_WEST"),
        keys: None,
        region_env: true,
    })
}

fn at_home(passwords: &Passwords) -> Result<Rendered, RenderError> {
    rendered_at("10.0.0.1", passwords)
}

fn known() -> Passwords {
    Passwords {
        read_write: Some(RW.into()),
        read_only: Some(RO.into()),
    }
}

fn identity(epoch: i64) -> Identity {
    Identity {
        name: "a-db".into(),
        namespace: "tenant-a".into(),
        placement: "a".into(),
        uid: "uid-1".into(),
        epoch: Epoch(epoch),
        lasting: false,
        now: Timestamp::UNIX_EPOCH,
        region: None,
        answered: None,
    }
}

#[test]
fn the_hub_takes_back_what_says_that_it_is_of_a_region() {
    let rendered = at_home(&known()).unwrap();
    let there = Identity {
        region: Some("eu-west".into()),
        ..identity(7)
    };
    let marked = manifest(&there, &rendered);
    let nothing = write(Some(&marked), &there, &rendered);
    assert!(matches!(nothing, Write::Nothing));
    let Write::Patch(patch) = write(Some(&marked), &identity(7), &rendered) else {
        panic!("it stays the region's");
    };
    assert!(patch["metadata"]["annotations"][meta::REGION].is_null());
    assert_eq!(patch["data"], json!({}));
    let Write::Patch(patch) = write(Some(&live()), &there, &rendered) else {
        panic!("it does not say whose it is");
    };
    assert_eq!(patch["metadata"]["annotations"][meta::REGION], "eu-west");
}

#[test]
fn a_secret_that_outlasts_a_move_is_not_written_for_its_epoch() {
    let rendered = at_home(&known()).unwrap();
    let lasting = Identity {
        lasting: true,
        ..identity(8)
    };
    let live = live();
    let unchanged = write(Some(&live), &lasting, &rendered);
    assert!(matches!(unchanged, Write::Nothing));
    let direct = write(Some(&live), &identity(8), &rendered);
    assert!(matches!(direct, Write::Patch(_)), "the epoch is told");
}

fn live() -> Secret {
    let mut secret = manifest(&identity(7), &at_home(&known()).unwrap());
    secret.metadata.resource_version = Some("11".into());
    secret.metadata.uid = Some("secret-uid".into());
    secret
}

fn edit(secret: &mut Secret, key: &str, value: &str) {
    let data = secret.data.as_mut().unwrap();
    data.insert(key.into(), ByteString(value.as_bytes().to_vec()));
}

fn texts(chosen: &Chosen) -> (Option<&str>, Option<&str>) {
    chosen.passwords.expose()
}

#[test]
fn a_settled_secret_is_not_written() {
    let write = write(Some(&live()), &identity(7), &at_home(&known()).unwrap());
    assert!(matches!(write, Write::Nothing));
}

#[test]
fn a_missing_secret_is_created_with_owner_epoch_and_hash() {
    let Write::Create(secret) = write(None, &identity(7), &at_home(&known()).unwrap()) else {
        panic!("not created");
    };
    assert_eq!(annotation(&secret, meta::OWNER_UID), Some("uid-1"));
    assert_eq!(annotation(&secret, meta::EPOCH), Some("7"));
    assert_eq!(
        annotation(&secret, meta::SECRET_HASH).map(str::len),
        Some(64)
    );
    assert_eq!(secret.type_.as_deref(), Some(SECRET_TYPE));
    assert_eq!(secret.metadata.owner_references, None);
}

#[test]
fn a_moved_tenant_keeps_its_passwords() {
    let moved = |passwords: &Passwords| rendered_at("10.0.0.2", passwords);
    let chosen = choose_passwords(Some(&live()), Slot::A, &usernames(), None, &moved).unwrap();
    assert!(!chosen.fresh);
    assert_eq!(texts(&chosen), (Some(RW), Some(RO)));
    let Write::Patch(patch) = write(Some(&live()), &identity(8), &moved(&known()).unwrap()) else {
        panic!("not patched");
    };
    assert_eq!(patch["metadata"]["resourceVersion"], "11");
    assert_eq!(patch["metadata"]["annotations"][meta::EPOCH], "8");
    let changed: BTreeSet<&str> = patch["data"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert!(
        changed.contains("host") && !changed.contains("password"),
        "{changed:?}"
    );
}

/// Faults: 43.
#[test]
fn a_password_edited_by_hand_is_put_back() {
    for key in ["password", "password-ro", "uri"] {
        let mut secret = live();
        edit(&mut secret, key, "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC");
        let chosen =
            choose_passwords(Some(&secret), Slot::A, &usernames(), None, &at_home).unwrap();
        assert!(!chosen.fresh, "{key}");
        assert_eq!(texts(&chosen), (Some(RW), Some(RO)), "{key}");
        let repaired = write(Some(&secret), &identity(7), &at_home(&known()).unwrap());
        let Write::Patch(patch) = repaired else {
            panic!("{key} is not repaired")
        };
        assert_eq!(patch["data"].as_object().unwrap().len(), 1, "{key}");
    }
}

#[test]
fn a_foreign_key_is_taken_out() {
    let mut secret = live();
    edit(&mut secret, "EXTRA", "x");
    let Write::Patch(patch) = write(Some(&secret), &identity(7), &at_home(&known()).unwrap())
    else {
        panic!("not patched");
    };
    assert_eq!(patch["data"], json!({ "EXTRA": null }));
}

#[test]
fn a_lost_password_is_made_anew_and_differs_each_time() {
    let first = choose_passwords(None, Slot::A, &usernames(), None, &at_home).unwrap();
    let second = choose_passwords(None, Slot::A, &usernames(), None, &at_home).unwrap();
    assert!(first.fresh && second.fresh);
    let (read_write, read_only) = texts(&first);
    assert_ne!(read_write, read_only);
    assert_ne!(read_write, texts(&second).0);
    for password in [read_write, read_only].into_iter().flatten() {
        assert_eq!(password.len(), PASSWORD_LENGTH);
        assert!(password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

#[test]
fn a_password_of_another_login_is_not_taken_over() {
    let mut secret = live();
    edit(&mut secret, "username", "tenant_a_ro_a");
    edit(&mut secret, "uri", "postgresql://tenant_a_ro_a:x@h:1/d");
    let chosen = choose_passwords(Some(&secret), Slot::A, &usernames(), None, &at_home).unwrap();
    assert!(chosen.fresh);
    assert_eq!(texts(&chosen).1, Some(RO));
}

/// Faults: 21, 23, 46.
#[test]
fn a_secret_of_somebody_else_and_a_newer_one_are_refused() {
    let secret = live();
    assert_eq!(admit(Some(&secret), "uid-1", Epoch(7)), Ok(()));
    let other = admit(Some(&secret), "uid-2", Epoch(7));
    assert_eq!(other, Err(Refusal::NotOurs(Some("uid-1".into()))));
    assert_eq!(
        admit(Some(&secret), "uid-1", Epoch(6)),
        Err(Refusal::Newer(Epoch(7)))
    );
    let mut foreign = live();
    foreign.metadata.annotations = None;
    assert_eq!(
        admit(Some(&foreign), "uid-1", Epoch(7)),
        Err(Refusal::NotOurs(None))
    );
    assert_eq!(admit(None, "uid-1", Epoch(0)), Ok(()));
}

#[test]
fn the_epoch_is_not_part_of_the_hash() {
    let Write::Patch(patch) = write(Some(&live()), &identity(8), &at_home(&known()).unwrap())
    else {
        panic!("not patched");
    };
    assert_eq!(patch["data"], json!({}));
    let before = live();
    let hash = annotation(&before, meta::SECRET_HASH);
    assert_eq!(
        patch["metadata"]["annotations"][meta::SECRET_HASH].as_str(),
        hash
    );
}

#[test]
fn the_time_of_the_last_change_is_that_of_the_content() {
    let later = |epoch| Identity {
        now: Timestamp::from_second(60).unwrap(),
        ..identity(epoch)
    };
    let written = |live: &Secret, identity: &Identity, rendered: &Rendered| match write(
        Some(live),
        identity,
        rendered,
    ) {
        Write::Patch(patch) => patch["metadata"]["annotations"][meta::PUBLISHED_AT].clone(),
        Write::Nothing | Write::Create(_) => panic!("not a patch"),
    };
    let same = at_home(&known()).unwrap();
    assert!(matches!(
        write(Some(&live()), &later(7), &same),
        Write::Nothing
    ));
    assert_eq!(
        written(&live(), &later(8), &same),
        Value::Null,
        "the epoch is no content"
    );
    let moved = rendered_at("elsewhere", &known()).unwrap();
    assert_eq!(
        written(&live(), &later(8), &moved),
        json!("1970-01-01T00:01:00Z")
    );
    assert_eq!(published(Some(&live())), Some(Timestamp::UNIX_EPOCH));
    let mut untold = live();
    let annotations = untold.metadata.annotations.as_mut().unwrap();
    annotations.insert(meta::PUBLISHED_AT.to_owned(), "once".to_owned());
    assert_eq!(
        written(&untold, &later(7), &same),
        json!("1970-01-01T00:01:00Z")
    );
}

#[test]
fn a_long_placement_name_still_makes_a_valid_label() {
    let (_, value) = label(&format!("{}-.b", "a".repeat(62)));
    assert_eq!(value, "a".repeat(62));
}
