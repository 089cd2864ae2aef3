//! What the three moves share: a `FailoverOperation` is planned from the policy's status, shown,
//! created and followed.

use std::time::Duration;

use domicile_api::operation::{
    Acceptance, FailoverOperation, FailoverOperationSpec, MoveType, PolicyRef,
};
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use crate::args::{AcceptArg, CommonMoveArgs};
use crate::client::call;
use crate::error::CliError;
use crate::explain;
use crate::findings::of_guards;
use crate::json::{at, items, moment, name, text};
use crate::kinds::Kind;
use crate::output::{Exit, Outcome, yaml};
use crate::session::Session;
use crate::text as rendered;
use crate::world::{Placements, World, members};

/// Guards that a planned move is not asked: its primary is alive and confirms the fence.
const FOR_FAILOVER: [&str; 5] = [
    "Armed",
    "SecondVantage",
    "LossBound",
    "Cooldown",
    "FencingProof",
];
/// Time between two looks at a running operation.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A move as it was asked for on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Why.
    pub kind: MoveType,
    /// The region to move to, when one was named.
    pub to: Option<String>,
    /// The epoch that must still hold, when one was named.
    pub expected_epoch: Option<i64>,
    /// Guards to waive.
    pub accept: Vec<AcceptArg>,
    /// For the record.
    pub reason: String,
}

impl Wish {
    /// A wish without anything waived.
    pub fn new(kind: MoveType, to: Option<String>, common: &CommonMoveArgs) -> Self {
        let CommonMoveArgs {
            expected_epoch,
            reason,
            ..
        } = common;
        let (expected_epoch, reason) = (*expected_epoch, reason.clone());
        Self {
            kind,
            to,
            expected_epoch,
            accept: Vec::new(),
            reason,
        }
    }
}

/// Plans, shows, asks, creates and follows one operation.
///
/// # Errors
/// When the policy's status does not allow the plan, the person says no, the API server refuses,
/// or the operation does not end in time.
pub async fn run(
    session: &mut Session<'_>,
    wish: &Wish,
    common: &CommonMoveArgs,
) -> Result<Outcome, CliError> {
    let policy = session.get(Kind::FailoverPolicy, &common.policy).await?;
    let planned = plan(&policy, wish)?;
    if common.dry_run {
        return twin(&planned).map(Outcome::text);
    }
    for line in announcement(&policy, &planned.spec) {
        session.terminal.say(&line);
    }
    confirm(session, common.yes, &common.policy)?;
    let api: Api<FailoverOperation> = Api::all(session.client.clone());
    let params = PostParams {
        field_manager: Some(domicile_api::meta::manager::CLI.to_owned()),
        ..PostParams::default()
    };
    let created = call("create the operation", api.create(&params, &planned)).await?;
    let operation = created.metadata.name.unwrap_or_default();
    session
        .terminal
        .say(&format!("operation/{operation} created"));
    if common.wait {
        let limit = Duration::from_secs(common.timeout);
        let ended = tokio::time::timeout(limit, follow(session, &operation)).await;
        let late = |_| CliError::Deadline {
            doing: format!(
                "see the end of operation/{operation}, which goes on; see: \
                 kubectl domicile explain operation/{operation}"
            ),
            seconds: common.timeout,
        };
        ended.map_err(late)??;
    }
    let object = session.get(Kind::FailoverOperation, &operation).await?;
    let world = World::read(session, Placements::OfNamespace).await?;
    let report = explain::report(Kind::FailoverOperation, &object, &world, session.now);
    let exit = if common.wait {
        exit_of(&text(&object, "/status/state"))
    } else {
        Exit::Ok
    };
    Outcome::of(&report, session.format, rendered::report, exit)
}

/// The operation that the policy's status and the wish make. Pure.
///
/// # Errors
/// When the policy has no epoch yet, or the target is not clear or not one of its regions.
pub fn plan(policy: &Value, wish: &Wish) -> Result<FailoverOperation, CliError> {
    let policy_name = name(policy);
    let epoch = wish
        .expected_epoch
        .or_else(|| at(policy, "/status/epoch").as_i64());
    let expected_epoch = epoch.ok_or_else(|| {
        CliError::Refused(format!(
            "policy {policy_name} has no epoch in its status yet; see: \
             kubectl domicile explain policy/{policy_name}"
        ))
    })?;
    let accept = wish.accept.iter().map(|word| match word {
        AcceptArg::DataLoss => Acceptance::DataLoss,
        AcceptArg::UnprovenFencing => Acceptance::UnprovenFencing,
        AcceptArg::Cooldown => Acceptance::Cooldown,
    });
    let spec = FailoverOperationSpec {
        policy_ref: PolicyRef {
            name: policy_name.clone(),
        },
        type_: wish.kind,
        target: target(policy, wish)?,
        expected_epoch,
        accept: accept.collect(),
        reason: Some(wish.reason.clone()).filter(|reason| !reason.is_empty()),
    };
    let mut operation = FailoverOperation::new("", spec);
    operation.metadata.name = None;
    operation.metadata.generate_name = Some(format!("{policy_name}-"));
    Ok(operation)
}

/// The operation as YAML for `kubectl create -f -`.
///
/// # Errors
/// When it cannot be serialised.
pub fn twin(operation: &FailoverOperation) -> Result<String, CliError> {
    yaml(operation)
}

