//! The effects on one tenant, each conditional on the authority row.

use std::collections::BTreeMap;

use domicile_core::facts::Epoch;
use domicile_core::names::{Access, DatabaseName, Slot, quote_literal};
use secrecy::SecretString;
use tokio::time::Instant;

use super::change::{Change, Changes, script, told};
use super::extensions::{missing, read_offers};
use super::inside::{inside, read_inside};
use super::plan::{Next, closed, kept, opened, outside, set_password};
use super::state::{State, read};
use super::{HeldTenant, Login, Settled, Standing, TenantPlan, logins};
use crate::applied::Applied;
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::generic::authority::{Need, check, confirm, lock, roll_back};
use crate::generic::sql::TENANTS;
use crate::scram::Verifier;
use crate::session::{Identity, Session, parsed, text, truth};

/// Rounds of look and change until a tenant must be settled; it takes three from nothing.
const MAX_ROUNDS: u32 = 8;

impl Generic {
    /// Makes the tenant as planned, or what is missing of it; a settled tenant costs no write. A
    /// verifier is set only on a login that has no password yet: for another password, see
    /// [`Generic::set_passwords`]. Whatever moment it is interrupted at, the next call completes
    /// it, and before that nobody but the tenant's own logins can ever connect.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`; `NameTaken`
    /// when the database or a role of its names has another marker or none; `NoDatabase` when
    /// there is no database and the plan `makes` none.
    pub async fn ensure_tenant(
        &self,
        plan: &TenantPlan,
        epoch: Epoch,
        verifiers: &BTreeMap<(Access, Slot), Verifier>,
    ) -> Result<Settled, ProviderError> {
        let deadline = self.deadline();
        let session = self.effects(deadline).await?;
        let row = confirm(&session, epoch).await?;
        check(&session, Some(row), epoch, Need::Writable)?;
        let mut settled = Settled::default();
        self.settle_outside(&session, (plan, epoch), deadline, &mut settled)
            .await?;
        self.settle_inside(&session, (plan, epoch), deadline, &mut settled)
            .await?;
        let state = read(&session, plan).await?;
        let shut = [Slot::A, Slot::B].into_iter();
        settled.shut = shut
            .filter(|slot| closed(plan, *slot, &state).is_empty())
            .collect();
        if !opened(plan, &state, verifiers).is_empty() {
            let doing = "opening a tenant's logins";
            lock(&session, epoch, Need::Writable).await?;
            let changes = opened(plan, &read(&session, plan).await?, verifiers);
            session.run(doing, &committed(&changes)).await?;
            settled.mend(told(&changes));
            let given = |shut: &Slot| verifiers.keys().any(|(_, slot)| slot == shut);
            settled.shut.retain(|slot| !given(slot));
        }
        session.close().await;
        Ok(settled)
    }

    /// Sets the passwords of logins of one slot and opens them, all or none.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`; `Missing` or
    /// `NameTaken` when a login is not there or not the tenant's.
    pub async fn set_passwords(
        &self,
        plan: &TenantPlan,
        slot: Slot,
        verifiers: &[(Access, Verifier)],
        epoch: Epoch,
    ) -> Result<(), ProviderError> {
        let session = self.effects(self.deadline()).await?;
        confirm(&session, epoch).await?;
        lock(&session, epoch, Need::Writable).await?;
        let state = read(&session, plan).await?;
        let mut sql = Vec::new();
        for (access, verifier) in verifiers {
            let login = plan.database.login(*access, slot);
            own(&session, plan, &state, &login)?;
            sql.push(set_password(&login, verifier));
        }
        sql.push("COMMIT".into());
        let doing = "setting a tenant's passwords";
        session.run(doing, &sql.join("; ")).await?;
        session.close().await;
        Ok(())
    }

    /// Closes the logins of a slot, as far as they carry the tenant's marker, and takes their
    /// passwords. Nothing else of the tenant is looked at.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`.
    pub async fn close_logins(
        &self,
        plan: &TenantPlan,
        slot: Slot,
        epoch: Epoch,
    ) -> Result<Applied, ProviderError> {
        let doing = "closing a tenant's logins";
        let session = self.effects(self.deadline()).await?;
        let row = confirm(&session, epoch).await?;
        check(&session, Some(row), epoch, Need::Writable)?;
        let mut applied = Applied::Already;
        if !closed(plan, slot, &read(&session, plan).await?).is_empty() {
            lock(&session, epoch, Need::Writable).await?;
            let mut sql = closed(plan, slot, &read(&session, plan).await?);
            sql.push("COMMIT".into());
            session.run(doing, &sql.join("; ")).await?;
            applied = Applied::Done;
        }
        session.close().await;
        Ok(applied)
    }

