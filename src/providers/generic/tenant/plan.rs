//! From what is there to the statements that are missing. Pure; a settled tenant gives none.

use std::collections::BTreeMap;

use domicile_core::names::{Access, Slot, quote_identifier, quote_literal};

use super::change::{Change, Changes};
use super::state::{DatabaseState, RoleState, State};
use super::{TenantPlan, logins};
use crate::error::ProviderError;
use crate::generic::release::joined;
use crate::scram::Verifier;

/// Marks a login without a credential; see `sql::TENANTS`.
const NO_CREDENTIAL: &str = "NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'";

/// The next thing to do outside the tenant's database.
pub(super) enum Next {
    /// Statements of one transaction.
    Transaction(Vec<Change>),
    /// A statement that refuses to run in a transaction.
    Alone(Change),
    /// Nothing is left.
    Nothing,
}

/// Roles first, then the database, then its grants; it is opened with them in one transaction, so
/// that PUBLIC is never let in.
pub(super) fn outside(
    server: &str,
    plan: &TenantPlan,
    state: &State,
) -> Result<Next, ProviderError> {
    // What was to be there is not: an empty one in its place would hide that.
    if !plan.makes && state.database.is_none() {
        let (server, database) = (server.to_owned(), plan.database.to_string());
        return Err(ProviderError::NoDatabase { server, database });
    }
    refuse_foreign(server, plan, state)?;
    let roles = roles(plan, state);
    if !roles.is_empty() {
        return Ok(Next::Transaction(roles));
    }
    let owner = quote_identifier(&plan.database.owner());
    let database = quote_identifier(plan.database.as_str());
    let Some(found) = &state.database else {
        return Ok(Next::Alone(Change::new(
            format!("database {} was not there", plan.database),
            format!(
                "CREATE DATABASE {database} OWNER {owner} TEMPLATE template0 STRATEGY wal_log \
                 ALLOW_CONNECTIONS false"
            ),
        )));
    };
    let grants = grants(plan, state, found).changes;
    if grants.is_empty() {
        Ok(Next::Nothing)
    } else {
        Ok(Next::Transaction(grants))
    }
}

/// All that differs outside the database, whoever made it.
pub(super) fn differences(plan: &TenantPlan, state: &State) -> Vec<Change> {
    let mut changes = roles(plan, state);
    if let Some(found) = &state.database {
        changes.extend(grants(plan, state, found).changes);
    }
    changes
}

/// What is there beyond the plan, and stays.
pub(super) fn kept(plan: &TenantPlan, state: &State) -> Vec<String> {
    let found = state.database.as_ref();
    let mut kept = found.map_or_else(Vec::new, |found| grants(plan, state, found).left);
    let owner = plan.database.owner();
    if plan.keeps && state.roles.get(&owner).is_some_and(|role| role.can_log_in) {
        let quoted = quote_identifier(&owner);
        kept.push(format!(
            "role {owner} logs in with a password that Domicile does not know; once nothing uses \
             it: ALTER ROLE {quoted} NOLOGIN"
        ));
    }
    kept
}

/// Statements for the logins: those that were given a password, and those that have one.
pub(super) fn opened(
    plan: &TenantPlan,
    state: &State,
    verifiers: &BTreeMap<(Access, Slot), Verifier>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (access, slot, name) in logins(&plan.database) {
        let Some(role) = state.roles.get(&name) else {
            continue;
        };
        if !plan.opens(access, slot) {
            continue;
        }
        match verifiers.get(&(access, slot)) {
            Some(verifier) if !role.credentialed => changes.push(Change::new(
                format!("login {name} had no password"),
                set_password(&name, verifier),
            )),
            _ if role.credentialed && !role.can_log_in => changes.push(Change::new(
                format!("login {name} was closed"),
                format!("ALTER ROLE {} LOGIN", quote_identifier(&name)),
            )),
            _ => {}
        }
    }
    changes
}

/// Statements that close the logins of a slot that are the tenant's and open.
pub(super) fn closed(plan: &TenantPlan, slot: Slot, state: &State) -> Vec<String> {
    let marker = plan.marker();
    let names = logins(&plan.database).filter(|(_, of, _)| *of == slot);
    let open = names.filter(|(_, _, name)| {
        state.roles.get(name).is_some_and(|role| {
            role.marker.as_ref() == Some(&marker) && (role.can_log_in || role.credentialed)
        })
    });
    open.map(|(_, _, name)| format!("ALTER ROLE {} {NO_CREDENTIAL}", quote_identifier(&name)))
        .collect()
}

