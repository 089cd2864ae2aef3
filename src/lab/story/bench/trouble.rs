//! Whether trouble of one tenant, or of one region, slows the others: placements of another region
//! that are made one after another beside it.

use serde_json::json;

use super::fleet::Fleet;
use super::ready::ReadyWatch;
use super::{HOME, NAMESPACE, ONE_LIMIT, in_region, limit};
use crate::error::Result;
use crate::regions::How;
use crate::story::objects::{kinds, ready};
use crate::story::stage::Stage;
use crate::story::times::Times;

const OTHER: &str = "us-east";
/// Placements that are made one after another.
const GOOD: usize = 20;

/// How long placements of a region took, in seconds, beside what goes wrong elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    /// Nothing is wrong.
    pub(super) none: Times,
    /// One tenant, whose database somebody else has, is edited before each of them.
    pub(super) tenant: Times,
    /// The servers of the home region have begun to be silent, and each of its measured tenants is
    /// to be looked at.
    pub(super) region: Times,
}

/// Measures with the placements that there are, which are ready again afterwards.
pub(super) fn measure(stage: &Stage, watch: &ReadyWatch, fleet: &Fleet) -> Result<Trouble> {
    let none = beside(stage, watch, "good", |_| Ok(()))?;
    stage.sql(OTHER, "CREATE DATABASE tenant_bad")?;
    stage.apply(&[in_region("bad", NAMESPACE, OTHER)])?;
    let tenant = beside(stage, watch, "better", |one| ask(stage, "bad", one))?;
    let bad = Some(NAMESPACE);
    stage.objects.delete(kinds::PLACEMENT, bad, "bad", false)?;
    // Slow to be noticed, so that it is long silent without being lost.
    let slow = json!({ "spec": {
        "paused": true,
        "detection": { "intervalSeconds": 30, "timeoutSeconds": 10 },
    }});
    stage
        .objects
        .merge(kinds::POLICY, None, &stage.policy, &slow)?;
    stage.lab.regions().lose(HOME, How::Freeze)?;
    fleet.ask(stage, HOME)?;
    let region = beside(stage, watch, "best", |_| Ok(()))?;
    stage.lab.regions().restore(HOME)?;
    let names = fleet.names();
    watch.settle(&names, limit(names.len()), &mut |_| Ok(()))?;
    Ok(Trouble {
        none,
        tenant,
        region,
    })
}

/// The times of some placements, each made when the one before is ready.
fn beside(
    stage: &Stage,
    watch: &ReadyWatch,
    prefix: &str,
    before: impl Fn(usize) -> Result<()>,
) -> Result<Times> {
    let names: Vec<String> = (0..GOOD).map(|one| format!("{prefix}-{one:02}")).collect();
    for (one, name) in names.iter().enumerate() {
        before(one)?;
        stage.apply(&[in_region(name, NAMESPACE, OTHER)])?;
        let place = (kinds::PLACEMENT, Some(NAMESPACE), name.as_str());
        stage.objects.wait(place, "ready", ONE_LIMIT, ready)?;
    }
    Ok(watch.times(&names)?.0)
}

/// Asks for a look at a placement.
fn ask(stage: &Stage, name: &str, token: usize) -> Result<()> {
    let asked = json!({ "metadata": { "annotations": {
        "domicile.dev/reconcile-at": token.to_string(),
    }}});
    let changed = stage
        .objects
        .merge(kinds::PLACEMENT, Some(NAMESPACE), name, &asked);
    changed.map(drop)
}