    /// How many sessions the logins of a slot hold on this server.
    ///
    /// # Errors
    /// What keeps the server from answering.
    pub async fn sessions(&self, plan: &TenantPlan, slot: Slot) -> Result<u64, ProviderError> {
        let doing = "counting a tenant's sessions";
        let session = self.effects(self.deadline()).await?;
        let rows = session.rows(doing, &sessions_sql(plan, slot)).await?;
        let held = rows.first().and_then(|row| parsed(row, "held"));
        let held = held.ok_or_else(|| session.odd(doing, "no number"))?;
        session.close().await;
        Ok(held)
    }

    /// Logs in as a tenant would, with its own user and password, and asks one question.
    ///
    /// # Errors
    /// `Connect` with `CredentialsDenied` when the server refuses user or password.
    pub async fn can_log_in(
        &self,
        database: &DatabaseName,
        username: &str,
        password: &SecretString,
    ) -> Result<Login, ProviderError> {
        let database = database.as_str();
        let who = Identity {
            database,
            username,
            password,
            role: None,
            local_commit: false,
            hosted: None,
        };
        let deadline = self.deadline();
        let session = Session::open(&self.connector, &who, self.limit, deadline).await?;
        let sql = "SELECT NOT pg_is_in_recovery() AS writable";
        let rows = session.rows("asking as the tenant", sql).await?;
        let writable = rows.first().is_some_and(|row| truth(row, "writable"));
        session.close().await;
        Ok(Login { writable })
    }

    /// Whether a login holds as many sessions as it may, and the server takes writes: a further one
    /// is refused, though only after its password was accepted.
    ///
    /// # Errors
    /// What keeps the server from answering.
    pub async fn is_full(&self, login: &str) -> Result<bool, ProviderError> {
        let doing = "counting a login's sessions";
        let session = self.effects(self.deadline()).await?;
        let rows = session.rows(doing, &full_sql(login)).await?;
        session.close().await;
        Ok(rows.first().is_some_and(|row| truth(row, "is_full")))
    }

    /// The databases that Domicile made on this server, with the UIDs of their placements.
    pub async fn tenants(&self) -> Result<Vec<HeldTenant>, ProviderError> {
        let doing = "listing tenants";
        let session = self.effects(self.deadline()).await?;
        let sql = format!("WITH {TENANTS} SELECT datname, uid FROM held ORDER BY datname");
        let rows = session.rows(doing, &sql).await?;
        let column = |row, name| text(row, name).unwrap_or_default().to_owned();
        let held = rows.iter().map(|row| HeldTenant {
            database: column(row, "datname"),
            uid: column(row, "uid"),
        });
        let held = held.collect();
        session.close().await;
        Ok(held)
    }

    /// What stands on this server under the name of a database, whoever made it.
    ///
    /// # Errors
    /// What keeps the server from answering.
    pub async fn standing(&self, database: &DatabaseName) -> Result<Standing, ProviderError> {
        let doing = "looking for a database";
        let session = self.effects(self.deadline()).await?;
        let rows = session.rows(doing, &standing_sql(database)).await?;
        session.close().await;
        Ok(match rows.first() {
            None => Standing::Absent,
            Some(row) => {
                text(row, "uid").map_or(Standing::Unmarked, |uid| Standing::Marked(uid.to_owned()))
            }
        })
    }

    async fn settle_outside(
        &self,
        session: &Session,
        (plan, epoch): (&TenantPlan, Epoch),
        deadline: Instant,
        settled: &mut Settled,
    ) -> Result<(), ProviderError> {
        let doing = "making a tenant's roles and database";
        let server = &session.server;
        for _ in 0..MAX_ROUNDS {
            let state = read(session, plan).await?;
            if let Next::Nothing = outside(server, plan, &state)? {
                settled.left = kept(plan, &state);
                return Ok(());
            }
            lock(session, epoch, Need::Writable).await?;
            // Read again under the lock: another actor may have been here in between.
            match outside(server, plan, &read(session, plan).await?) {
                Ok(Next::Transaction(changes)) => {
                    session.run(doing, &script(&changes)).await?;
                    settled.mend(told(&changes));
                }
                Ok(Next::Alone(change)) => {
                    self.alone(doing, &script(std::slice::from_ref(&change)), deadline)
                        .await?;
                    settled.mend([change.what]);
                    settled.made = true;
                }
                Ok(Next::Nothing) => settled.applied = Applied::Done,
                Err(error) => {
                    roll_back(session).await;
                    return Err(error);
                }
            }
            session.run(doing, "COMMIT").await?;
        }
        Err(session.odd(doing, format!("\"{}\" does not settle", plan.database)))
    }

