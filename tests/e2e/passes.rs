//! Passes of the operator: asked for, and what it said in them.

use std::fs;

use domicile_lab::lab::SYSTEM_NAMESPACE;
use domicile_lab::story::objects::kinds;
use domicile_lab::{LabError, Result};
use serde_json::json;

use super::world::World;

/// Asks for a pass over all resources; each token is good for one.
pub(crate) fn poke(world: &World, token: &str) -> Result<()> {
    let objects = &world.stage.objects;
    let patch = json!({"metadata": {"annotations": {"domicile.dev/reconcile-at": token}}});
    for kind in [
        kinds::REGION,
        kinds::PLACEMENT,
        kinds::POLICY,
        kinds::OPERATION,
    ] {
        for object in objects.list(kind, None, "")? {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap_or_default();
            objects.merge(kind, metadata["namespace"].as_str(), name, &patch)?;
        }
    }
    Ok(())
}

/// How many lines of the operators so far hold all of these texts.
pub(crate) fn logged(world: &World, texts: &[&str]) -> Result<usize> {
    let mut count = 0;
    for log in world.stage.logs.logs()? {
        if log.namespace == SYSTEM_NAMESPACE {
            let told = fs::read_to_string(&log.file).map_err(LabError::file("read", &log.file))?;
            let all = |line: &&str| texts.iter().all(|text| line.contains(text));
            count += told.lines().filter(all).count();
        }
    }
    Ok(count)
}
