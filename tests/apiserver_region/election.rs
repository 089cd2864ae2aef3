//! Two replicas, one lease.

use std::sync::Arc;
use std::time::Duration;

use domicile_operator::context::Ctx;
use domicile_operator::kube::lease::{self, Held, Lost};
use domicile_operator::run::context;
use domicile_operator::settings::Settings;
use domicile_tests::operator::{ACCOUNT, NAMESPACE, Running, client, settings};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::SOON;

/// The second replica waits, takes over at once after a release, and after 15 s of silence.
///
/// Faults: 46, 47.
pub(super) fn the_lease_has_one_holder(running: &Running) {
    let leases: Api<Lease> = Api::namespaced(running.admin.clone(), NAMESPACE);
    let (first, second) = (replica(running, "first"), replica(running, "second"));
    let name = &first.settings.lease;
    // An earlier run may have left one; none there is fine.
    let _ = running.block_on(leases.delete(name, &DeleteParams::default()));
    let held = take(running, &first, Duration::from_secs(5)).expect("nobody holds the lease");
    assert!(
        take(running, &second, Duration::from_secs(5)).is_none(),
        "two leaders"
    );
    running.block_on(lease::release(&first, &held));
    let next = take(running, &second, Duration::from_secs(5)).expect("the lease was released");
    assert!(next.token() > held.token());

    // Nobody renews `next` any more: as if its process were frozen.
    let started = running.ctx.clock.mono();
    let mut third = take(running, &first, SOON).expect("the holder is silent");
    assert!(
        running.ctx.clock.mono().since(started) >= 14_000,
        "a living holder was robbed"
    );
    assert!(third.token() > next.token());

    let robbed = json!({ "spec": { "holderIdentity": "robber" } });
    let patch = Patch::Merge(&robbed);
    running
        .block_on(leases.patch(name, &PatchParams::default(), &patch))
        .unwrap();
    let kept = lease::keep(&first, &mut third);
    let lost = running.block_on(running.ctx.clock.within(SOON, kept));
    assert!(matches!(lost, Ok(Lost::Taken(holder)) if holder == "robber"));
}

fn replica(running: &Running, identity: &str) -> Arc<Ctx> {
    let kubeconfig = running.lab.kubeconfig();
    let client = running.block_on(client(&kubeconfig, Some(ACCOUNT)));
    let settings = Settings {
        identity: Some(identity.to_owned()),
        lease: "election".to_owned(),
        ..settings()
    };
    context(client, settings).0
}

fn take(running: &Running, replica: &Arc<Ctx>, limit: Duration) -> Option<Held> {
    running
        .block_on(running.ctx.clock.within(limit, lease::acquire(replica)))
        .ok()
}