pub(super) fn set_password(login: &str, verifier: &Verifier) -> String {
    let (login, verifier) = (quote_identifier(login), quote_literal(verifier.expose()));
    format!("ALTER ROLE {login} LOGIN PASSWORD {verifier} VALID UNTIL 'infinity'")
}

/// Which of the names belong to someone else. The marker that counts is the one on roles: the
/// comment on a database is in its owner's hand, the tenant's.
fn refuse_foreign(server: &str, plan: &TenantPlan, state: &State) -> Result<(), ProviderError> {
    let marker = plan.marker();
    let taken = |kind, name: &str, found: Option<&String>| ProviderError::NameTaken {
        server: server.to_owned(),
        kind,
        name: name.to_owned(),
        marker: found
            .and_then(|text| text.strip_prefix("domicile:"))
            .map(str::to_owned),
    };
    if let Some(found) = &state.database
        && (found.owner != plan.database.owner() || found.owner_marker.as_ref() != Some(&marker))
    {
        let told = found.owner_marker.as_ref().or(found.comment.as_ref());
        return Err(taken("database", plan.database.as_str(), told));
    }
    for (name, role) in &state.roles {
        if role.marker.as_ref() != Some(&marker) {
            return Err(taken("role", name, role.marker.as_ref()));
        }
    }
    if state
        .database
        .as_ref()
        .is_some_and(|found| found.half_dropped)
    {
        let database = plan.database.to_string();
        return Err(ProviderError::HalfDropped {
            server: server.to_owned(),
            database,
        });
    }
    Ok(())
}

fn roles(plan: &TenantPlan, state: &State) -> Vec<Change> {
    let (owner, reader) = (plan.database.owner(), plan.database.reader());
    let mut changes = Vec::new();
    for group in [&owner, &reader] {
        if !state.roles.contains_key(group) {
            create(&mut changes, plan, group, "NOLOGIN");
        }
    }
    if state.roles.get(&owner).is_none_or(|role| !role.ours_to_use) {
        // Making a database for the owner, and working in it, needs the owner's rights.
        changes.push(Change::new(
            format!("Domicile's login was no member of role {owner}"),
            joined(&owner, state.major),
        ));
    }
    if let Some(role) = state.roles.get(&owner) {
        changes.extend(owner_login(plan, role));
    }
    for (access, slot, name) in logins(&plan.database) {
        let role = state.roles.get(&name);
        let open = role.is_some_and(|role| role.can_log_in || role.credentialed);
        if open && !plan.opens(access, slot) {
            changes.push(Change::new(
                format!("login {name} was open and is not in use"),
                format!("ALTER ROLE {} {NO_CREDENTIAL}", quote_identifier(&name)),
            ));
        }
        match (plan.limit(access), role) {
            (None, _) => {}
            (Some(limit), None) => {
                let with = format!("{NO_CREDENTIAL} CONNECTION LIMIT {limit}");
                create(&mut changes, plan, &name, &with);
                let group = if access == Access::ReadWrite {
                    &owner
                } else {
                    &reader
                };
                changes.push(grant(group, &name));
            }
            (Some(limit), Some(role)) => repair(&mut changes, plan, (access, limit), &name, role),
        }
    }
    changes
}

/// An adopted owner that can log in is a member of the reader, as the tenant's logins are of their
/// groups: by that a fence that closed it is undone later. While the server takes writes, one that
/// cannot log in was closed by a person, and stays so.
fn owner_login(plan: &TenantPlan, role: &RoleState) -> Option<Change> {
    let (owner, reader) = (plan.database.owner(), plan.database.reader());
    if plan.keeps && role.can_log_in && !role.in_reader {
        return Some(grant(&reader, &owner));
    }
    (!role.can_log_in && role.reader_revocable).then(|| {
        Change::new(
            format!("role {owner} was closed, and would have been opened after a move"),
            format!(
                "REVOKE {} FROM {}",
                quote_identifier(&reader),
                quote_identifier(&owner)
            ),
        )
    })
}

fn create(changes: &mut Vec<Change>, plan: &TenantPlan, name: &str, with: &str) {
    let (role, marker) = (quote_identifier(name), quote_literal(&plan.marker()));
    changes.push(Change::several(
        format!("role {name} was not there"),
        [
            format!("CREATE ROLE {role} {with}"),
            format!("COMMENT ON ROLE {role} IS {marker}"),
        ],
    ));
}

