use domicile_core::failover::decide;
use serde_json::json;

use super::super::report::tests::calm;
use super::*;

fn running(to: i64) -> FailoverOperation {
    serde_json::from_value(json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverOperation",
        "metadata": { "name": "home" },
        "spec": { "policyRef": { "name": "eu" }, "type": "Failback", "target": "west",
                  "expectedEpoch": to - 1 },
        "status": { "state": "Running", "epoch": { "from": to - 1, "to": to } },
    }))
    .unwrap()
}

/// Seen in an end-to-end run: the pass after the one that began a move had read the policy as it
/// was before, changed nothing, and called the operation aborted while it ran.
#[test]
fn a_pass_that_read_what_was_stored_before_ends_no_operation() {
    let seen = calm();
    let decision = decide(&seen);
    let epoch = seen.stored.epoch.0;
    let written = |to| record(&running(to), &seen, &seen.stored, &decision);
    assert!(written(epoch + 1).is_none());
    let aborted = written(epoch).and_then(|next| next.state);
    assert_eq!(aborted, Some(OperationState::Aborted));
}
