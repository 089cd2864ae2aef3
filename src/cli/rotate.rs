//! `rotate`: a placement's credentials change places. YAML twin: another value of the annotation
//! `domicile.dev/rotate-at`.

use domicile_api::meta::{self, manager};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::args::RotateArgs;
use crate::client::call;
use crate::error::CliError;
use crate::kinds::{Kind, api_version};
use crate::output::{Outcome, yaml};
use crate::session::Session;

/// Asks for a rotation.
///
/// # Errors
/// When the placement does not exist or may not be changed.
pub async fn run(session: &mut Session<'_>, args: &RotateArgs) -> Result<Outcome, CliError> {
    let RotateArgs { placement, dry_run } = args;
    let name = placement.strip_prefix("placement/").unwrap_or(placement);
    let request = session.now.to_string();
    let annotations = json!({ meta::ROTATE_AT: request });
    if *dry_run {
        return yaml(&twin(name, &session.namespace, &annotations)).map(Outcome::text);
    }
    let kind = Kind::TenantPlacement;
    let live = session.get(kind, name).await?;
    let api = kind.api(&session.client, Some(&session.namespace));
    let params = PatchParams {
        field_manager: Some(manager::CLI.to_owned()),
        ..Default::default()
    };
    let body = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    let patched = api.patch(name, &params, &body);
    let doing = format!("annotate placement/{name} with {}", meta::ROTATE_AT);
    call(doing, patched).await?;
    if live.pointer("/status/credentials/retiringRole").is_some() {
        session.terminal.say(
            "the logins before the present ones are still open; the rotation waits until they \
             are closed (`spec.credentials.rotation.overlapSeconds`)",
        );
    }
    Ok(Outcome::text(format!(
        "placement/{name} is asked to rotate\n"
    )))
}

/// The YAML twin, for `kubectl apply --server-side -f -`.
fn twin(placement: &str, namespace: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": api_version(),
        "kind": Kind::TenantPlacement.name(),
        "metadata": {
            "name": placement, "namespace": namespace, "annotations": annotations,
        },
    })
}