fn target(policy: &Value, wish: &Wish) -> Result<String, CliError> {
    let policy_name = name(policy);
    let active = text(policy, "/status/activeRegion");
    let regions: Vec<String> = members(policy)
        .into_iter()
        .map(|(region, _)| region)
        .collect();
    let others: Vec<&String> = regions.iter().filter(|region| **region != active).collect();
    let home = text(policy, "/spec/primary/region");
    let wanted = match (&wish.to, wish.kind, others.as_slice()) {
        (Some(to), _, _) => to.clone(),
        (None, MoveType::Failback, _) => home,
        (None, MoveType::Failover | MoveType::Switchover, [only]) => (*only).clone(),
        (None, MoveType::Failover | MoveType::Switchover, _) => {
            let list = others
                .iter()
                .map(|r| r.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return Err(CliError::Usage(format!("give --to with one of: {list}")));
        }
    };
    if !regions.contains(&wanted) {
        let list = regions.join(", ");
        return Err(CliError::Usage(format!(
            "region {wanted} has no server in policy {policy_name}; its regions: {list}"
        )));
    }
    if wanted == active {
        return Err(CliError::Refused(format!(
            "{wanted} is already active in {policy_name}"
        )));
    }
    Ok(wanted)
}

/// What is about to happen, and every safety that is waived.
fn announcement(policy: &Value, spec: &FailoverOperationSpec) -> Vec<String> {
    let FailoverOperationSpec {
        policy_ref,
        type_,
        target,
        expected_epoch,
        accept,
        reason: _,
    } = spec;
    let status = |pointer: &str| text(policy, &format!("/status{pointer}"));
    let mut lines = vec![format!(
        "{} of policy {} from {} to {target}, planned at epoch {expected_epoch}, state {}",
        type_.as_str(),
        policy_ref.name,
        status("/activeRegion"),
        status("/state"),
    )];
    match type_ {
        MoveType::Switchover | MoveType::Failback => {
            let freeze = text(policy, "/spec/switchover/maxFreezeSeconds");
            lines.push(format!(
                "no acknowledged write is lost; writes pause for {freeze} s at most, or it is \
                 given up"
            ));
        }
        MoveType::Failover => {
            let loss = status("/guarantees/dataLossSeconds");
            let loss = if loss.is_empty() {
                "an unknown time".into()
            } else {
                format!("{loss} s")
            };
            let proof = status("/guarantees/splitBrain");
            lines.push(format!(
                "may lose writes of {loss}; proof against two writers: {proof}"
            ));
        }
    }
    let waived = accept.iter().map(|word| word.as_str());
    lines.extend(waived.map(|word| format!("WAIVED  {word}")));
    let asked = |guard: &str| *type_ == MoveType::Failover || !FOR_FAILOVER.contains(&guard);
    let failing = of_guards(policy).into_iter();
    let failing = failing.filter(|guard| asked(&guard.reason));
    lines.extend(failing.map(|guard| format!("guard {} says no: {}", guard.reason, guard.message)));
    lines
}

/// Asks for the policy's name on a terminal; elsewhere only `--yes` will do.
///
/// # Errors
/// When the answer is another one, or nobody is there to give it.
pub fn confirm(session: &mut Session<'_>, yes: bool, wanted: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !session.terminal.interactive() {
        let message =
            "nobody is at the terminal to confirm; give --yes, or --dry-run to look first";
        return Err(CliError::Refused(message.to_owned()));
    }
    let answer = session.terminal.ask(&format!("Type {wanted:?} to go on:"));
    match answer {
        Ok(answer) if answer == wanted => Ok(()),
        Ok(_) | Err(_) => Err(CliError::Refused(
            "not confirmed; nothing was changed".to_owned(),
        )),
    }
}

/// Shows each step once until the operation has ended. A blink of the API server is no end.
async fn follow(session: &mut Session<'_>, operation: &str) -> Result<(), CliError> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    // A slow API server is not asked more often for it.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut shown = Progress::default();
    loop {
        ticks.tick().await;
        match session.get(Kind::FailoverOperation, operation).await {
            Ok(object) => {
                for line in shown.news(&object) {
                    session.terminal.say(&line);
                }
                if ended(&text(&object, "/status/state")) {
                    return Ok(());
                }
            }
            Err(error @ CliError::NotFound { .. }) => return Err(error),
            Err(error) => {
                if let Some(line) = shown.trouble(&error.chain()) {
                    session.terminal.say(&line);
                }
            }
        }
    }
}

/// What has been shown of an operation already.
#[derive(Debug, Default)]
struct Progress {
    state: String,
    steps: usize,
    trouble: String,
}

impl Progress {
    /// Lines for what is new.
    fn news(&mut self, operation: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        self.trouble.clear();
        let steps = items(operation, "/status/steps");
        for step in steps.iter().skip(self.steps) {
            let line = format!(
                "{} {} {}",
                moment(&text(step, "/started")),
                text(step, "/name"),
                text(step, "/outcome")
            );
            lines.push(line.trim_end().to_owned());
        }
        self.steps = self.steps.max(steps.len());
        let state = text(operation, "/status/state");
        if state != self.state && !state.is_empty() {
            let message = text(operation, "/status/message");
            lines.push(format!("{state} {message}").trim_end().to_owned());
            if state == "AwaitingApproval" {
                lines.push(format!(
                    "to agree: kubectl domicile approve {}",
                    name(operation)
                ));
            }
            self.state = state;
        }
        lines
    }

    /// A line for trouble that was not shown yet.
    fn trouble(&mut self, message: &str) -> Option<String> {
        let new = self.trouble != message;
        message.clone_into(&mut self.trouble);
        new.then(|| format!("{message}; trying again"))
    }
}

fn ended(state: &str) -> bool {
    ["Succeeded", "Failed", "Aborted", "Refused"].contains(&state)
}

/// The exit code of an operation that ended so.
fn exit_of(state: &str) -> Exit {
    match state {
        "Succeeded" => Exit::Ok,
        "Refused" => Exit::Refused,
        _ => Exit::Error,
    }
}

#[cfg(test)]
mod tests;
