//! `explain KIND/NAME`: state, why, what next, on one screen.

mod operation;
mod placement;
mod policy;
mod region;

use jiff::Timestamp;
use serde_json::Value;

use crate::args::ExplainArgs;
use crate::error::CliError;
use crate::findings::{health, of_conditions};
use crate::json::{self, age, condition, text};
use crate::kinds::Kind;
use crate::output::Outcome;
use crate::report::{Fact, Related, Report};
use crate::session::Session;
use crate::world::{Placements, World};
use crate::{advice, text as rendered};

/// Explains one object; the exit code is 2 unless it is healthy.
///
/// # Errors
/// When the object does not exist or the cluster cannot be read.
pub async fn run(session: &mut Session<'_>, args: &ExplainArgs) -> Result<Outcome, CliError> {
    let (kind, name) = Kind::parse_reference(&args.object)?;
    let scope = match kind {
        Kind::TenantPlacement => Placements::OfNamespace,
        Kind::Region | Kind::FailoverPolicy | Kind::FailoverOperation => Placements::OfAll,
    };
    let object = session.get(kind, &name).await?;
    let world = World::read(session, scope).await?;
    let report = report(kind, &object, &world, session.now);
    let exit = report.health.exit();
    Outcome::of(&report, session.format, rendered::report, exit)
}

/// What there is to say about `object`. Pure.
pub fn report(kind: Kind, object: &Value, world: &World, now: Timestamp) -> Report {
    let ready = condition(object, "Ready");
    let mut report = Report {
        object: format!("{}/{}", kind.word(), json::name(object)),
        namespace: json::namespace(object),
        health: health(object),
        state: text(ready, "/reason"),
        age: age(&text(ready, "/lastTransitionTime"), now),
        summary: text(ready, "/message"),
        facts: Vec::new(),
        why: of_conditions(object, now),
        steps: Vec::new(),
        related: Vec::new(),
        next: advice::of(kind, object, world),
    };
    match kind {
        Kind::Region => region::fill(&mut report, object, world),
        Kind::TenantPlacement => placement::fill(&mut report, object, world),
        Kind::FailoverPolicy => policy::fill(&mut report, object, world, now),
        Kind::FailoverOperation => operation::fill(&mut report, object, world),
    }
    report
}

/// A fact, unless there is nothing to say.
fn fact(name: &str, value: String) -> Option<Fact> {
    (!value.is_empty()).then(|| Fact {
        name: name.to_owned(),
        value,
    })
}

/// Another object that matters, as far as it could be read.
fn related(kind: Kind, object: &Value) -> Related {
    let ready = condition(object, "Ready");
    let state = match text(object, "/status/state") {
        state if state.is_empty() => text(ready, "/reason"),
        state => state,
    };
    let message = match text(object, "/status/message") {
        message if message.is_empty() => text(ready, "/message"),
        message => message,
    };
    let health = health(object);
    Related {
        object: format!("{}/{}", kind.word(), json::name(object)),
        health,
        state,
        message,
    }
}

#[cfg(test)]
mod tests;
