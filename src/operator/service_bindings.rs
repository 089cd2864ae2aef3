//! Whether the definitions of `servicebinding.io` are there, and whose they are. Where Domicile's
//! chart brought them, no other implementation did: that is how a cluster without one is known.

use std::sync::Arc;
use std::time::Duration;

use domicile_api::service_binding::{BROUGHT_BY, VERSION};
use domicile_api::service_binding_crd::names;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tracing::{debug, info};

use crate::context::Ctx;
use crate::kube::client::CallError;
use crate::kube::events::Severity;
use crate::settings::ServiceBindings as Mode;

/// How often the definitions are looked at.
const EVERY: Duration = Duration::from_secs(15);

/// What is known of the definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definitions {
    /// They were not looked at yet, or one of them does not exist.
    Absent,
    /// They do not serve the version that is watched.
    Old,
    /// Somebody else brought them.
    Foreign,
    /// Domicile's chart brought them.
    Ours,
}

/// What is known of the definitions, for all who wait for them.
#[derive(Debug)]
pub struct ServiceBindings {
    found: watch::Sender<Definitions>,
}

impl Default for ServiceBindings {
    fn default() -> Self {
        Self {
            found: watch::Sender::new(Definitions::Absent),
        }
    }
}

impl ServiceBindings {
    /// What was found last.
    pub fn found(&self) -> Definitions {
        *self.found.borrow()
    }

    /// Waits until both definitions are served.
    pub async fn served(&self) {
        let served = |found: &Definitions| match found {
            Definitions::Foreign | Definitions::Ours => true,
            Definitions::Absent | Definitions::Old => false,
        };
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.found.subscribe().wait_for(served).await;
    }
}

/// Looks at the definitions now and then, and says once what they mean. Never ends by itself.
pub async fn run(ctx: Arc<Ctx>) {
    loop {
        match look(&ctx).await {
            Ok((found, definition)) => {
                let before = ctx.service_bindings.found.send_replace(found);
                if before != found {
                    tell(&ctx, found, definition.as_ref());
                    for binding in ctx.stores.bindings.all() {
                        ctx.wake
                            .bindings
                            .wake(crate::kube::wake::Key::of(binding.as_ref()));
                    }
                }
            }
            Err(error) => debug!(%error, "The definitions of servicebinding.io were not read"),
        }
        ctx.clock.sleep(EVERY).await;
    }
}

async fn look(ctx: &Ctx) -> Result<(Definitions, Option<CustomResourceDefinition>), CallError> {
    let api: Api<CustomResourceDefinition> = Api::all(ctx.client.clone());
    let [bindings, mappings] = names();
    let Some(first) = ctx.call(api.get_opt(&bindings)).await? else {
        return Ok((Definitions::Absent, None));
    };
    let Some(second) = ctx.call(api.get_opt(&mappings)).await? else {
        return Ok((Definitions::Absent, None));
    };
    let found = judge(&first, &second);
    Ok((found, Some(first)))
}

fn judge(bindings: &CustomResourceDefinition, mappings: &CustomResourceDefinition) -> Definitions {
    let serves = |definition: &CustomResourceDefinition| {
        let mut versions = definition.spec.versions.iter();
        versions.any(|version| version.name == VERSION && version.served)
    };
    if !serves(bindings) || !serves(mappings) {
        Definitions::Old
    } else if bindings.labels().contains_key(BROUGHT_BY) {
        Definitions::Ours
    } else {
        Definitions::Foreign
    }
}

fn tell(ctx: &Ctx, found: Definitions, definition: Option<&CustomResourceDefinition>) {
    let mode = ctx.settings.service_bindings;
    let note = match (mode, found) {
        (Mode::Never, _) => "new ServiceBindings are left alone, as `serviceBindings.mode` says",
        (Mode::Auto | Mode::Always, Definitions::Absent) => {
            "there are no ServiceBindings: the definitions are not installed"
        }
        (Mode::Auto | Mode::Always, Definitions::Old) => {
            "ServiceBindings are left alone: their definitions do not serve v1"
        }
        (Mode::Auto, Definitions::Foreign) => {
            "new ServiceBindings are left to whoever brought their definitions; if nothing else \
             reconciles them, set the chart's `serviceBindings.mode` to Always"
        }
        (Mode::Always, Definitions::Foreign) | (_, Definitions::Ours) => {
            "ServiceBindings are reconciled by Domicile"
        }
    };
    info!(
        ?found,
        ?mode,
        note,
        "Looked for the definitions of servicebinding.io"
    );
    if let Some(definition) = definition {
        ctx.events.publish(
            definition,
            Severity::Normal,
            "ServiceBindings",
            "Look",
            note,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn definition(labels: &Value, versions: &[&str]) -> CustomResourceDefinition {
        let version = |name: &&str| json!({ "name": name, "served": true, "storage": false });
        let versions: Vec<Value> = versions.iter().map(version).collect();
        serde_json::from_value(json!({
            "metadata": { "name": "x", "labels": labels },
            "spec": {
                "group": "servicebinding.io", "scope": "Namespaced",
                "names": { "kind": "X", "plural": "xs" }, "versions": versions,
            },
        }))
        .unwrap()
    }

    #[test]
    fn definitions_are_ours_only_with_our_label() {
        let ours = json!({ BROUGHT_BY: "true" });
        let other = definition(&json!({}), &["v1", "v1beta1"]);
        let mine = definition(&ours, &["v1", "v1beta1"]);
        let old = definition(&ours, &["v1beta1"]);
        assert_eq!(judge(&mine, &mine), Definitions::Ours);
        assert_eq!(judge(&other, &mine), Definitions::Foreign);
        assert_eq!(judge(&old, &mine), Definitions::Old);
        assert_eq!(judge(&mine, &old), Definitions::Old);
    }
}
