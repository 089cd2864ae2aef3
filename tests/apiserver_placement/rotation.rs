//! Credentials: left as they are when somebody changed them, and changing places while a client
//! logs in with every Secret that it may have read.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_api::conditions::ConditionType;
use domicile_api::credentials::{CredentialsStatus, RoleSlot};
use domicile_api::meta::ROTATE_AT;
use kube::api::{Patch, PatchParams};
use secrecy::SecretString;
use serde_json::json;

use super::world::{SOON, SPACE, World};

type Data = BTreeMap<String, String>;

/// A session that its login holds until it is ended: the client itself is gone before.
const HELD: &str = "SELECT pg_sleep(300)";

/// As after a crash before a login was opened, too: what nobody set is set.
///
/// Faults: 44.
pub(super) fn a_password_changed_on_the_server_is_told_and_left(world: &World) {
    let data = world.secret("acme-db").unwrap();
    what_nobody_else_set_is_put_right(world, &data);
    let kept = "SELECT rolpassword FROM pg_authid WHERE rolname = 'tenant_acme_a'";
    let other = "ALTER ROLE tenant_acme_a PASSWORD 'other'";
    world.sql("eu-west", other);
    let changed = world.sql("eu-west", kept);
    world.poke("acme", other);
    let told = (
        ConditionType::CredentialsCurrent,
        "False",
        "PasswordChangedOutside",
    );
    world.await_condition(SPACE, "acme", told);
    world.await_ready(SPACE, "acme", "False", "PasswordChangedOutside");
    world.await_event(SPACE, "acme", "PasswordChangedOutside");
    // Neither a further look nor what it mends meanwhile touches it.
    world.sql("eu-west", "ALTER ROLE tenant_acme_ro_a NOLOGIN");
    world.poke("acme", "once more");
    let reader = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'tenant_acme_ro_a'";
    world.running.until("the reader is opened", SOON, || {
        (world.sql("eu-west", reader) == "t").then_some(())
    });
    assert_eq!(world.sql("eu-west", kept), changed);
    assert_eq!(world.secret("acme-db").unwrap(), data);
    // It is changed back.
    let back = format!("ALTER ROLE tenant_acme_a PASSWORD '{}'", data["password"]);
    world.sql("eu-west", &back);
    world.poke("acme", "changed back");
    world.await_ready(SPACE, "acme", "True", "Placed");
    assert_eq!(world.secret("acme-db").unwrap(), data);
}

/// A login that was closed, or that is not there any more, holds nobody's password.
fn what_nobody_else_set_is_put_right(world: &World, data: &Data) {
    for sql in [
        "ALTER ROLE tenant_acme_a NOLOGIN",
        "DROP OWNED BY tenant_acme_a; DROP ROLE tenant_acme_a",
        "ALTER ROLE tenant_acme_a NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'",
    ] {
        world.sql("eu-west", sql);
        world.poke("acme", sql);
        world.running.until(sql, SOON, || {
            world.can_log_in("eu-west", data).then_some(())
        });
    }
    world.await_ready(SPACE, "acme", "True", "Placed");
}

/// Faults: 85, 87.
pub(super) fn no_login_ever_fails(world: &World) {
    // No kubelet makes the new pods ready here, and a rolling update would keep the old ones.
    let strategy = json!({ "spec": { "strategy": { "type": "Recreate", "rollingUpdate": null } } });
    world.patch_deployment("api", &strategy);
    let first = world.secret("acme-db").unwrap();
    hold(world, &first);
    ask(world, "first");
    let known = settle(world, &first, "the other logins are published", |known| {
        known.active_role == RoleSlot::B && known.answered_request.as_deref() == Some("first")
    });
    assert_eq!(known.retiring_role, Some(RoleSlot::A));
    assert!(known.last_rotated.is_some() && known.next_rotation.is_none());
    world.await_event(SPACE, "acme", "CredentialsRotated");
    let second = world.secret("acme-db").unwrap();
    for key in ["username", "password", "username-ro", "password-ro", "uri"] {
        assert_ne!(first[key], second[key], "{key}");
    }
    a_second_request_waits_for_the_logins_before(world);
    // As if the rotation were long ago, and a minute after the workload has taken it up: the one
    // session that is left keeps the logins before open.
    status(world, &json!({ "lastRotated": long_ago(world, 120) }));
    rest(world, 80);
    assert_eq!(known_now(world).retiring_role, Some(RoleSlot::A));
    assert!(world.can_log_in("eu-west", &first), "a session uses it");
    end_sessions(world);
    let known = await_known(world, "the logins before are closed", |known| {
        known.retiring_role != Some(RoleSlot::A)
    });
    assert!(!world.can_log_in("eu-west", &first));
    world.await_event(SPACE, "acme", "LoginRetired");
    // And then the request that waited is answered.
    let answered = |known: &CredentialsStatus| known.answered_request.as_deref() == Some("second");
    let known = if answered(&known) {
        known
    } else {
        settle(world, &second, "the second request is answered", answered)
    };
    assert_eq!(known.active_role, RoleSlot::A);
}

