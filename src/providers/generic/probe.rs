//! One read of a server: all facts from one session, in two round trips after the login.

use domicile_core::admin::SCHEMA;
use domicile_core::facts::{Facts, Heartbeat, Receiver, Role, Sender, Synchrony};
use domicile_core::health::Probe;
use domicile_core::time::Mono;
use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;

use super::Generic;
use super::authority::authority;
use super::logins::{AT_ONCE, SLOW_SINCE};
use super::sql::{RELAXES, SESSIONS, TENANTS};
use crate::error::ProviderError;
use crate::session::{Session, parsed, text, truth};

const DOING: &str = "reading the server's state";

/// Patience with a silent stream whose receiver has no timeout and so never asks for a sign of
/// life: 49 days, in milliseconds.
const ENDLESS_PATIENCE_MS: u64 = u32::MAX as u64;

/// Silence of a receiver that never had a message, in milliseconds.
const NEVER_HEARD_MS: u64 = u32::MAX as u64;

/// Most standbys that are listed.
const MAX_SENDERS: u32 = 64;

impl Generic {
    /// Reads the server. `now` is the reader's clock at this moment. Changes nothing; every way to
    /// fail is a value.
    pub async fn probe(&self, now: Mono) -> Probe {
        let began = Instant::now();
        match self.read(now, began).await {
            Ok(facts) => Probe::Answered(Box::new(facts)),
            Err(error) => Probe::Failed(error.probe_failure(), error.to_string()),
        }
    }

    async fn read(&self, now: Mono, began: Instant) -> Result<Facts, ProviderError> {
        let deadline = self.deadline();
        // With the server's own `synchronous_commit`, for that is one of the facts.
        let session = self.session(false, deadline).await?;
        let read = read_in(&session, now, began).await;
        session.close().await;
        read
    }
}

/// Reads the server in a session that is there already.
pub(super) async fn read_in(
    session: &Session,
    now: Mono,
    began: Instant,
) -> Result<Facts, ProviderError> {
    let mut results = session.query(DOING, &state_sql()).await;
    if matches!(&results, Err(ProviderError::Sql { state, .. }) if state == "55000") {
        // The server left recovery between two expressions of one statement.
        results = session.query(DOING, &state_sql()).await;
    }
    let [state, senders, rights] = shape(session, results?)?;
    let state = state.first().ok_or_else(|| session.odd(DOING, "no row"))?;
    let mut facts = facts(session, state, now)?;
    facts.senders = senders.iter().filter_map(sender).collect();
    facts.missing_rights = rights
        .iter()
        .filter_map(|row| text(row, "missing").map(str::to_owned))
        .collect();
    if truth(state, "has_tables") {
        let [row, beat] = shape(session, session.query(DOING, &tables_sql()).await?)?;
        facts.authority = row.first().and_then(authority);
        facts.heartbeat = beat.first().and_then(heartbeat);
    }
    facts.round_trip_ms = began.elapsed().as_millis() as u64;
    Ok(facts)
}

fn shape<const N: usize>(
    session: &Session,
    results: Vec<Vec<SimpleQueryRow>>,
) -> Result<[Vec<SimpleQueryRow>; N], ProviderError> {
    let given = results.len();
    results
        .try_into()
        .map_err(|_| session.odd(DOING, format!("{given} results instead of {N}")))
}

fn facts(session: &Session, row: &SimpleQueryRow, sampled: Mono) -> Result<Facts, ProviderError> {
    let absent = |column: &str| session.odd(DOING, format!("no {column}"));
    let identifier = text(row, "system_identifier").ok_or_else(|| absent("system_identifier"))?;
    Ok(Facts {
        system_identifier: identifier.to_owned(),
        major_version: session.major,
        version: session.version.clone(),
        role: if truth(row, "standby") {
            Role::Standby
        } else {
            Role::Primary
        },
        timeline: parsed(row, "timeline").ok_or_else(|| absent("timeline"))?,
        position: parsed(row, "position").unwrap_or_default(),
        recovered: parsed(row, "recovered"),
        received: parsed(row, "received"),
        receiver: receiver(row),
        senders: Vec::new(),
        synchrony: Synchrony {
            names: text(row, "synchronous_names")
                .unwrap_or_default()
                .to_owned(),
            relaxed: truth(row, "relaxed"),
        },
        authority: None,
        heartbeat: None,
        tenant_sessions: parsed(row, "tenant_sessions").ok_or_else(|| absent("sessions"))?,
        open_logins: parsed(row, "open_logins").ok_or_else(|| absent("logins"))?,
        missing_rights: Vec::new(),
        slow_logins: truth(row, "slow_logins"),
        sampled,
        round_trip_ms: 0,
    })
}

fn receiver(row: &SimpleQueryRow) -> Option<Receiver> {
    let timeline = parsed(row, "receiver_timeline")?;
    let timeout: u64 = parsed(row, "receiver_timeout_ms")?;
    let named = |column| text(row, column).filter(|name| !name.is_empty());
    let name = named("receiver_name")
        .or_else(|| named("cluster_name"))
        .unwrap_or("walreceiver");
    Some(Receiver {
        name: name.to_owned(),
        silent_ms: parsed(row, "receiver_silent_ms").unwrap_or(NEVER_HEARD_MS),
        patience_ms: if timeout == 0 {
            ENDLESS_PATIENCE_MS
        } else {
            timeout / 2
        },
        timeline,
    })
}

fn sender(row: &SimpleQueryRow) -> Option<Sender> {
    Some(Sender {
        name: text(row, "application_name")?.to_owned(),
        streaming: truth(row, "streaming"),
        synchronous: truth(row, "synchronous"),
        replayed: parsed(row, "replay_lsn"),
    })
}

