//! What keeps the Secret from workloads: all of it is said, and the first gives the reason.

use domicile_api::conditions::{self, Reason};
use domicile_api::placement::TenantPlacement;

use super::{LIMIT, Seen};
use crate::controllers::placement::workloads::INJECTED;
use crate::controllers::placement::workloads::refusal::{Problem, told};

/// All problems as one; none when nothing is wrong.
pub(super) fn whole(seen: &Seen<'_>) -> Option<Problem> {
    let all = problems(seen);
    // What a person must see to gives the reason before what may mend by itself.
    let first = all.iter().find(|one| one.lasts).or_else(|| all.first())?;
    let (reason, lasts) = (first.reason, first.lasts);
    let messages: Vec<&str> = all.iter().map(|one| &*one.message).collect();
    Some(Problem {
        reason,
        message: messages.join("; "),
        lasts,
    })
}

/// Whether the pass before found the API server failing.
fn failed_before(tenant: &TenantPlacement) -> bool {
    let status = tenant.status.as_ref();
    let before = status.and_then(|status| conditions::find(&status.conditions, INJECTED));
    before.is_some_and(|before| before.reason == Reason::ApiServerError.as_str())
}

fn problems(seen: &Seen<'_>) -> Vec<Problem> {
    let lasting = |reason, message| Problem {
        reason,
        message,
        lasts: true,
    };
    let mut all = Vec::new();
    if !seen.conflicts.is_empty() {
        let fields = seen.conflicts.join("; ");
        let message = format!("left alone: {fields}; take the field out there");
        all.push(lasting(Reason::FieldConflict, message));
    }
    if !seen.undone.is_empty() {
        let names = seen.undone.join("; ");
        let message = format!(
            "taken out again: {names}; let whoever writes the whole workload leave what others \
             own, or take it out of `spec.injection.workloads`; it is given again every few minutes"
        );
        all.push(lasting(Reason::FieldConflict, message));
    }
    for (reason, message) in &seen.troubles {
        all.push(Problem {
            // A call that failed is made again soon, once.
            lasts: *reason != Reason::ApiServerError || failed_before(seen.tenant),
            ..lasting(*reason, message.clone())
        });
    }
    if !seen.missing.is_empty() {
        let names = seen.missing.join("; ");
        let message = format!("these containers do not exist: {names}");
        all.push(lasting(Reason::InvalidSpec, message));
    }
    all.extend(told(&seen.refused, seen.untried));
    if seen.over > 0 {
        let message = format!(
            "{} workloads above the limit of {LIMIT} were left out",
            seen.over
        );
        all.push(lasting(Reason::InvalidSpec, message));
    }
    all
}
