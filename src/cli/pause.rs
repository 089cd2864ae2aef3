//! `pause`: no automatic move of a policy until `resume`. YAML twin: `spec.paused: true`.

use domicile_api::meta::manager;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::args::PolicyArgs;
use crate::client::call;
use crate::error::CliError;
use crate::kinds::{Kind, api_version};
use crate::output::{Outcome, yaml};
use crate::session::Session;

/// Pauses the policy.
///
/// # Errors
/// When the policy does not exist or may not be changed.
pub async fn run(session: &mut Session<'_>, args: &PolicyArgs) -> Result<Outcome, CliError> {
    set(session, args, true).await
}

/// Sets `spec.paused`, and nothing else, under this program's own field manager.
///
/// # Errors
/// When the policy does not exist or may not be changed.
pub async fn set(
    session: &mut Session<'_>,
    args: &PolicyArgs,
    paused: bool,
) -> Result<Outcome, CliError> {
    let PolicyArgs { policy, dry_run } = args;
    if *dry_run {
        return yaml(&twin(policy, paused)).map(Outcome::text);
    }
    session.get(Kind::FailoverPolicy, policy).await?;
    let api = Kind::FailoverPolicy.api(&session.client, None);
    let params = PatchParams {
        field_manager: Some(manager::CLI.to_owned()),
        ..Default::default()
    };
    let body = Patch::Merge(json!({"spec": {"paused": paused}}));
    let verb = if paused { "paused" } else { "resumed" };
    let patched = api.patch(policy, &params, &body);
    call(format!("set spec.paused of policy/{policy}"), patched).await?;
    session
        .terminal
        .say("if the policy is kept in Git, make the same change there");
    Ok(Outcome::text(format!("policy/{policy} {verb}\n")))
}

/// The YAML twin, for `kubectl apply --server-side -f -`.
fn twin(policy: &str, paused: bool) -> Value {
    json!({
        "apiVersion": api_version(),
        "kind": Kind::FailoverPolicy.name(),
        "metadata": {"name": policy},
        "spec": {"paused": paused},
    })
}

#[cfg(test)]
mod tests {
    use super::twin;

    #[test]
    fn the_twin_holds_the_one_field_only() {
        let spec = twin("eu", true)["spec"].clone();
        assert_eq!(spec, serde_json::json!({"paused": true}));
    }
}
