//! A password that another Secret holds.

use domicile_api::conditions::ConditionType;
use serde_json::json;

use super::rotation::settle;
use super::world::{SPACE, World};

/// A tenant that is served stays so while the password cannot be had.
///
/// Faults: 85.
pub(super) fn a_password_is_taken_from_another_secret(world: &World) {
    let credentials = json!({ "rotation": null, "passwordSecretRef": { "name": "vault" } });
    let patch = json!({ "spec": { "credentials": credentials } });
    world.patch(SPACE, "acme", &patch);
    let served = |reason: &str| {
        world.await_ready(SPACE, "acme", "True", reason);
        world.await_event(SPACE, "acme", reason);
        assert!(world.can_log_in("eu-west", &world.secret("acme-db").unwrap()));
    };
    served("PasswordSecretNotFound");
    let before = world.secret("acme-db").unwrap();
    let vault = |password: &str| {
        world.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "password": password },
            "metadata": { "name": "vault", "namespace": SPACE },
        }));
    };
    vault("s3cret/+?&@:");
    settle(world, &before, "the given password is published", |_| {
        world.secret("acme-db").unwrap()["password"] == "s3cret/+?&@:"
    });
    let after = world.secret("acme-db").unwrap();
    assert!(after["uri"].contains(":s3cret%2F%2B%3F%26%40%3A@"));
    assert_ne!(after["password-ro"], after["password"]);
    assert_ne!(after["username"], before["username"]);
    world.await_ready(SPACE, "acme", "True", "Placed");
    // The next one waits, and that is told.
    vault("an0ther-s3cret");
    let waits = (ConditionType::CredentialsCurrent, "True", "RotationWaits");
    world.poke("acme", "waits");
    let told = world.await_condition(SPACE, "acme", waits);
    assert!(
        told.contains("`spec.credentials.passwordSecretRef`"),
        "{told}"
    );
    assert!(told.contains(&before["username"]), "{told}");
    world.await_event(SPACE, "acme", "RotationWaits");
    assert_eq!(world.secret("acme-db").unwrap(), after);
    vault("s3cret/+?&@:");
    world.poke("acme", "as before");
    let current = (ConditionType::CredentialsCurrent, "True", "LoginVerified");
    world.await_condition(SPACE, "acme", current);
    vault("line\nbreak");
    served("PasswordInvalid");
    assert_eq!(world.secret("acme-db").unwrap(), after);
    let patch = json!({ "spec": { "credentials": { "passwordSecretRef": null } } });
    world.patch(SPACE, "acme", &patch);
    world.await_ready(SPACE, "acme", "True", "Placed");
    assert_eq!(world.secret("acme-db").unwrap(), after);
}
