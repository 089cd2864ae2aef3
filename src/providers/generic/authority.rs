//! Who may write: the `domicile.authority` row, and the effects that are conditional on it.

use std::time::Duration;

use domicile_core::admin::SCHEMA;
use domicile_core::facts::{Authority, Epoch, Heartbeat};
use domicile_core::names::quote_literal;
use tokio::time::interval;
use tokio_postgres::SimpleQueryRow;

use super::sql::{SESSIONS, TENANTS};
use super::{Generic, logins};
use crate::applied::Applied;
use crate::error::{Class, ProviderError};
use crate::session::{HELD_UP, Session, parsed, text, truth};

/// Between two looks at what is left to end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks in a row that must find no session: a login that had passed the check of `rolcanlogin`
/// when the fence was set shows up at the second look.
const QUIET_LOOKS: u32 = 2;

/// Where a fence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced {
    /// Whether the row or a login had to be changed.
    pub applied: Applied,
    /// Sessions of tenants that were still there when the deadline came; 0 is the proof. Sessions
    /// of superusers are not counted.
    pub sessions_left: u32,
}

impl Generic {
    /// Makes Domicile's own tables on a primary, with the row (epoch 0, writable).
    pub async fn ensure_tables(&self) -> Result<Applied, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let applied = if read_authority(&session).await?.is_some() {
            Applied::Already
        } else {
            make_tables(&session).await?;
            Applied::Done
        };
        session.close().await;
        Ok(applied)
    }

    /// Takes the right to write from every tenant: the row becomes (`epoch`, false) and no login of
    /// a tenant can log in, since what a tenant itself granted to its read-only one is not known.
    /// Sessions go on until [`Generic::fence`].
    ///
    /// # Errors
    /// `Stale` when the server is at a newer epoch.
    pub async fn drain(&self, epoch: Epoch) -> Result<Applied, ProviderError> {
        let deadline = self.deadline();
        let session = self.effects(deadline).await?;
        let applied = loop {
            match shut(&session, epoch).await {
                // One tenant must not hold up the others' move.
                Err(error) if held_up(&error) => self.release_roles(&session, deadline).await?,
                other => break other?,
            }
        };
        session.close().await;
        Ok(applied)
    }

    /// Drains, then ends every session of tenants until none is left or the deadline comes.
    ///
    /// # Errors
    /// `Stale` when the server is at a newer epoch.
    pub async fn fence(&self, epoch: Epoch) -> Result<Fenced, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let fenced = self.fence_in(&session, epoch).await?;
        session.close().await;
        Ok(fenced)
    }

    /// Gives tenants the right to write under `epoch`: the row becomes (`epoch`, true) and the
    /// logins that have a credential can log in.
    ///
    /// # Errors
    /// `Stale` when the server is at a newer epoch.
    pub async fn take_authority(&self, epoch: Epoch) -> Result<Applied, ProviderError> {
        let deadline = self.deadline();
        let session = self.effects(deadline).await?;
        let applied = loop {
            match open(&session, epoch).await {
                Err(error) if held_up(&error) => self.release_roles(&session, deadline).await?,
                other => break other?,
            }
        };
        session.close().await;
        Ok(applied)
    }

    /// A fence in a session that is there already.
    pub(super) async fn fence_in(
        &self,
        session: &Session,
        epoch: Epoch,
    ) -> Result<Fenced, ProviderError> {
        let applied = loop {
            match shut(session, epoch).await {
                // A tenant that changes its own role, and whose commit waits for a cut standby,
                // holds the lock that is needed; ending it frees that.
                Err(error) if held_up(&error) => {
                    confirm(session, epoch).await?;
                    if end_sessions(session).await? == 0 {
                        self.release_roles(session, session.deadline).await?;
                    }
                }
                other => break other?,
            }
        };
        let sessions_left = end_all_sessions(session).await?;
        Ok(Fenced {
            applied,
            sessions_left,
        })
    }

    /// Writes a heartbeat.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly the beat's epoch.
    pub async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), ProviderError> {
        let doing = "writing a heartbeat";
        let session = self.effects(self.deadline()).await?;
        confirm(&session, beat.epoch).await?;
        lock(&session, beat.epoch, Need::Writable).await?;
        session
            .run(doing, &format!("{}; COMMIT", beat_sql(beat)))
            .await?;
        session.close().await;
        Ok(())
    }
}

