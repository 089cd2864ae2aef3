//! `approve`: one person's agreement to one operation and to the evidence it was planned on. An act
//! of a person, so it has no YAML twin.

use domicile_api::meta::manager;
use jiff::Unit;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::args::ApproveArgs;
use crate::client::call;
use crate::error::CliError;
use crate::json::{at, items, name, plain, text};
use crate::kinds::Kind;
use crate::operation::confirm;
use crate::output::Outcome;
use crate::session::Session;

/// Adds this user's approval to the operation's status.
///
/// # Errors
/// When the operation does not await approval, changed meanwhile, or the user may not approve.
pub async fn run(session: &mut Session<'_>, args: &ApproveArgs) -> Result<Outcome, CliError> {
    let operation = session
        .get(Kind::FailoverOperation, &args.operation)
        .await?;
    let review = Api::<SelfSubjectReview>::all(session.client.clone());
    let (params, question) = (PostParams::default(), SelfSubjectReview::default());
    let answer = review.create(&params, &question);
    let answer = call("ask the API server who you are", answer).await?;
    let user = answer
        .status
        .and_then(|status| status.user_info)
        .and_then(|info| info.username);
    let user = user.unwrap_or_default();
    let patch = Patch::Merge(approval(&operation, &user, session.now)?);
    let message = text(&operation, "/status/message");
    for line in [describe(&operation), message] {
        session.terminal.say(&line);
    }
    confirm(session, args.yes, &args.operation)?;
    let api = Kind::FailoverOperation.api(&session.client, None);
    let params = PatchParams {
        field_manager: Some(manager::CLI.to_owned()),
        ..Default::default()
    };
    let patched = api.patch_status(&args.operation, &params, &patch);
    let doing = format!("approve operation/{}", args.operation);
    match call(doing, patched).await {
        Ok(_) => Ok(Outcome::text(format!(
            "operation/{} approved by {user}\n",
            args.operation
        ))),
        Err(error) if error.is_conflict() => {
            let message = "the operation changed meanwhile; look at it again, then approve again";
            Err(CliError::Refused(message.to_owned()))
        }
        Err(other) => Err(other),
    }
}

/// The patch of the status. It carries the resourceVersion, so that nobody approves what they have
/// not seen. Pure.
///
/// # Errors
/// When the operation does not await approval, or there is nobody to name.
pub fn approval(operation: &Value, user: &str, now: jiff::Timestamp) -> Result<Value, CliError> {
    let operation_name = name(operation);
    let state = text(operation, "/status/state");
    if state != "AwaitingApproval" {
        return Err(CliError::Refused(format!(
            "operation {operation_name} is {}, not AwaitingApproval",
            if state.is_empty() {
                "not taken up yet"
            } else {
                &state
            }
        )));
    }
    let hash = text(operation, "/status/evidenceHash");
    if hash.is_empty() || user.is_empty() {
        let lacks = if user.is_empty() {
            "your user name"
        } else {
            "status.evidenceHash"
        };
        return Err(CliError::Refused(format!(
            "cannot approve {operation_name} without {lacks}"
        )));
    }
    // Whole seconds, as all times of the API.
    let now = now.round(Unit::Second).unwrap_or(now);
    let others = items(operation, "/status/approvals").iter();
    let mut approvals: Vec<Value> = others
        .filter(|a| text(a, "/user") != user)
        .cloned()
        .collect();
    approvals.push(json!({"user": user, "time": now.to_string(), "evidenceHash": hash}));
    Ok(json!({
        "metadata": {"resourceVersion": at(operation, "/metadata/resourceVersion")},
        "status": {"approvals": approvals},
    }))
}

fn describe(operation: &Value) -> String {
    let spec = |pointer: &str| text(operation, &format!("/spec{pointer}"));
    let waived: Vec<String> = items(operation, "/spec/accept").iter().map(plain).collect();
    format!(
        "{} of policy {} to {}, planned at epoch {}, waives: {}",
        spec("/type"),
        spec("/policyRef/name"),
        spec("/target"),
        spec("/expectedEpoch"),
        if waived.is_empty() {
            "nothing".to_owned()
        } else {
            waived.join(", ")
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Exit;

    fn operation(state: &str) -> Value {
        json!({
            "metadata": {"name": "eu-1", "resourceVersion": "41"},
            "status": {"state": state, "evidenceHash": "ab12",
                       "approvals": [{"user": "ann", "time": "2026-01-01T00:00:00Z",
                                      "evidenceHash": "old"}]}
        })
    }

    fn now() -> jiff::Timestamp {
        "2026-01-02T03:04:05.4Z".parse().unwrap()
    }

    #[test]
    fn an_approval_names_the_person_the_time_and_the_evidence() {
        let patch = approval(&operation("AwaitingApproval"), "bob", now()).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "41");
        let expected =
            json!({"user": "bob", "time": "2026-01-02T03:04:05Z", "evidenceHash": "ab12"});
        assert_eq!(patch["status"]["approvals"][1], expected);
        assert_eq!(patch["status"]["approvals"][0]["user"], "ann");
    }

    #[test]
    fn a_second_approval_of_one_person_replaces_the_first() {
        let patch = approval(&operation("AwaitingApproval"), "ann", now()).unwrap();
        let approvals = patch["status"]["approvals"].as_array().unwrap();
        assert_eq!(approvals.len(), 1);
        assert_eq!(approvals[0]["evidenceHash"], "ab12");
    }

    #[test]
    fn what_awaits_no_approval_is_refused() {
        for state in ["", "Pending", "Running", "Succeeded", "Refused"] {
            let refused = approval(&operation(state), "bob", now()).unwrap_err();
            assert_eq!(refused.exit(), Exit::Refused, "{state}");
        }
        assert!(approval(&operation("AwaitingApproval"), "", now()).is_err());
    }
}
