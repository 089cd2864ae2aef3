//! What the Region says of what deleted placements left on its servers. Pure.

use domicile_api::conditions::{ConditionType, Conditions, Status};
use domicile_api::orphan::Orphan;
use domicile_api::reasons::Reason;

/// Most orphans that the condition names.
const NAMED: usize = 3;

/// Sets the condition, or takes it away when nothing is left.
pub(super) fn condition(orphans: &[Orphan], conditions: &mut Conditions) {
    let type_ = ConditionType::CleanupPending;
    if orphans.is_empty() {
        conditions.remove(type_);
        return;
    }
    let blocked: Vec<&Orphan> = orphans.iter().filter(|one| one.problem.is_some()).collect();
    let all = orphans.len();
    let (reason, message) = if let Some(first) = blocked.first() {
        let message = format!(
            "{} of {all} deleted placements cannot be cleaned up after, see `status.orphans`; {}: \
             {}",
            blocked.len(),
            named(first),
            first.problem.as_deref().unwrap_or_default()
        );
        (Reason::CleanupBlocked, message)
    } else {
        let names: Vec<String> = orphans.iter().take(NAMED).map(named).collect();
        let more = if all > NAMED { ", …" } else { "" };
        let message = format!(
            "{all} deleted placements left databases or logins here, which are cleaned up once \
             their servers can be worked on, see `status.orphans`: {}{more}",
            names.join(", ")
        );
        (Reason::OrphanRecorded, message)
    };
    conditions.set(type_, Status::True, reason, &message);
}

fn named(orphan: &Orphan) -> String {
    format!("{}/{}", orphan.namespace, orphan.name)
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

    fn said(orphans: &[Orphan]) -> Option<Condition> {
        let mut conditions = Conditions::of(&[], None, Timestamp::UNIX_EPOCH);
        conditions.set(
            ConditionType::CleanupPending,
            Status::True,
            Reason::OrphanRecorded,
            "x",
        );
        condition(orphans, &mut conditions);
        find(&conditions.into_list(), ConditionType::CleanupPending).cloned()
    }

    #[test]
    fn what_is_blocked_is_told_first_and_nothing_when_nothing_is_left() {
        assert_eq!(said(&[]), None);
        let waits = said(&[orphan("a", None), orphan("b", None)]).unwrap();
        assert_eq!(waits.reason, "OrphanRecorded");
        assert!(
            waits.message.contains("space/a, space/b"),
            "{}",
            waits.message
        );
        let blocked = said(&[orphan("a", None), orphan("b", Some("held by x"))]).unwrap();
        assert_eq!(blocked.reason, "CleanupBlocked");
        let told = "1 of 2 deleted placements";
        assert!(blocked.message.starts_with(told), "{}", blocked.message);
        assert!(
            blocked.message.ends_with("space/b: held by x"),
            "{}",
            blocked.message
        );
    }
}
