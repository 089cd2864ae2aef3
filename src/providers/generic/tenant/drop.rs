//! The end of a tenant on a server: what keeps its database from being dropped is ended first.

use domicile_core::facts::Epoch;
use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::Instant;

use super::blockers::{Blocker, Kind, LOOK_AGAIN, freed, look};
use super::state::{State, read};
use super::{Dropped, TenantPlan, logins};
use crate::applied::Applied;
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::generic::authority::{Need, check, confirm, lock, roll_back};
use crate::session::Session;

const DOING: &str = "dropping a tenant";

/// Looks at what is in the way until it must be gone, some seconds.
const MAX_LOOKS: u32 = 50;

/// Looks that a session of a superuser gets to end by itself.
const PATIENT_LOOKS: u32 = 10;

impl Generic {
    /// Drops the tenant's database, with whoever is in it, and its roles. What carries another
    /// marker, or none, is left alone. Its prepared transactions are rolled back and its
    /// subscriptions dropped before, as far as roles of the tenant hold them.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`; `DropBlocked`
    /// when something of others is in the way. When that was so from the beginning, nothing was
    /// changed.
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
        let mut left = Vec::new();
        if let Some(found) = database.filter(|found| found.owner_marker == marker) {
            if found.half_dropped {
                self.alone(DOING, &closing(plan, &state), deadline).await?;
            } else {
                left = self.clear(guard, plan, &state, deadline).await?;
            }
            let database = quote_identifier(plan.database.as_str());
            let sql = format!("DROP DATABASE {database} WITH (FORCE)");
            self.alone(DOING, &sql, deadline).await?;
        } else {
            self.alone(DOING, &closing(plan, &state), deadline).await?;
        }
        // What a tenant made in the maintenance database, such as a large object, goes with it.
        let roles = ours(plan, &state).map(quote_identifier);
        let mut sql: Vec<String> = roles
            .map(|role| format!("DROP OWNED BY {role}; DROP ROLE {role}"))
            .collect();
        sql.push("COMMIT".into());
        guard.run(DOING, &sql.join("; ")).await?;
        Ok(left)
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
        for round in 0..MAX_LOOKS {
            let found = look(guard, plan).await?;
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
            let sql = [closing(plan, state), gate(plan, !held.is_empty())].join("; ");
            self.alone(DOING, &sql, deadline).await?;
            end_sessions(guard, plan).await?;
            if found.is_empty() && opened {
                return Ok(left);
            }
            // At least one look comes after the last session could begin anything.
            opened = true;
            for blocker in &held {
                left.extend(blocker.slot.clone());
                self.free(plan, blocker, deadline).await?;
            }
            if held.len() < found.len() {
                pace.tick().await;
            }
        }
        let found = look(guard, plan).await?;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(blocked(guard, plan, &found))
    }

    /// Ends one thing that is in the way, as the role that holds it.
    async fn free(
        &self,
        plan: &TenantPlan,
        blocker: &Blocker,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let (database, role) = (plan.database.as_str(), &blocker.holder);
        let session = self.session(database, role, true, deadline).await?;
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

/// Closes the tenant's logins, and makes Domicile's login a member of its roles, so that it may end
/// what they hold.
fn closing(plan: &TenantPlan, state: &State) -> String {
    let with = if state.major >= 16 {
        " WITH INHERIT TRUE, SET TRUE"
    } else {
        ""
    };
    let statements = ours(plan, state).map(|name| {
        let role = quote_identifier(name);
        format!("ALTER ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER{with}")
    });
    statements.collect::<Vec<_>>().join("; ")
}

/// Undoes the settings of the database that keep it from being dropped, and opens it for
/// Domicile's login alone, or for nobody: all others are closed.
fn gate(plan: &TenantPlan, open: bool) -> String {
    let database = quote_identifier(plan.database.as_str());
    if !open {
        return format!("ALTER DATABASE {database} IS_TEMPLATE false ALLOW_CONNECTIONS false");
    }
    let owner = quote_identifier(&plan.database.owner());
    format!(
        "ALTER DATABASE {database} IS_TEMPLATE false ALLOW_CONNECTIONS true CONNECTION LIMIT -1; \
         GRANT CONNECT ON DATABASE {database} TO {owner}"
    )
}

/// Ends all sessions in the database that Domicile's login may end, those that feed another server
/// from a replication slot too.
async fn end_sessions(guard: &Session, plan: &TenantPlan) -> Result<(), ProviderError> {
    let database = quote_literal(plan.database.as_str());
    let sql = format!(
        "SELECT count(pg_terminate_backend(a.pid))
         FROM pg_stat_activity a JOIN pg_roles u ON u.oid = a.usesysid
         WHERE a.datname = {database} AND NOT u.rolsuper AND a.pid <> pg_backend_pid()"
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

fn blocked(guard: &Session, plan: &TenantPlan, by: &[String]) -> ProviderError {
    ProviderError::DropBlocked {
        server: guard.server.clone(),
        database: plan.database.to_string(),
        by: by.join(", "),
    }
}