    async fn settle_inside(
        &self,
        guard: &Session,
        (plan, epoch): (&TenantPlan, Epoch),
        deadline: Instant,
        settled: &mut Settled,
    ) -> Result<(), ProviderError> {
        let doing = "granting in a tenant's database";
        // As the owner from the first moment, which is all that it needs. Nothing that a tenant
        // planted there may run in it: it could go back to the login's own rights.
        let owner = plan.database.owner();
        let session = self
            .hosted(guard, plan.database.as_str(), &owner, deadline)
            .await?;
        let found = read_inside(&session, plan).await?;
        let trapped = !found.traps.is_empty();
        let Changes { changes, left } = inside(plan, &found);
        settled.left.extend(left);
        if !changes.is_empty() {
            lock(guard, epoch, Need::Writable).await?;
            // Read again under the lock: another actor may have been here in between.
            let changes = inside(plan, &read_inside(&session, plan).await?).changes;
            session.run(doing, &script(&changes)).await?;
            guard.run(doing, "COMMIT").await?;
            settled.mend(told(&changes));
        }
        if !plan.extensions.is_empty() && !trapped {
            let offers = read_offers(&session, plan).await?;
            let (making, refused) = missing(plan, &offers);
            settled.refused = refused;
            for one in making {
                lock(guard, epoch, Need::Writable).await?;
                match self.make_extension(guard, plan, &one, deadline).await? {
                    Some(refused) => settled.refused.push(refused),
                    None => settled.mend([format!("extension {} was not there", one.extension)]),
                }
                guard.run(doing, "COMMIT").await?;
            }
        }
        session.close().await;
        Ok(())
    }

    /// Runs a statement that refuses to be in a transaction, in a session of its own, while the
    /// caller's session holds the authority row.
    pub(in crate::generic) async fn alone(
        &self,
        doing: &'static str,
        sql: &str,
        deadline: Instant,
    ) -> Result<(), ProviderError> {
        let session = self.effects(deadline).await?;
        session.run(doing, sql).await?;
        session.close().await;
        Ok(())
    }
}

/// An error unless the login is there, and the tenant's.
fn own(
    session: &Session,
    plan: &TenantPlan,
    state: &State,
    login: &str,
) -> Result<(), ProviderError> {
    let server = session.server.clone();
    let Some(role) = state.roles.get(login) else {
        let what = format!("role {login}");
        return Err(ProviderError::Missing { server, what });
    };
    if role.marker == Some(plan.marker()) {
        return Ok(());
    }
    let marker = role.marker.as_ref();
    let marker = marker.and_then(|text| text.strip_prefix("domicile:"));
    Err(ProviderError::NameTaken {
        server,
        kind: "role",
        name: login.to_owned(),
        marker: marker.map(str::to_owned),
    })
}

pub(super) fn sessions_sql(plan: &TenantPlan, slot: Slot) -> String {
    let names = logins(&plan.database).filter(|(_, of, _)| *of == slot);
    let names: Vec<_> = names.map(|(_, _, name)| quote_literal(&name)).collect();
    format!(
        "SELECT count(*) AS held FROM pg_stat_activity WHERE usename IN ({})",
        names.join(", ")
    )
}

pub(super) fn standing_sql(database: &DatabaseName) -> String {
    format!(
        "WITH {TENANTS} SELECT h.uid FROM pg_database d LEFT JOIN held h ON h.oid = d.oid \
         WHERE d.datname = {}",
        quote_literal(database.as_str())
    )
}

pub(super) fn full_sql(login: &str) -> String {
    format!(
        "SELECT rolconnlimit >= 0 AND NOT pg_is_in_recovery() AND rolconnlimit <= \
         (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid) AS is_full \
         FROM pg_roles r WHERE rolname = {}",
        quote_literal(login)
    )
}

/// The statements, and the end of the transaction that the lock began.
fn committed(changes: &[Change]) -> String {
    format!("{}; COMMIT", script(changes))
}
