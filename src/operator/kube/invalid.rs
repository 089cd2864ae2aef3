//! Objects that our types cannot express: they get a condition and an event, and nothing is done.

use domicile_api::reasons::Reason;
use kube::core::DynamicObject;
use kube::{Api, ResourceExt, api::PostParams, core::ApiResource};
use serde_json::{Value, json};

use crate::context::Ctx;
use crate::kube::cache::{Seen, Unreadable, Watched};
use crate::kube::client::CallError;
use crate::kube::events::Severity;

/// The field manager of such conditions.
const MANAGER: &str = "domicile-status";

/// Says on the object itself that it cannot be read, once. The rest of its status stays as it is.
pub async fn report<K: Watched>(
    ctx: &Ctx,
    seen: &Seen<K>,
    invalid: &Unreadable,
) -> Result<(), CallError> {
    let resource = ApiResource::erase::<K>(&());
    let namespace = seen.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = if namespace.is_empty() {
        Api::all_with(ctx.client.clone(), &resource)
    } else {
        Api::namespaced_with(ctx.client.clone(), &namespace, &resource)
    };
    let name = seen.name_any();
    let Some(mut live) = ctx.call(api.get_opt(&name)).await? else {
        return Ok(());
    };
    let message = format!(
        "This object cannot be read by this version of Domicile: {}. Nothing is done about it \
         until it is corrected or a version that knows it runs.",
        cut(&invalid.error)
    );
    let time = ctx.clock.now().wall.to_string();
    if !mark(
        &mut live.data,
        live.metadata.generation.unwrap_or(0),
        &message,
        &time,
    ) {
        return Ok(());
    }
    live.metadata.managed_fields = None;
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        dry_run: false,
    };
    ctx.call(api.replace_status(&name, &parameters, &live))
        .await?;
    ctx.events.publish(
        seen,
        Severity::Warning,
        Reason::InvalidObject.as_str(),
        "Read",
        message,
    );
    Ok(())
}

/// Sets the three conditions that tell kstatus of a failure. False when nothing changed.
fn mark(data: &mut Value, generation: i64, message: &str, time: &str) -> bool {
    if !data["status"].is_object() {
        data["status"] = json!({});
    }
    let status = &mut data["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return false;
    };
    let wanted = [
        ("Stalled", "True"),
        ("Ready", "False"),
        ("Reconciling", "False"),
    ];
    let reason = Reason::InvalidObject.as_str();
    let mut changed = false;
    for (kind, value) in wanted {
        let said = |c: &Value| c["status"] == value && c["message"] == message;
        let place = conditions.iter().position(|c| c["type"] == kind);
        if place.is_some_and(|at| said(&conditions[at])) {
            continue;
        }
        let condition = json!({
            "type": kind, "status": value, "reason": reason, "message": message,
            "observedGeneration": generation, "lastTransitionTime": time,
        });
        match place {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
        changed = true;
    }
    changed
}

fn cut(error: &str) -> String {
    error.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults: 12, 49.
    #[test]
    fn an_unreadable_object_is_marked_once_and_keeps_its_status() {
        let mut data = json!({ "status": { "epoch": 7, "conditions": [
            { "type": "Ready", "status": "True", "message": "" },
            { "type": "FailedOver", "status": "True", "message": "" },
        ]}});
        assert!(mark(&mut data, 3, "m", "2026-01-01T00:00:00Z"));
        assert!(!mark(&mut data, 3, "m", "2026-01-02T00:00:00Z"));
        assert_eq!(data["status"]["epoch"], 7);
        assert_eq!(
            data["status"]["conditions"].as_array().map(Vec::len),
            Some(4)
        );
        assert_eq!(data["status"]["conditions"][0]["reason"], "InvalidObject");
    }
}
