//! What keeps a database from being dropped, sessions of others apart.

use std::fmt;
use std::time::Duration;

use domicile_core::names::{quote_identifier, quote_literal};

use super::TenantPlan;
use crate::error::ProviderError;
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

/// Looks for what is in the way. A slot that nobody is fed from goes with the database.
pub(super) async fn look(
    session: &Session,
    plan: &TenantPlan,
) -> Result<Vec<Blocker>, ProviderError> {
    let doing = "looking for what blocks a drop";
    let database = quote_literal(plan.database.as_str());
    let sql = format!(
        "SELECT * FROM (
  SELECT 'transaction' AS kind, gid AS name, owner::text AS holder, NULL::text AS slot
  FROM pg_prepared_xacts WHERE database = {database}
  UNION ALL
  SELECT 'subscription', s.subname, r.rolname, s.subslotname::text
  FROM pg_subscription s
  JOIN pg_database d ON d.oid = s.subdbid JOIN pg_roles r ON r.oid = s.subowner
  WHERE d.datname = {database}
  UNION ALL
  SELECT CASE WHEN u.rolsuper THEN 'superslot' ELSE 'slot' END, s.slot_name,
    coalesce(u.rolname, ''), NULL
  FROM pg_replication_slots s
  LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid LEFT JOIN pg_roles u ON u.oid = a.usesysid
  WHERE s.database = {database} AND s.active
  UNION ALL
  SELECT 'session', a.pid::text, u.rolname, NULL
  FROM pg_stat_activity a JOIN pg_roles u ON u.oid = a.usesysid
  WHERE a.datname = {database} AND u.rolsuper AND a.backend_type = 'client backend'
) AS blockers ORDER BY kind, name LIMIT {LIMIT}"
    );
    let rows = session.rows(doing, &sql).await?;
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
            slot: text(row, "slot").map(str::to_owned),
        })
    };
    Ok(rows.iter().filter_map(blocker).collect())
}

/// Statements that end it, each by itself, run inside the database as its holder.
pub(super) fn freed(blocker: &Blocker) -> Vec<String> {
    let name = quote_identifier(&blocker.name);
    match blocker.kind {
        Kind::Transaction => {
            vec![format!(
                "ROLLBACK PREPARED {}",
                quote_literal(&blocker.name)
            )]
        }
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