fn a_second_request_waits_for_the_logins_before(world: &World) {
    ask(world, "second");
    rest(world, 3);
    let known = known_now(world);
    assert_eq!(known.active_role, RoleSlot::B);
    assert_eq!(known.answered_request.as_deref(), Some("first"));
}

/// A backup of an older Secret is applied: what was closed stays so.
///
/// Faults: 23.
pub(super) fn an_old_secret_that_is_put_back_revives_nothing(world: &World) {
    let before = known_now(world);
    assert_eq!(before.retiring_role, None);
    let old = world
        .running
        .block_on(world.secrets().get("acme-db"))
        .unwrap();
    let old_data = world.secret("acme-db").unwrap();
    rotation(world, &json!({ "overlapSeconds": 0 }));
    ask(world, "backup");
    await_known(world, "the pair before is closed", |known| {
        known.active_role != before.active_role && known.retiring_role.is_none()
    });
    let patch =
        json!({ "data": old.data, "metadata": { "annotations": old.metadata.annotations } });
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let api = world.secrets();
    let put_back = api.patch("acme-db", &parameters, &patch);
    world.running.block_on(put_back).unwrap();
    world.poke("acme", "backup");
    world.running.until("a Secret that works", SOON, || {
        let now = world.secret("acme-db").unwrap();
        (now != old_data && world.can_log_in("eu-west", &now)).then_some(())
    });
    assert!(!world.can_log_in("eu-west", &old_data));
    close_those_before(world);
    world.await_ready(SPACE, "acme", "True", "Placed");
}

/// Faults: 87.
pub(super) fn the_overlap_ends_though_a_session_is_left(world: &World) {
    await_known(world, "only one slot is open", |known| {
        known.retiring_role.is_none()
    });
    let before = world.secret("acme-db").unwrap();
    let active = known_now(world).active_role;
    hold(world, &before);
    rotation(world, &json!({ "overlapSeconds": 4 }));
    ask(world, "third");
    settle(world, &before, "the other logins are published", |known| {
        known.active_role != active
    });
    await_known(world, "the overlap has ended", |known| {
        known.retiring_role.is_none()
    });
    assert!(!world.can_log_in("eu-west", &before));
    let login = &before["username"];
    let held = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{login}'");
    assert_eq!(world.sql("eu-west", &held), "1", "sessions are left alone");
    end_sessions(world);
}

/// Faults: 85.
pub(super) fn the_calendar_rotates(world: &World) {
    let before = world.secret("acme-db").unwrap();
    let known = known_now(world);
    rotation(world, &json!({ "overlapSeconds": 3600, "intervalDays": 1 }));
    status(world, &json!({ "lastRotated": "2020-01-01T00:00:00Z" }));
    let known = settle(world, &before, "the interval is over", |now| {
        now.active_role != known.active_role
    });
    let next = known
        .next_rotation
        .unwrap()
        .duration_since(known.last_rotated.unwrap());
    assert_eq!(next.as_secs(), 86_400);
}

/// As after a kill between the Secret and the status, and between the server and the Secret.
///
/// Faults: 85.
pub(super) fn a_rotation_that_was_cut_is_completed(world: &World) {
    let data = world.secret("acme-db").unwrap();
    let now = known_now(world);
    let (active, before) = (now.active_role, now.retiring_role.unwrap());
    // The status was not written.
    status(
        world,
        &json!({ "activeRole": before, "retiringRole": null }),
    );
    world.poke("acme", "no status");
    let known = await_known(world, "the Secret tells", |known| {
        known.active_role == active
    });
    assert_eq!(known.retiring_role, Some(before));
    assert_eq!(world.secret("acme-db").unwrap(), data);
    // The Secret was not written: nobody knows the password, and the login is closed.
    rotation(world, &json!({ "overlapSeconds": 0 }));
    await_known(world, "only one slot is open", |known| {
        known.retiring_role.is_none()
    });
    let login = match before {
        RoleSlot::A => "tenant_acme_a",
        RoleSlot::B => "tenant_acme_b",
    };
    let set = format!("ALTER ROLE {login} LOGIN PASSWORD 'lost' VALID UNTIL 'infinity'");
    world.sql("eu-west", &set);
    world.poke("acme", "no secret");
    let open = format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{login}'");
    world.running.until("the login is closed", SOON, || {
        (world.sql("eu-west", &open) == "f").then_some(())
    });
    assert!(world.can_log_in("eu-west", &data));
    rotation(world, &json!(null));
    world.await_ready(SPACE, "acme", "True", "Placed");
}

