//! What the Region says of what deleted placements left on its servers. Pure.

use domicile_api::conditions::{ConditionType, Conditions, Status};
use domicile_api::orphan::{Orphan, OrphanedSecret};
use domicile_api::reasons::Reason;

/// Most orphans that the condition names.
const NAMED: usize = 3;

/// Sets the condition, or takes it away when nothing is left.
pub(super) fn condition(
    orphans: &[Orphan],
    secrets: &[OrphanedSecret],
    conditions: &mut Conditions,
) {
    let type_ = ConditionType::CleanupPending;
    let left = left(orphans, secrets);
    if left.is_empty() {
        conditions.remove(type_);
        return;
    }
    let blocked: Vec<&Left<'_>> = left.iter().filter(|one| one.problem.is_some()).collect();
    let all = left.len();
    let (reason, message) = if let Some(first) = blocked.first() {
        let message = format!(
            "{} of {all} deleted placements cannot be cleaned up after, see `status.orphans` and \
             `status.orphanedSecrets`; {}: {}",
            blocked.len(),
            first.name,
            first.problem.unwrap_or_default()
        );
        (Reason::CleanupBlocked, message)
    } else {
        let names: Vec<&str> = left.iter().take(NAMED).map(|one| &*one.name).collect();
        let more = if all > NAMED { ", …" } else { "" };
        let message = format!(
            "{all} deleted placements left databases, logins or Secrets here, which are cleaned \
             up once the servers can be worked on and the cluster answers, see `status.orphans` \
             and `status.orphanedSecrets`: {}{more}",
            names.join(", ")
        );
        (Reason::OrphanRecorded, message)
    };
    conditions.set(type_, Status::True, reason, &message);
}

/// What one deleted placement left.
struct Left<'a> {
    uid: &'a str,
    name: String,
    problem: Option<&'a str>,
}

/// Each placement once.
fn left<'a>(orphans: &'a [Orphan], secrets: &'a [OrphanedSecret]) -> Vec<Left<'a>> {
    let named = |namespace: &str, name: &str| format!("{namespace}/{name}");
    let mut left: Vec<Left<'_>> = orphans
        .iter()
        .map(|one| Left {
            uid: &one.uid,
            name: named(&one.namespace, &one.name),
            problem: one.problem.as_deref(),
        })
        .collect();
    for secret in secrets {
        let problem = secret.problem.as_deref();
        match left.iter_mut().find(|one| one.uid == secret.uid) {
            Some(one) => one.problem = one.problem.or(problem),
            None => left.push(Left {
                uid: &secret.uid,
                name: named(&secret.namespace, &secret.name),
                problem,
            }),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use domicile_api::conditions::find;
    use domicile_api::orphan::Cleanup;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::*;

    fn orphan(name: &str, problem: Option<&str>) -> Orphan {
        Orphan {
            uid: name.to_owned(),
            namespace: "space".to_owned(),
            name: name.to_owned(),
            server: "main".to_owned(),
            database: "acme".to_owned(),
            cleanup: Cleanup::Drop,
            closes: None,
            since: Timestamp::UNIX_EPOCH,
            problem: problem.map(str::to_owned),
        }
    }

    fn secret(name: &str) -> OrphanedSecret {
        OrphanedSecret {
            uid: name.to_owned(),
            namespace: "space".to_owned(),
            name: name.to_owned(),
            secret: "acme-db".to_owned(),
            former_secrets: Vec::new(),
            service: None,
            since: Timestamp::UNIX_EPOCH,
            problem: None,
        }
    }

    fn said(orphans: &[Orphan], secrets: &[OrphanedSecret]) -> Option<Condition> {
        let mut conditions = Conditions::of(&[], None, Timestamp::UNIX_EPOCH);
        conditions.set(
            ConditionType::CleanupPending,
            Status::True,
            Reason::OrphanRecorded,
            "x",
        );
        condition(orphans, secrets, &mut conditions);
        find(&conditions.into_list(), ConditionType::CleanupPending).cloned()
    }

    #[test]
    fn what_is_blocked_is_told_first_and_nothing_when_nothing_is_left() {
        assert_eq!(said(&[], &[]), None);
        let waits = said(&[orphan("a", None), orphan("b", None)], &[]).unwrap();
        assert_eq!(waits.reason, "OrphanRecorded");
        assert!(
            waits.message.contains("space/a, space/b"),
            "{}",
            waits.message
        );
        let blocked = said(&[orphan("a", None), orphan("b", Some("held by x"))], &[]).unwrap();
        assert_eq!(blocked.reason, "CleanupBlocked");
        let told = "1 of 2 deleted placements";
        assert!(blocked.message.starts_with(told), "{}", blocked.message);
        assert!(
            blocked.message.ends_with("space/b: held by x"),
            "{}",
            blocked.message
        );
        let both = said(&[orphan("a", None)], &[secret("a"), secret("c")]).unwrap();
        assert!(both.message.starts_with("2 deleted"), "{}", both.message);
        assert!(
            both.message.ends_with("space/a, space/c"),
            "{}",
            both.message
        );
    }
}
