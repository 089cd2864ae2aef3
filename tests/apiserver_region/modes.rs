//! A mode that this version does not know, as one of a newer version may have.

use std::time::Duration;

use domicile_api::FailoverPolicy;
use domicile_tests::operator::Running;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

/// The modes that this version knows, and one more.
pub(super) const MODES: [&str; 4] = ["Automatic", "SemiAutomatic", "Manual", "Telepathic"];
/// How many of them it knows.
pub(super) const KNOWN: usize = 3;

const LIMIT: Duration = Duration::from_secs(30);

/// The policies, whatever is in them.
pub(super) fn policies(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<FailoverPolicy>(&()))
}

/// Has the API server take these modes, and waits until it does.
pub(super) fn allow_modes(running: &Running, modes: &[&str]) {
    let definitions: Api<CustomResourceDefinition> = Api::all(running.admin.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum";
    let name = "failoverpolicies.domicile.dev";
    let definition = running.block_on(definitions.get(name)).unwrap();
    let mut definition = serde_json::to_value(definition).unwrap();
    *definition.pointer_mut(path).unwrap() = json!(modes);
    let versions = json!({ "spec": { "versions": definition["spec"]["versions"] } });
    let patch = Patch::Merge(&versions);
    running
        .block_on(definitions.patch(name, &PatchParams::default(), &patch))
        .unwrap();
    let served = || {
        let checked = PatchParams {
            dry_run: true,
            ..PatchParams::apply("test").force()
        };
        let probe = json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
            "metadata": { "name": "probe" },
            "spec": {
                "primary": { "region": "a", "server": "b" },
                "standbys": [{ "region": "c", "server": "d" }], "mode": "Telepathic",
            },
        });
        let taken = policies(&running.admin);
        let taken = running.block_on(taken.patch("probe", &checked, &Patch::Apply(&probe)));
        (taken.is_ok() == modes.contains(&"Telepathic")).then_some(())
    };
    running.until("the definition is served", LIMIT, served);
}
