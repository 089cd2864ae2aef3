//! What keeps a database from being dropped, sessions of others apart.

use std::fmt;
use std::time::Duration;

use domicile_core::names::{quote_identifier, quote_literal};

use super::TenantPlan;
use crate::error::ProviderError;
use crate::generic::release::rolled_back;
use crate::session::{Session, text};

/// Between two looks at what is in the way.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Most that are told, and ended, at once.
const LIMIT: u32 = 64;

/// Longest name that is told, in characters.
const TOLD: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A transaction that was prepared and not finished.
    Transaction,
    /// A subscription to another server.
    Subscription,
    /// A logical replication slot that another server is fed from.
    Slot,
    /// The same, by a superuser.
    SlotOfSuperuser,
    /// A session of a superuser, which only a superuser may end.
    Session,
}

/// One thing that is in the way.
#[derive(Debug, Clone)]
pub(super) struct Blocker {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The role that holds it.
    pub(super) holder: String,
    /// The database that it is in.
    pub(super) database: String,
    /// The replication slot that a subscription has on the other server.
    pub(super) slot: Option<String>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name is the tenant's own text.
        let name: String = self.name.chars().take(TOLD).collect();
        let what = match self.kind {
            Kind::Transaction => "prepared transaction",
            Kind::Subscription => "subscription",
            Kind::Slot | Kind::SlotOfSuperuser => "active replication slot",
            Kind::Session => "session with process ID",
        };
        write!(f, "{what} {name:?} of role {:?}", self.holder)
    }
}

/// Looks for what is in the way: in the database, and prepared transactions of `roles` anywhere. A
/// slot that nobody is fed from goes with the database.
pub(super) async fn look(
    session: &Session,
    plan: &TenantPlan,
    roles: &[&str],
) -> Result<Vec<Blocker>, ProviderError> {
    let doing = "looking for what blocks a drop";
    let rows = session.rows(doing, &looking(plan, roles)).await?;
    let column = |row, name| text(row, name).unwrap_or_default().to_owned();
    let blocker = |row| {
        Some(Blocker {
            kind: match text(row, "kind")? {
                "transaction" => Kind::Transaction,
                "subscription" => Kind::Subscription,
                "slot" => Kind::Slot,
                "superslot" => Kind::SlotOfSuperuser,
                _ => Kind::Session,
            },
            name: column(row, "name"),
            holder: column(row, "holder"),
            database: column(row, "database"),
            slot: text(row, "slot").map(str::to_owned),
        })
    };
    Ok(rows.iter().filter_map(blocker).collect())
}

pub(super) fn looking(plan: &TenantPlan, roles: &[&str]) -> String {
    let database = quote_literal(plan.database.as_str());
    let roles = listed(roles);
    format!(
        "SELECT * FROM (
  SELECT 'transaction' AS kind, gid AS name, owner::text AS holder, database::text,
    NULL::text AS slot
  FROM pg_prepared_xacts WHERE database = {database} OR owner::text = ANY ({roles})
  UNION ALL
  SELECT 'subscription', s.subname, r.rolname, d.datname, s.subslotname::text
  FROM pg_subscription s
  JOIN pg_database d ON d.oid = s.subdbid JOIN pg_roles r ON r.oid = s.subowner
  WHERE d.datname = {database}
  UNION ALL
  SELECT CASE WHEN u.rolsuper THEN 'superslot' ELSE 'slot' END, s.slot_name,
    coalesce(u.rolname, ''), s.database, NULL
  FROM pg_replication_slots s
  LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid LEFT JOIN pg_roles u ON u.oid = a.usesysid
  WHERE s.database = {database} AND s.active
  UNION ALL
  SELECT 'session', a.pid::text, u.rolname, a.datname, NULL
  FROM pg_stat_activity a JOIN pg_roles u ON u.oid = a.usesysid
  WHERE a.datname = {database} AND u.rolsuper AND a.backend_type = 'client backend'
) AS blockers ORDER BY kind, name LIMIT {LIMIT}"
    )
}

/// Names as an array of texts.
pub(super) fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| quote_literal(name)).collect();
    format!("ARRAY[{}]::text[]", names.join(", "))
}

/// Statements that end it, each by itself, run inside the database as its holder.
pub(super) fn freed(blocker: &Blocker) -> Vec<String> {
    let name = quote_identifier(&blocker.name);
    match blocker.kind {
        Kind::Transaction => vec![rolled_back(&blocker.name)],
        // Without its slot: the other server may be gone, or keep the answer back for ever.
        Kind::Subscription => vec![
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            // A drop asks the other server about tables that are not copied yet, and would wait for
            // one that keeps silent: it finds nobody here.
            format!("ALTER SUBSCRIPTION {name} CONNECTION 'host=/nowhere user=x password=x'"),
            format!("DROP SUBSCRIPTION {name}"),
        ],
        Kind::Slot | Kind::SlotOfSuperuser | Kind::Session => Vec::new(),
    }
}
