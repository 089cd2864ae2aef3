//! The end of a tenant on a server: what keeps its database from being dropped is ended first.

use domicile_core::facts::Epoch;
use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::Instant;

use super::beyond::Leaving;
use super::blockers::{Blocker, Kind, LOOK_AGAIN, freed, listed, look};
use super::state::{State, read};
use super::{Dropped, TenantPlan, logins};
use crate::applied::Applied;
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::generic::authority::{Need, check, confirm, held_up, lock, roll_back};
use crate::generic::release::joined;
use crate::session::{HELD_UP, Session};

const DOING: &str = "dropping a tenant";

/// Looks at what is in the way until it must be gone, some seconds.
const MAX_LOOKS: u32 = 50;

/// Looks that a session of a superuser gets to end by itself.
const PATIENT_LOOKS: u32 = 10;

impl Generic {
    /// Drops the tenant's database, with whoever is in it, and its roles. What carries another
    /// marker, or none, is left alone. Its prepared transactions are rolled back and its
    /// subscriptions dropped before, as far as roles of the tenant hold them. In other databases
    /// its roles lose their rights and large objects; what else they own there is left alone.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`; `DropBlocked`
    /// when something of others is in the way, the roles own something beyond the database, or an
    /// event trigger could run a tenant's code in a session of Domicile's. What is in the way of
    /// the database from the beginning is found before anything is changed; an event trigger that
    /// only a subscription in it makes matter, when its logins are closed; what is in the way of
    /// taking rights back in other databases, when the database is gone and the logins are closed.
    pub async fn drop_tenant(
        &self,
        plan: &TenantPlan,
        epoch: Epoch,
    ) -> Result<Dropped, ProviderError> {
        let deadline = self.deadline();
        let guard = self.effects(deadline).await?;
        let row = confirm(&guard, epoch).await?;
        check(&guard, Some(row), epoch, Need::Writable)?;
        let mut dropped = Dropped {
            applied: Applied::Already,
            slots_left: Vec::new(),
        };
        if ours(plan, &read(&guard, plan).await?).next().is_some() {
            lock(&guard, epoch, Need::Writable).await?;
            let ended = self.end(&guard, plan, deadline).await;
            if ended.is_err() {
                roll_back(&guard).await;
            }
            dropped.slots_left = ended?;
            dropped.applied = Applied::Done;
        }
        guard.close().await;
        Ok(dropped)
    }

    /// Everything after the row is locked in `guard`, whose transaction drops the roles.
    async fn end(
        &self,
        guard: &Session,
        plan: &TenantPlan,
        deadline: Instant,
    ) -> Result<Vec<String>, ProviderError> {
        let state = read(guard, plan).await?;
        let marker = Some(plan.marker());
        let database = state.database.as_ref();
        let database = database.filter(|found| found.owner_marker == marker);
        let roles: Vec<&str> = ours(plan, &state).collect();
        let leaving = Leaving {
            roles: &roles,
            own: database.map(|_| &plan.database),
        };
        let by = self.beyond(guard, &leaving, false, deadline).await?;
        unblocked(guard, plan, &by)?;
        let mut left = Vec::new();
        if let Some(found) = database {
            if found.half_dropped {
                self.shut(guard, plan, &state, deadline).await?;
            } else {
                left = self.clear(guard, plan, &state, deadline).await?;
            }
            self.alone(DOING, &dropped(plan), deadline).await?;
        } else {
            self.shut(guard, plan, &state, deadline).await?;
        }
        // While anything names a role anywhere, it cannot be dropped.
        let leaving = Leaving {
            own: None,
            ..leaving
        };
        let by = self.beyond(guard, &leaving, true, deadline).await?;
        unblocked(guard, plan, &by)?;
        let mut sql = gone(&roles);
        sql.push("COMMIT".into());
        guard.run(DOING, &sql.join("; ")).await?;
        Ok(left)
    }

