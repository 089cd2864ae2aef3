//! What stands under a tenant's names that Domicile did not make. Changes nothing.

use super::TenantPlan;
use super::change::told;
use super::plan::differences;
use super::state::{State, read};
use crate::error::ProviderError;
use crate::generic::Generic;

impl Generic {
    /// How the roles and the database that carry the tenant's names differ from the plan, whoever
    /// made them. What is inside the database is not looked at: its owner's rights are needed for
    /// that.
    ///
    /// # Errors
    /// What keeps the server from answering.
    pub async fn observe_tenant(&self, plan: &TenantPlan) -> Result<Vec<String>, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let state = read(&session, plan).await?;
        session.close().await;
        Ok(observed(plan, &state))
    }
}

fn observed(plan: &TenantPlan, state: &State) -> Vec<String> {
    let (marker, owner) = (plan.marker(), plan.database.owner());
    let mut lines = Vec::new();
    if let Some(found) = &state.database
        && found.owner != owner
    {
        let name = &plan.database;
        lines.push(format!(
            "database {name} belongs to role {}, not to {owner}",
            found.owner
        ));
    }
    for (name, role) in &state.roles {
        match &role.marker {
            Some(found) if *found == marker => {}
            Some(found) => lines.push(format!("role {name} is there, with the comment {found:?}")),
            None => lines.push(format!("role {name} is there, without a mark")),
        }
        if role.can_log_in && *name == owner {
            lines.push(format!("role {name} can log in, and would only own"));
        }
    }
    lines.extend(told(&differences(plan, state)));
    lines
}

#[cfg(test)]
mod tests {
    use domicile_core::names::{Access, DatabaseName};

    use super::*;
    use crate::generic::tenant::state::{DatabaseState, RoleState};

    #[test]
    fn what_somebody_else_made_is_told_line_by_line() {
        let plan = TenantPlan {
            access: vec![(Access::ReadWrite, 5)],
            ..TenantPlan::bare("u1".into(), DatabaseName::parse("acme").unwrap())
        };
        let mut state = State::default();
        let database = DatabaseState {
            owner: "app".into(),
            open: true,
            limit: -1,
            public_has_rights: true,
            ..DatabaseState::default()
        };
        state.database = Some(database);
        let role = RoleState {
            can_log_in: true,
            ours_to_use: true,
            ..RoleState::default()
        };
        state.roles.insert("acme".into(), role);
        let lines = observed(&plan, &state);
        for line in [
            "database acme belongs to role app, not to acme",
            "role acme is there, without a mark",
            "role acme can log in, and would only own",
            "role acme_ro was not there",
            "PUBLIC had rights on database acme",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
        }
    }
}