/// Whether somebody else's lock, or a like thing that ends by itself, is in the way.
pub(super) fn held_up(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Sql { .. }) && error.class() == Class::Transient
}

/// What the row must say for an effect to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Not a newer epoch than the caller's.
    NotNewer,
    /// Exactly the caller's epoch, and writable.
    Writable,
}

/// Begins a transaction and locks the row in it, so that no other effect happens until its end.
/// From then on it waits for nobody's locks for long: everybody else waits for it.
pub(super) async fn lock(
    session: &Session,
    epoch: Epoch,
    need: Need,
) -> Result<Authority, ProviderError> {
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;
         SELECT epoch, writable FROM {SCHEMA}.authority FOR UPDATE;
         SET LOCAL lock_timeout = {}",
        HELD_UP.as_millis()
    );
    let results = session.query("locking the authority row", &sql).await?;
    let found = results.iter().flatten().find_map(authority);
    let checked = check(session, found, epoch, need);
    if checked.is_err() {
        roll_back(session).await;
    }
    checked
}

/// Ends a transaction that came to nothing. When even that fails, the session's end does it.
pub(super) async fn roll_back(session: &Session) {
    drop(session.run("releasing the authority row", "ROLLBACK").await);
}

/// Whether the row lets the caller go on. Reads nothing.
pub(super) fn check(
    session: &Session,
    found: Option<Authority>,
    presented: Epoch,
    need: Need,
) -> Result<Authority, ProviderError> {
    let server = || session.server.clone();
    match found {
        Some(row) if row.epoch > presented => Err(ProviderError::Stale {
            server: server(),
            found: row.epoch,
            presented,
        }),
        Some(row) if need == Need::NotNewer || (row.writable && row.epoch == presented) => Ok(row),
        found => Err(ProviderError::NotWritable {
            server: server(),
            found,
            presented,
        }),
    }
}

/// The row as it is, without a lock; absent before the tables are made.
pub(super) async fn read_authority(session: &Session) -> Result<Option<Authority>, ProviderError> {
    let doing = "reading the authority row";
    let there = format!("SELECT to_regclass('{SCHEMA}.authority') IS NOT NULL AS there");
    let there = session
        .rows(doing, &there)
        .await?
        .first()
        .is_some_and(|row| truth(row, "there"));
    if !there {
        return Ok(None);
    }
    let sql = format!("SELECT epoch, writable FROM {SCHEMA}.authority");
    Ok(session.rows(doing, &sql).await?.first().and_then(authority))
}

/// The row of a primary, made if it is missing; refused when it is newer than `epoch`. No lock.
pub(super) async fn confirm(session: &Session, epoch: Epoch) -> Result<Authority, ProviderError> {
    let doing = "changing what may be written";
    let rows = session
        .rows(doing, "SELECT pg_is_in_recovery() AS standby")
        .await?;
    if rows.first().is_none_or(|row| truth(row, "standby")) {
        return Err(ProviderError::NotPrimary {
            server: session.server.clone(),
            doing,
        });
    }
    let mut found = read_authority(session).await?;
    if found.is_none() {
        make_tables(session).await?;
        found = read_authority(session).await?;
    }
    check(session, found, epoch, Need::NotNewer)
}

pub(super) fn authority(row: &SimpleQueryRow) -> Option<Authority> {
    let epoch = Epoch(parsed(row, "epoch")?);
    Some(Authority {
        epoch,
        writable: truth(row, "writable"),
    })
}

async fn make_tables(session: &Session) -> Result<(), ProviderError> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {SCHEMA}.authority (
           id boolean PRIMARY KEY CHECK (id), epoch bigint NOT NULL, writable boolean NOT NULL);
         CREATE TABLE IF NOT EXISTS {SCHEMA}.heartbeat (
           id boolean PRIMARY KEY CHECK (id), sequence bigint NOT NULL, leader text NOT NULL,
           at_ms bigint NOT NULL, epoch bigint NOT NULL);
         INSERT INTO {SCHEMA}.authority VALUES (true, 0, true) ON CONFLICT DO NOTHING"
    );
    session.run("making the tables of Domicile", &sql).await
}

