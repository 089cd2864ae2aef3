//! What can be made out of a policy that this version cannot read.

use domicile_core::names::ServerId;
use domicile_core::placement::Glimpse;
use serde_json::Value;

use crate::kube::cache::Unreadable;

/// The servers of the policy, as far as they are where this version has them.
pub(crate) fn glimpse(policy: &Unreadable) -> Glimpse {
    let spec = &policy.raw["spec"];
    let standbys = spec["standbys"].as_array();
    Glimpse {
        primary: server(&spec["primary"]),
        standbys: standbys.and_then(|all| all.iter().map(server).collect()),
    }
}

fn server(value: &Value) -> Option<ServerId> {
    let field = |name: &str| value[name].as_str();
    Some(ServerId::new(field("region")?, field("server")?))
}