fn repair(
    changes: &mut Vec<Change>,
    plan: &TenantPlan,
    (access, limit): (Access, u32),
    name: &str,
    role: &RoleState,
) {
    let (owner, reader) = (plan.database.owner(), plan.database.reader());
    if role.limit != i64::from(limit) {
        changes.push(Change::new(
            format!("login {name} had connection limit {}", role.limit),
            format!(
                "ALTER ROLE {} CONNECTION LIMIT {limit}",
                quote_identifier(name)
            ),
        ));
    }
    let (own, own_is, other, other_is) = match access {
        Access::ReadWrite => (&owner, role.in_owner, &reader, role.reader_revocable),
        Access::ReadOnly => (&reader, role.in_reader, &owner, role.owner_revocable),
    };
    if !own_is {
        changes.push(grant(own, name));
    }
    if other_is {
        changes.push(Change::new(
            format!("login {name} was a member of role {other}"),
            format!(
                "REVOKE {} FROM {}",
                quote_identifier(other),
                quote_identifier(name)
            ),
        ));
    }
}

fn grant(group: &str, login: &str) -> Change {
    Change::new(
        format!("login {login} was no member of role {group}"),
        format!(
            "GRANT {} TO {}",
            quote_identifier(group),
            quote_identifier(login)
        ),
    )
}

fn grants(plan: &TenantPlan, state: &State, found: &DatabaseState) -> Changes {
    let database = quote_identifier(plan.database.as_str());
    let named = &plan.database;
    // A database that takes no connections and has no comment was made a moment ago.
    let keeps = plan.keeps && (found.open || found.comment.is_some());
    let mut all = Changes::default();
    let both = |noun: String, of: String| (format!("{noun} has {of}"), format!("{noun} had {of}"));
    if found.public_has_rights {
        all.takes(
            keeps,
            both("PUBLIC".into(), format!("rights on database {named}")),
            format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC CASCADE"),
        );
    }
    for stranger in &found.strangers {
        let role = quote_identifier(stranger);
        all.takes(
            keeps,
            both(
                format!("role {stranger} of another tenant"),
                format!("rights on database {named}"),
            ),
            format!("REVOKE ALL ON DATABASE {database} FROM {role} CASCADE"),
        );
    }
    if found.comment != Some(plan.marker()) && !keeps {
        let marker = quote_literal(&plan.marker());
        all.adds(
            format!("database {named} had another comment"),
            format!("COMMENT ON DATABASE {database} IS {marker}"),
        );
    }
    logged_in(plan, state, found, &mut all);
    for relaxed in &state.relaxed {
        relaxed.taken_back(keeps, &mut all);
    }
    // Its owner may set these, and so shut Domicile out.
    let noun = format!("database {named}");
    if found.limit != -1 {
        all.takes(
            keeps,
            both(noun.clone(), format!("connection limit {}", found.limit)),
            format!("ALTER DATABASE {database} CONNECTION LIMIT -1"),
        );
    }
    if found.template {
        all.takes(
            keeps,
            (
                format!("{noun} is a template"),
                format!("{noun} was a template"),
            ),
            format!("ALTER DATABASE {database} IS_TEMPLATE false"),
        );
    }
    if !found.open {
        all.takes(
            keeps,
            (
                format!("{noun} takes no connections"),
                format!("{noun} took no connections"),
            ),
            format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
        );
    }
    all
}

/// What the tenant's logins need on the database.
fn logged_in(plan: &TenantPlan, state: &State, found: &DatabaseState, all: &mut Changes) {
    let database = quote_identifier(plan.database.as_str());
    let named = &plan.database;
    if !found.reader_connects {
        let reader = plan.database.reader();
        let quoted = quote_identifier(&reader);
        all.adds(
            format!("role {reader} had no CONNECT on database {named}"),
            format!("GRANT CONNECT ON DATABASE {database} TO {quoted}"),
        );
    }
    for (access, _, name) in logins(&plan.database) {
        let acts = state.roles.get(&name).is_none_or(|role| role.acts_as_owner);
        if access == Access::ReadWrite && !acts {
            // What a login makes then belongs to the owner, whichever slot made it.
            let (login, owner) = (
                quote_identifier(&name),
                quote_literal(&plan.database.owner()),
            );
            all.adds(
                format!("login {name} did not act as the owner of database {named}"),
                format!("ALTER ROLE {login} IN DATABASE {database} SET role = {owner}"),
            );
        }
    }
}
