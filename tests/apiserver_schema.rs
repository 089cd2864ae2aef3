//! The schemas on a real API server: it takes every example without a warning and refuses what is
//! bad, naming the field. All is tried without storing where that is possible.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

#[path = "apiserver_schema/cases.rs"]
mod cases;
#[path = "apiserver_schema/checks.rs"]
mod checks;
#[path = "apiserver_schema/wire.rs"]
mod wire;

use domicile_tests::operator::Running;

#[test]
fn the_apiserver_keeps_the_schemas() {
    let running = Running::start();
    running.block_on(async {
        let client = running.admin.clone();
        checks::prepare(&client).await;
        checks::examples_are_taken_without_a_warning(&client).await;
        checks::bad_objects_are_refused_by_field(&client).await;
        checks::immutable_fields_stay(&client).await;
        checks::status_and_selectors_work(&client).await;
        checks::clear(&client).await;
    });
}