    /// Closes the tenant's roles when there is no database to clear.
    async fn shut(
        &self,
        guard: &Session,
        plan: &TenantPlan,
        state: &State,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let roles: Vec<&str> = ours(plan, state).collect();
        let join = joining(&roles, state.major).join("; ");
        self.alone(DOING, &join, deadline).await?;
        let sql = closing(&roles).join("; ");
        if let Err(error) = self.alone(DOING, &sql, deadline).await {
            if !held_up(&error) {
                return Err(error);
            }
            end_sessions(guard, plan, state).await?;
            let released = self.release_roles(guard, deadline).await;
            // What stays may be in nobody's way but another tenant's.
            if let Err(error) = self.alone(DOING, &sql, deadline).await {
                return released.and(Err(error));
            }
        }
        end_sessions(guard, plan, state).await
    }

    /// Ends what is in the way of a drop, and lets nobody in any more. Answers the replication
    /// slots that stay on other servers.
    async fn clear(
        &self,
        guard: &Session,
        plan: &TenantPlan,
        state: &State,
        deadline: Instant,
    ) -> Result<Vec<String>, ProviderError> {
        let (mut left, mut opened) = (Vec::new(), false);
        let mut pace = tokio::time::interval(LOOK_AGAIN);
        let roles: Vec<&str> = ours(plan, state).collect();
        for round in 0..MAX_LOOKS {
            let found = look(guard, plan, &roles).await?;
            let foreign = foreign(&found, plan, state);
            let ends_by_itself = found.iter().any(|b| b.kind == Kind::Session);
            if !foreign.is_empty() {
                if ends_by_itself && round < PATIENT_LOOKS {
                    pace.tick().await;
                    continue;
                }
                return Err(blocked(guard, plan, &foreign));
            }
            let held: Vec<&Blocker> = found.iter().filter(|b| b.kind != Kind::Slot).collect();
            let join = joining(&roles, state.major).join("; ");
            self.alone(DOING, &join, deadline).await?;
            let sql = [closing(&roles), gate(plan, !held.is_empty())].concat();
            let sql = sql.join("; ");
            // What the tenant itself holds locked is ended below, and then it can be closed.
            let closed = match self.alone(DOING, &sql, deadline).await {
                Err(error) if held_up(&error) => false,
                other => other.map(|()| true)?,
            };
            end_sessions(guard, plan, state).await?;
            if found.is_empty() && opened && closed {
                return Ok(left);
            }
            // At least one look comes after the last session could begin anything.
            opened = closed;
            for blocker in &held {
                left.extend(blocker.slot.clone());
                self.free(guard, plan, blocker, deadline).await?;
            }
            if held.len() < found.len() {
                pace.tick().await;
            }
        }
        let found = look(guard, plan, &roles).await?;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(blocked(guard, plan, &found))
    }

    /// Ends one thing that is in the way, as the role that holds it.
    async fn free(
        &self,
        guard: &Session,
        plan: &TenantPlan,
        blocker: &Blocker,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let within = (blocker.database.as_str(), blocker.holder.as_str());
        let session = if blocker.kind == Kind::Subscription {
            let entered = self.untrapped(guard, within, deadline).await?;
            entered.map_err(|trapped| blocked(guard, plan, &[trapped]))?
        } else {
            // No event trigger runs at the end of a prepared transaction.
            self.hosted(guard, within.0, within.1, deadline).await?
        };
        // One by one: they refuse to be part of a transaction.
        for sql in freed(blocker) {
            session.run(DOING, &sql).await?;
        }
        session.close().await;
        Ok(())
    }
}

/// The tenant's roles that are there and carry its marker; logins first.
fn ours<'a>(plan: &'a TenantPlan, state: &'a State) -> impl Iterator<Item = &'a str> {
    let marker = plan.marker();
    let groups = [plan.database.reader(), plan.database.owner()];
    let names = logins(&plan.database).map(|(_, _, login)| login);
    names.chain(groups).filter_map(move |name| {
        let (name, role) = state.roles.get_key_value(&name)?;
        (role.marker.as_ref() == Some(&marker)).then_some(name.as_str())
    })
}