/// As after a kill between the Secret and the status of a rotation that was asked for.
///
/// Faults: 44, 85.
pub(super) fn a_request_is_answered_once_though_its_pass_was_killed(world: &World) {
    rotation(world, &json!({ "overlapSeconds": 3600 }));
    let before = known_now(world);
    assert_eq!(before.retiring_role, None);
    ask(world, "once");
    let after = await_known(world, "it is answered", |known| {
        known.answered_request.as_deref() == Some("once")
    });
    let data = world.secret("acme-db").unwrap();
    status(
        world,
        &json!({
            "activeRole": before.active_role, "retiringRole": null,
            "generation": before.generation, "answeredRequest": before.answered_request,
        }),
    );
    world.poke("acme", "killed");
    let known = await_known(world, "the Secret tells", |known| {
        known.active_role == after.active_role
    });
    assert_eq!(known.answered_request.as_deref(), Some("once"));
    close_those_before(world);
    world.poke("acme", "not twice");
    rest(world, 4);
    let known = known_now(world);
    assert_eq!(known.generation, after.generation);
    assert_eq!(known.active_role, after.active_role);
    assert_eq!(world.secret("acme-db").unwrap(), data);
    // Another one is answered.
    ask(world, "again");
    await_known(world, "the next one is answered", |known| {
        known.generation == after.generation + 1
    });
    close_those_before(world);
}

/// Logs in with the Secret as it is, and with the one before, until the status is as wanted.
pub(super) fn settle(
    world: &World,
    before: &Data,
    what: &str,
    done: impl Fn(&CredentialsStatus) -> bool,
) -> CredentialsStatus {
    let mut tries = 0;
    let found = world.running.until(what, SOON, || {
        let now = world.secret("acme-db").unwrap();
        assert!(
            world.can_log_in("eu-west", &now),
            "{what}: the Secret as it is"
        );
        assert!(
            world.can_log_in("eu-west", before),
            "{what}: the Secret before"
        );
        tries += 1;
        let known = known_now(world);
        done(&known).then_some(known)
    });
    assert!(tries > 0);
    found
}

fn await_known(
    world: &World,
    what: &str,
    done: impl Fn(&CredentialsStatus) -> bool,
) -> CredentialsStatus {
    world.running.until(what, SOON, || {
        let known = known_now(world);
        done(&known).then_some(known)
    })
}

/// Ends the overlap, if there is one.
pub(super) fn close_those_before(world: &World) {
    rotation(world, &json!({ "overlapSeconds": 0 }));
    await_known(world, "only one slot is open", |known| {
        known.retiring_role.is_none()
    });
    rotation(world, &json!(null));
}

pub(super) fn known_now(world: &World) -> CredentialsStatus {
    let status = world.placement(SPACE, "acme").unwrap().status.unwrap();
    status.credentials.unwrap()
}

fn rest(world: &World, seconds: u64) {
    let sleep = world.running.ctx.clock.sleep(Duration::from_secs(seconds));
    world.running.block_on(sleep);
}

fn long_ago(world: &World, seconds: i64) -> String {
    let now = world.running.ctx.clock.now().wall;
    (now - jiff::SignedDuration::from_secs(seconds)).to_string()
}

fn ask(world: &World, request: &str) {
    let annotations = json!({ ROTATE_AT: request });
    world.patch(
        SPACE,
        "acme",
        &json!({ "metadata": { "annotations": annotations } }),
    );
}

fn rotation(world: &World, rotation: &serde_json::Value) {
    let patch = json!({ "spec": { "credentials": { "rotation": rotation } } });
    world.patch(SPACE, "acme", &patch);
}

fn status(world: &World, credentials: &serde_json::Value) {
    let patch = json!({ "status": { "credentials": credentials } });
    let api = world.placements(SPACE);
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let patched = api.patch_status("acme", &parameters, &patch);
    world.running.block_on(patched).unwrap();
}

/// Opens a session with what a Secret holds and goes away; the server notices when it is asked to
/// end it.
fn hold(world: &World, data: &Data) {
    let server = world.running.lab.regions().server("eu-west").unwrap();
    let password = SecretString::from(data["password"].clone());
    let gone = server.login_sql(&data["username"], &password, &data["database"], HELD);
    assert!(gone.is_err(), "it was to be cut off by its own limit");
}

fn end_sessions(world: &World) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE usename LIKE 'tenant_acme%' AND query = 'SELECT pg_sleep(300)'";
    let ended = world.sql("eu-west", sql);
    assert_eq!(ended, "t", "one session was held");
}