pub(super) fn beat_sql(beat: &Heartbeat) -> String {
    let Heartbeat {
        sequence,
        leader,
        at,
        epoch,
    } = beat;
    let (leader, at) = (quote_literal(leader), at.0 as i64);
    format!(
        "INSERT INTO {SCHEMA}.heartbeat AS h (id, sequence, leader, at_ms, epoch)
         VALUES (true, {sequence}, {leader}, {at}, {epoch})
         ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence,
           leader = excluded.leader, at_ms = excluded.at_ms, epoch = excluded.epoch"
    )
}

pub(super) fn set_row(row: Authority) -> String {
    let Authority { epoch, writable } = row;
    format!(
        "UPDATE {SCHEMA}.authority SET epoch = {epoch}, writable = {writable}
         WHERE (epoch, writable) IS DISTINCT FROM ({epoch}, {writable})"
    )
}

async fn open(session: &Session, epoch: Epoch) -> Result<Applied, ProviderError> {
    let doing = "giving the right to write";
    let wanted = Authority {
        epoch,
        writable: true,
    };
    let closed = format!(
        "WITH {TENANTS} SELECT rolname FROM logins
         WHERE NOT rolcanlogin AND credentialed ORDER BY rolname"
    );
    let found = confirm(session, epoch).await?;
    if found == wanted && session.rows(doing, &closed).await?.is_empty() {
        return Ok(Applied::Already);
    }
    set(session, (doing, &closed), wanted).await
}

async fn shut(session: &Session, epoch: Epoch) -> Result<Applied, ProviderError> {
    let doing = "taking the right to write";
    let wanted = Authority {
        epoch,
        writable: false,
    };
    let open =
        format!("WITH {TENANTS} SELECT rolname FROM domicile_roles WHERE rolcanlogin ORDER BY 1");
    let found = confirm(session, epoch).await?;
    if found == wanted && session.rows(doing, &open).await?.is_empty() {
        return Ok(Applied::Already);
    }
    set(session, (doing, &open), wanted).await
}

/// Sets the row, and the logins as it says, in one transaction.
async fn set(
    session: &Session,
    (doing, logins): (&'static str, &str),
    wanted: Authority,
) -> Result<Applied, ProviderError> {
    let attempt = async {
        lock(session, wanted.epoch, Need::NotNewer).await?;
        session.run(doing, &set_row(wanted)).await?;
        let rows = session.rows(doing, logins).await?;
        let names: Vec<&str> = rows.iter().filter_map(|row| text(row, "rolname")).collect();
        let mut left = logins::set(session, doing, &names, wanted.writable).await?;
        left.push("COMMIT".into());
        session.run(doing, &left.join("; ")).await
    };
    if let Err(error) = attempt.await {
        roll_back(session).await;
        return Err(error);
    }
    Ok(Applied::Done)
}

/// Ends the sessions of tenants until two looks in a row find none. Terminated, never cancelled: a
/// cancelled commit that waits for a standby is reported to the client as done.
async fn end_all_sessions(session: &Session) -> Result<u32, ProviderError> {
    let mut pace = interval(LOOK_AGAIN);
    let mut quiet = 0;
    loop {
        pace.tick().await;
        let left = end_sessions(session).await?;
        quiet = if left == 0 { quiet + 1 } else { 0 };
        if quiet >= QUIET_LOOKS {
            return Ok(0);
        }
        if tokio::time::Instant::now() + 2 * LOOK_AGAIN >= session.deadline {
            return Ok(left.max(1));
        }
    }
}

/// Tells every session of a tenant to end, and how many there were.
async fn end_sessions(session: &Session) -> Result<u32, ProviderError> {
    let sql = format!(
        "WITH {TENANTS}, {SESSIONS} SELECT count(pg_terminate_backend(pid)) AS told FROM sessions"
    );
    let rows = session.rows("ending the sessions of tenants", &sql).await?;
    rows.first()
        .and_then(|row| parsed(row, "told"))
        .ok_or_else(|| session.odd("ending the sessions of tenants", "no count"))
}