/// Makes Domicile's login a member of the tenant's roles, so that it may end what they hold.
pub(super) fn joining(roles: &[&str], major: u32) -> Vec<String> {
    roles.iter().map(|name| joined(name, major)).collect()
}

/// Closes the tenant's logins. It waits for nobody's locks for long.
pub(super) fn closing(roles: &[&str]) -> Vec<String> {
    let mut statements = vec![format!("SET lock_timeout = {}", HELD_UP.as_millis())];
    let close = |name: &&str| format!("ALTER ROLE {} NOLOGIN", quote_identifier(name));
    statements.extend(roles.iter().map(close));
    statements
}

pub(super) fn dropped(plan: &TenantPlan) -> String {
    let database = quote_identifier(plan.database.as_str());
    format!("DROP DATABASE {database} WITH (FORCE)")
}

/// Ends the tenant's roles, which nothing names any more.
pub(super) fn gone(roles: &[&str]) -> Vec<String> {
    let roles = roles.iter().map(|name| quote_identifier(name));
    roles.map(|role| format!("DROP ROLE {role}")).collect()
}

/// Undoes the settings of the database that keep it from being dropped, and opens it for
/// Domicile's login alone, or for nobody: all others are closed.
pub(super) fn gate(plan: &TenantPlan, open: bool) -> Vec<String> {
    let database = quote_identifier(plan.database.as_str());
    let alter = format!("ALTER DATABASE {database} IS_TEMPLATE false ALLOW_CONNECTIONS");
    if !open {
        return vec![format!("{alter} false")];
    }
    let owner = quote_identifier(&plan.database.owner());
    vec![
        format!("{alter} true CONNECTION LIMIT -1"),
        format!("GRANT CONNECT ON DATABASE {database} TO {owner}"),
    ]
}

/// Ends all sessions in the database that Domicile's login may end, those that feed another server
/// from a replication slot too; and those of the tenant's roles elsewhere, which may hold locks on
/// the database and on roles.
async fn end_sessions(
    guard: &Session,
    plan: &TenantPlan,
    state: &State,
) -> Result<(), ProviderError> {
    let database = quote_literal(plan.database.as_str());
    let roles = listed(&ours(plan, state).collect::<Vec<_>>());
    let sql = format!(
        "SELECT count(pg_terminate_backend(a.pid))
         FROM pg_stat_activity a JOIN pg_roles u ON u.oid = a.usesysid
         WHERE (a.datname = {database} OR u.rolname = ANY ({roles}))
           AND NOT u.rolsuper AND a.pid <> pg_backend_pid()"
    );
    guard.run(DOING, &sql).await
}

/// What is in the way and belongs to others.
fn foreign(found: &[Blocker], plan: &TenantPlan, state: &State) -> Vec<String> {
    let mine = |blocker: &&Blocker| match blocker.kind {
        Kind::Transaction | Kind::Subscription => {
            ours(plan, state).any(|role| role == blocker.holder)
        }
        Kind::Slot => true,
        Kind::Session | Kind::SlotOfSuperuser => false,
    };
    let others = found.iter().filter(|blocker| !mine(blocker));
    others.map(ToString::to_string).collect()
}

/// An error when anything is in the way.
fn unblocked(guard: &Session, plan: &TenantPlan, by: &[String]) -> Result<(), ProviderError> {
    if by.is_empty() {
        return Ok(());
    }
    Err(blocked(guard, plan, by))
}

fn blocked(guard: &Session, plan: &TenantPlan, by: &[String]) -> ProviderError {
    ProviderError::DropBlocked {
        server: guard.server.clone(),
        database: plan.database.to_string(),
        by: by.join(", "),
    }
}