fn heartbeat(row: &SimpleQueryRow) -> Option<Heartbeat> {
    Some(Heartbeat {
        sequence: parsed(row, "sequence")?,
        leader: text(row, "leader")?.to_owned(),
        at: Mono(parsed(row, "at_ms")?),
        epoch: domicile_core::facts::Epoch(parsed(row, "epoch")?),
    })
}

fn tables_sql() -> String {
    format!(
        "SELECT epoch, writable FROM {SCHEMA}.authority;
         SELECT sequence, leader, at_ms, epoch FROM {SCHEMA}.heartbeat"
    )
}

/// A commit may be acknowledged before the standby has flushed it: by the server's own setting, or
/// by one of a database or role. Domicile's own login does not commit for tenants. What a tenant
/// sets for itself speaks of its own commits alone (ADR 37). Where two standbys of different
/// addresses have the one name that commits wait for, they wait for either.
fn relaxed_sql() -> String {
    format!(
        "current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
  OR EXISTS (
    SELECT FROM pg_db_role_setting s WHERE {RELAXES}
      AND s.setrole IS DISTINCT FROM (SELECT oid FROM pg_roles WHERE rolname = session_user)
      AND s.setrole NOT IN (SELECT oid FROM domicile_roles)
      AND NOT (s.setrole = 0 AND s.setdatabase IN (SELECT oid FROM held)))
  OR EXISTS (
    SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state <> 'async'
    GROUP BY application_name HAVING count(DISTINCT coalesce(host(client_addr), '')) > 1)"
    )
}

/// Where the last record of a primary's WAL ends: all that was acknowledged lies before it, also
/// by commits that did not wait for the flush. The insert position itself lies behind the header of
/// the next page when that record fills its page, a place that no standby reaches before the next
/// record.
const WRITTEN: &str = "
  (SELECT w.next - CASE
     WHEN mod(w.next - '0/0'::pg_lsn, w.segment) = 40 THEN 40
     WHEN mod(w.next - '0/0'::pg_lsn, w.page) = 24 THEN 24
     ELSE 0 END
   FROM (SELECT pg_current_wal_insert_lsn() AS next,
           (SELECT setting::numeric FROM pg_settings WHERE name = 'wal_segment_size') AS segment,
           (SELECT setting::numeric FROM pg_settings WHERE name = 'wal_block_size') AS page) w)";

fn state_sql() -> String {
    let relaxed = relaxed_sql();
    format!(
        "WITH {TENANTS}, {SESSIONS},
recovering AS MATERIALIZED (SELECT pg_is_in_recovery() AS standby),
receiver AS (
  SELECT received_tli, conninfo, last_msg_receipt_time
  FROM pg_stat_wal_receiver WHERE status = 'streaming'
)
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
  standby,
  CASE WHEN standby
    THEN (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline)
          FROM pg_control_checkpoint() c, pg_control_recovery() r)
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
  END AS timeline,
  CASE WHEN standby THEN pg_last_wal_replay_lsn() ELSE {WRITTEN} END AS position,
  CASE WHEN NOT standby THEN pg_last_wal_replay_lsn() END AS recovered,
  CASE WHEN standby THEN pg_last_wal_receive_lsn() END AS received,
  (SELECT received_tli FROM receiver) AS receiver_timeline,
  (SELECT substring(conninfo from '(?:^| )application_name=([^ ]*)') FROM receiver)
    AS receiver_name,
  (SELECT greatest(0, extract(epoch FROM clock_timestamp() - last_msg_receipt_time) * 1000)::bigint
   FROM receiver) AS receiver_silent_ms,
  (SELECT setting FROM pg_settings WHERE name = 'wal_receiver_timeout') AS receiver_timeout_ms,
  current_setting('cluster_name') AS cluster_name,
  current_setting('synchronous_standby_names') AS synchronous_names,
  ({relaxed}) AS relaxed,
  (SELECT count(*) FROM sessions) AS tenant_sessions,
  (SELECT count(*) FROM domicile_roles WHERE rolcanlogin) AS open_logins,
  current_setting('server_version_num')::integer >= {SLOW_SINCE}0000 AND NOT {AT_ONCE}
    AS slow_logins,
  (SELECT count(*) = 2 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = '{SCHEMA}' AND c.relname IN ('authority', 'heartbeat')
     AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
    AS has_tables
FROM recovering;
SELECT application_name, state = 'streaming' AS streaming, sync_state = 'sync' AS synchronous,
  replay_lsn
FROM pg_stat_replication ORDER BY application_name, pid LIMIT {MAX_SENDERS};
{}",
        rights_sql()
    )
}

/// The rights of `core::admin::admin_sql` that the login lacks.
fn rights_sql() -> String {
    format!(
        "SELECT missing FROM (VALUES
  ('CREATEDB', (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = session_user)),
  ('CREATEROLE', (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = session_user)),
  ('member of pg_monitor', pg_has_role('pg_monitor', 'USAGE')),
  ('member of pg_signal_backend', pg_has_role('pg_signal_backend', 'USAGE')),
  ('EXECUTE on pg_promote', has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE')),
  ('EXECUTE on pg_reload_conf', has_function_privilege('pg_reload_conf()', 'EXECUTE')),
  ('ALTER SYSTEM on synchronous_standby_names',
    has_parameter_privilege('synchronous_standby_names', 'ALTER SYSTEM')),
  ('CREATE on schema {SCHEMA}', coalesce((
    SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE')
    FROM pg_namespace WHERE nspname = '{SCHEMA}'), false)),
  ('UPDATE on the tables of schema {SCHEMA}', NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '{SCHEMA}' AND c.relname IN ('authority', 'heartbeat')
      AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'UPDATE'))))
) AS wanted(missing, held) WHERE NOT held ORDER BY missing"
    )
}
