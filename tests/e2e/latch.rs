//! Keeps the failover policy in a state that is a matter of milliseconds: the apiserver refuses the
//! write that would leave it, so that a kill in that state cannot come too late on a busy machine.
//! The operator itself runs as ever, and is killed long before it could mind.

use domicile_lab::Result;
use domicile_lab::story::objects::kinds;
use serde_json::json;

use super::world::World;

const NAME: &str = "e2e-latch";
const VERSION: &str = "admissionregistration.k8s.io/v1";

/// From about a second on, no policy that is in this state leaves it.
pub(crate) fn hold(world: &World, state: &str) -> Result<()> {
    let is = |object: &str| {
        format!(
            "has({object}.status) && has({object}.status.state) \
             && {object}.status.state == '{state}'"
        )
    };
    world.stage.apply(&[
        json!({
            "apiVersion": VERSION, "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": NAME},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["domicile.dev"], "apiVersions": ["*"],
                    "operations": ["UPDATE"], "resources": ["failoverpolicies/status"],
                }]},
                "validations": [{
                    "expression": format!("!({}) || ({})", is("oldObject"), is("object")),
                    "message": format!("the test keeps the policy in {state}"),
                }],
            },
        }),
        json!({
            "apiVersion": VERSION, "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": NAME},
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        }),
    ])
}

/// Lets it go on, from about a second on.
pub(crate) fn release(world: &World) -> Result<()> {
    let objects = &world.stage.objects;
    objects.delete(kinds::ADMISSION_BINDING, None, NAME, false)?;
    objects.delete(kinds::ADMISSION_POLICY, None, NAME, false)
}
