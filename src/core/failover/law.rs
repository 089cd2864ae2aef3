//! Where the law of the tenants lets a policy take them. Nothing overrides it.

use super::observation::{Guard, GuardName, Observation};
use super::question::{Question, guard};
use crate::names::RegionName;

pub(super) fn jurisdiction(seen: &Observation, ask: Question<'_>) -> Guard {
    let result = unlawful(seen, ask.target).map_or_else(
        || Ok(format!("each tenant may be held in {}", ask.target)),
        Err,
    );
    guard(GuardName::Jurisdiction, result)
}

/// Why the law of a tenant forbids `target`, for the first tenant that it does: by where the server
/// stands, or by where its backups lie.
pub(super) fn unlawful(seen: &Observation, target: &RegionName) -> Option<String> {
    let view = seen.server(target);
    let Some((view, law)) = view.and_then(|view| Some((view, view.jurisdiction.as_ref()?))) else {
        return Some(format!(
            "Region {target} does not exist; its jurisdiction is unknown"
        ));
    };
    let mut tenants = seen.tenants.iter();
    if let Some(tenant) = tenants.find(|tenant| !tenant.allowed.contains(law)) {
        return Some(format!(
            "TenantPlacement {} may not be held in {law}, the jurisdiction of {target}; nothing \
             overrides this",
            tenant.name
        ));
    }
    view.backups.iter().find_map(|(backup, law)| {
        let tenant = seen.tenants.iter().find(|tenant| {
            let lawful = law.as_ref().is_some_and(|law| tenant.allowed.contains(law));
            !lawful
        })?;
        let place = law.as_ref().map_or_else(
            || format!("in Region {backup}, which does not exist"),
            |law| format!("in {backup}, under the jurisdiction {law}"),
        );
        Some(format!(
            "TenantPlacement {} may not be held in {target}, whose backups lie {place} \
             (`spec.residency.backup`); nothing overrides this",
            tenant.name
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ask, moving, objection, outage, server, state_after};
    use super::super::{Accept, Answer, MoveKind, Request, State, Step, decide};
    use super::*;
    use crate::names::Jurisdiction;

    /// The backups of `central` lie in a region of this law.
    fn backed_up(seen: &mut Observation, law: Option<&str>) {
        let central = server(seen, "central");
        let law = law.map(Jurisdiction::new);
        central.backups = [(RegionName::from("vault"), law)].into();
    }

    /// Faults: 6.
    #[test]
    fn nobody_is_moved_to_where_backups_lie_outside_the_law() {
        let mut lawful = outage();
        backed_up(&mut lawful, Some("EU"));
        assert_eq!(objection(&lawful), []);
        for law in [Some("US"), None] {
            let mut seen = outage();
            backed_up(&mut seen, law);
            assert_eq!(objection(&seen), [GuardName::Jurisdiction]);
            assert_eq!(state_after(&seen), State::Blocked);
            seen.stored.state = State::Blocked;
            let accept = Accept::ALL.iter().copied().collect();
            seen.requests = vec![Request {
                accept,
                ..ask(MoveKind::Failover, 4)
            }];
            let decision = decide(&seen);
            let told = &decision.refusals[0].message;
            assert!(told.contains("whose backups lie in"), "{told}");
            assert!(!matches!(decision.answer, Answer::Move(next) if next.state == State::Fencing));
        }
    }

    /// Faults: 6.
    #[test]
    fn backups_are_asked_about_again_at_the_moment_of_promotion() {
        let promotes =
            |seen: &Observation| matches!(decide(seen).answer, Answer::Work(Step::Promote(..)));
        let mut seen = moving(State::Promoting);
        assert!(promotes(&seen));
        backed_up(&mut seen, Some("US"));
        assert!(!promotes(&seen));
        assert_eq!(state_after(&seen), State::Halted);
    }

    #[test]
    fn a_policy_without_tenants_may_go_anywhere() {
        let mut seen = outage();
        backed_up(&mut seen, None);
        seen.tenants.clear();
        assert_eq!(unlawful(&seen, &"central".into()), None);
    }
}
