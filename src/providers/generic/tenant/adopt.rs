//! Taking over a database that somebody else made. Two people agree: the placement asks for it, and
//! an administrator of the server names that placement in a comment on the owner's role.

use domicile_core::facts::Epoch;
use domicile_core::names::{quote_identifier, quote_literal};
use tokio_postgres::SimpleQueryRow;

use super::beyond::RIGHTS;
use super::{TenantPlan, logins};
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::generic::authority::{Need, check, confirm, lock, roll_back};
use crate::generic::release::joined;
use crate::session::{Session, parsed, text, truth};

const DOING: &str = "adopting a database";

/// Most logins that are named.
const MAX_LOGINS: u32 = 8;

/// What became of an adoption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// Database and owner carry the mark of the placement.
    Done,
    /// Nothing was changed: a person has to act first.
    Waits(Vec<Obstacle>),
}

/// What keeps a database from being adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The fact.
    pub fact: String,
    /// What to do about it: SQL for a superuser, or words.
    pub step: String,
    /// Logins of others that it is about. Fact and step only count them: who asks for an adoption
    /// may name any database of the server, and is not told who else is there.
    pub logins: Vec<String>,
}

impl Obstacle {
    /// One that is about no login of others.
    fn of(fact: String, step: String) -> Self {
        let logins = Vec::new();
        Self { fact, step, logins }
    }
}

/// What there is to adopt.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalogue, not states"
)]
pub(super) struct Found {
    pub(super) owner: String,
    /// The owner can log in.
    pub(super) logs_in: bool,
    pub(super) owner_comment: Option<String>,
    pub(super) commented: bool,
    pub(super) open: bool,
    /// Attributes of the owner that reach beyond its databases.
    pub(super) powers: Vec<String>,
    /// Domicile's login may grant and change the owner's role.
    pub(super) administered: bool,
    pub(super) public_connects: bool,
    /// Other logins that may connect: a fence could not close them.
    pub(super) others: Vec<String>,
    /// A drop of it was interrupted.
    pub(super) half_dropped: bool,
    /// Roles under the tenant's other names that Domicile made for nobody else's database, such as
    /// those of a placement that was deleted and kept its database.
    pub(super) left: Vec<String>,
    /// Roles under those names that are somebody else's.
    pub(super) foreign: Vec<String>,
    /// How many other databases the owner owns, and in how many databases something else.
    pub(super) databases: u32,
    pub(super) places: u32,
    /// Domicile's own login.
    pub(super) myself: String,
}

impl Generic {
    /// Puts the placement's mark on the owner of a database that somebody else made, whose name
    /// the owner's role must have. No attribute of either is changed: what stands against a fence
    /// is named, for a person to change it.
    ///
    /// # Errors
    /// `Stale` or `NotWritable` unless the server is writable under exactly `epoch`; `Missing`
    /// when there is no such database.
    pub async fn adopt_tenant(
        &self,
        plan: &TenantPlan,
        consent: &str,
        epoch: Epoch,
    ) -> Result<Adoption, ProviderError> {
        let session = self.effects(self.deadline()).await?;
        let row = confirm(&session, epoch).await?;
        check(&session, Some(row), epoch, Need::Writable)?;
        let mut obstacles = obstacles(plan, consent, &look(&session, plan).await?);
        if obstacles.is_empty() {
            lock(&session, epoch, Need::Writable).await?;
            let taken = take_over(&session, plan, consent).await;
            if !matches!(&taken, Ok(left) if left.is_empty()) {
                roll_back(&session).await;
            }
            obstacles = taken?;
        }
        session.close().await;
        Ok(if obstacles.is_empty() {
            Adoption::Done
        } else {
            Adoption::Waits(obstacles)
        })
    }
}

/// Looks again under the lock, and acts and commits unless something came in the way.
async fn take_over(
    session: &Session,
    plan: &TenantPlan,
    consent: &str,
) -> Result<Vec<Obstacle>, ProviderError> {
    let found = look(session, plan).await?;
    let obstacles = obstacles(plan, consent, &found);
    if obstacles.is_empty() {
        let mut sql = marked(plan, &found, session.major);
        sql.push("COMMIT".into());
        session.run(DOING, &sql.join("; ")).await?;
    }
    Ok(obstacles)
}

/// The comment by which an administrator agrees.
fn agreed(consent: &str) -> String {
    format!("domicile-adopt:{}", consent.replace('\0', ""))
}

fn obstacles(plan: &TenantPlan, consent: &str, found: &Found) -> Vec<Obstacle> {
    let (name, owner) = (plan.database.as_str(), quote_identifier(&found.owner));
    let database = quote_identifier(name);
    let mut obstacles = Vec::new();
    let mut against = |fact, step| obstacles.push(Obstacle::of(fact, step));
    if found.owner != plan.database.owner() {
        against(
            format!(
                "it belongs to role {}, and the owner must carry the database's name",
                found.owner
            ),
            format!(
                "rename one of them: ALTER ROLE {owner} RENAME TO {database}, or ALTER DATABASE \
                 {database} RENAME TO {owner} with `spec.database.name` of a new placement"
            ),
        );
    }
    if !found.powers.is_empty() {
        let powers = found.powers.join(", ");
        let without: Vec<String> = found.powers.iter().map(|p| format!("NO{p}")).collect();
        against(
            format!("its owner is {powers}, and so no tenant"),
            format!("ALTER ROLE {owner} {}", without.join(" ")),
        );
    }
    if !found.administered {
        let myself = quote_identifier(&found.myself);
        against(
            "Domicile's login may not administer its owner".into(),
            format!("GRANT {owner} TO {myself} WITH ADMIN OPTION"),
        );
    }
    if found.owner_comment.as_deref() != Some(agreed(consent).as_str()) {
        let comment = quote_literal(&agreed(consent));
        against(
            format!("no administrator agreed that {consent} adopts it"),
            format!("COMMENT ON ROLE {owner} IS {comment}"),
        );
    }
    if found.public_connects {
        against(
            "PUBLIC may connect to it, which no fence could end".into(),
            format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"),
        );
    }
    if !found.open {
        against(
            "it takes no connections".into(),
            format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
        );
    }
    obstacles.extend(others(&database, found));
    obstacles.extend(beyond(&database, found));
    obstacles
}

/// What the owner owns beyond the database: its mark would make it part of the tenant, which a
/// fence and a drop reach. Counted like logins: who asks is not told what else is there.
fn beyond(database: &str, found: &Found) -> Vec<Obstacle> {
    let owner = quote_identifier(&found.owner);
    // The name of a role as text, which may itself be quoted.
    let role = quote_literal(&owner);
    let mut obstacles = Vec::new();
    if found.databases > 0 {
        let count = found.databases;
        let fact = format!("its owner owns other databases, too ({count}), which a fence closes");
        let step = format!(
            "ALTER DATABASE it OWNER TO another role, for each that SELECT datname FROM \
             pg_database WHERE datdba = {role}::regrole names besides"
        );
        obstacles.push(Obstacle::of(fact, step));
    }
    if found.places > 0 {
        let count = found.places;
        let fact = format!(
            "its owner owns objects in other databases, too ({count}), which would go with it"
        );
        // It takes databases along, and this one must keep its owner.
        let step = format!(
            "BEGIN; REASSIGN OWNED BY {owner} TO another role; ALTER DATABASE {database} OWNER TO \
             {owner}; COMMIT, in each other that SELECT DISTINCT datname FROM pg_shdepend s JOIN \
             pg_database d ON d.oid = s.dbid WHERE deptype = 'o' AND refobjid = {role}::regrole \
             names"
        );
        obstacles.push(Obstacle::of(fact, step));
    }
    obstacles
}

/// What others have that is in the way of the tenant or of a fence.
fn others(database: &str, found: &Found) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let mut against = |fact, step| obstacles.push(Obstacle::of(fact, step));
    for role in &found.foreign {
        let role = quote_identifier(role);
        against(
            format!("role {role} exists, whose name a login of the tenant would have"),
            format!("ALTER ROLE {role} RENAME TO another name"),
        );
    }
    if found.half_dropped {
        let (fact, step) = ("a drop of it was interrupted", "DROP DATABASE");
        against(fact.into(), format!("{step} {database}"));
    }
    if !found.others.is_empty() {
        let logins = found.others.clone();
        let most = logins.len() >= MAX_LOGINS as usize;
        let least = if most { "at least " } else { "" };
        let count = logins.len();
        let fact = format!(
            "{least}{count} logins that Domicile did not make may connect to it, which no fence \
             could end; the operator's log names them"
        );
        let step = format!(
            "for each, REVOKE CONNECT ON DATABASE {database} FROM it, take it out of the role \
             that gives it that, or ALTER ROLE it NOLOGIN"
        );
        obstacles.push(Obstacle { fact, step, logins });
    }
    obstacles
}

pub(super) fn marked(plan: &TenantPlan, found: &Found, major: u32) -> Vec<String> {
    let (owner, marker) = (
        quote_identifier(&found.owner),
        quote_literal(&plan.marker()),
    );
    let mut sql = vec![
        joined(&found.owner, major),
        format!("COMMENT ON ROLE {owner} IS {marker}"),
    ];
    for role in &found.left {
        let role = quote_identifier(role);
        sql.push(format!("COMMENT ON ROLE {role} IS {marker}"));
    }
    if found.logs_in {
        // By this a move that closes it opens it again, from the moment that it is in the fence.
        let name = plan.database.reader();
        let reader = quote_identifier(&name);
        if !found.left.contains(&name) {
            sql.push(format!("CREATE ROLE {reader} NOLOGIN"));
            sql.push(format!("COMMENT ON ROLE {reader} IS {marker}"));
        }
        sql.push(format!("GRANT {reader} TO {owner}"));
    }
    if !found.commented {
        let database = quote_identifier(plan.database.as_str());
        sql.push(format!("COMMENT ON DATABASE {database} IS {marker}"));
    }
    sql
}

async fn look(session: &Session, plan: &TenantPlan) -> Result<Found, ProviderError> {
    let mut results = session
        .query(DOING, &found_sql(plan, session.major))
        .await?;
    let (Some(names), Some(others), Some(databases)) =
        (results.pop(), results.pop(), results.pop())
    else {
        return Err(session.odd(DOING, "fewer than three results"));
    };
    let Some(row) = databases.first() else {
        return Err(ProviderError::Missing {
            server: session.server.clone(),
            what: format!("database {}", plan.database),
        });
    };
    let named = |column| text(row, column).unwrap_or_default().to_owned();
    let powers = named("powers");
    let roles = |rows: &[SimpleQueryRow], wanted: fn(&SimpleQueryRow) -> bool| {
        let rows = rows.iter().filter(|row| wanted(row));
        let names = rows.filter_map(|row| text(row, "rolname").map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    Ok(Found {
        owner: named("owner"),
        logs_in: truth(row, "rolcanlogin"),
        owner_comment: text(row, "owner_comment").map(str::to_owned),
        commented: text(row, "comment").is_some_and(|text| !text.starts_with("domicile:")),
        open: truth(row, "datallowconn"),
        powers: powers.split_whitespace().map(str::to_owned).collect(),
        administered: truth(row, "administered"),
        public_connects: truth(row, "public_connects"),
        others: roles(&others, |_| true),
        half_dropped: truth(row, "half_dropped"),
        left: roles(&names, |row| truth(row, "left_over")),
        foreign: roles(&names, |row| !truth(row, "left_over")),
        databases: parsed(row, "databases").unwrap_or_default(),
        places: parsed(row, "places").unwrap_or_default(),
        myself: named("myself"),
    })
}

/// Logins that Domicile made are no obstacle: a fence closes them.
pub(super) fn found_sql(plan: &TenantPlan, major: u32) -> String {
    let database = quote_literal(plan.database.as_str());
    let mut own = vec![quote_literal(&plan.database.reader())];
    own.extend(logins(&plan.database).map(|(_, _, login)| quote_literal(&login)));
    // Before 16, who may make roles may change all that are no superusers.
    let administered = if major >= 16 {
        "pg_has_role(o.oid, 'MEMBER WITH ADMIN OPTION')"
    } else {
        "true"
    };
    let connects = "aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
          WHERE a.privilege_type = 'CONNECT'";
    // A superuser owns what nobody else may, and is no tenant anyway.
    let beyond = format!(
        "(SELECT count(*) FROM pg_database x
   WHERE x.datdba = o.oid AND x.oid <> d.oid AND NOT o.rolsuper) AS databases,
  (SELECT count(DISTINCT s.dbid) FROM pg_shdepend s
   WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = o.oid AND s.deptype = 'o'
     AND s.dbid NOT IN (0, d.oid) AND NOT {RIGHTS} AND NOT o.rolsuper) AS places"
    );
    format!(
        "SELECT o.rolname AS owner, o.rolcanlogin,
  shobj_description(o.oid, 'pg_authid') AS owner_comment,
  shobj_description(d.oid, 'pg_database') AS comment, d.datallowconn,
  d.datconnlimit = -2 AS half_dropped, session_user AS myself,
  concat_ws(' ', CASE WHEN o.rolsuper THEN 'SUPERUSER' END,
    CASE WHEN o.rolcreatedb THEN 'CREATEDB' END, CASE WHEN o.rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN o.rolreplication THEN 'REPLICATION' END,
    CASE WHEN o.rolbypassrls THEN 'BYPASSRLS' END) AS powers,
  {administered} AS administered,
  EXISTS (SELECT FROM {connects} AND a.grantee = 0) AS public_connects, {beyond}
FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba WHERE d.datname = {database};
SELECT r.rolname FROM pg_database d CROSS JOIN pg_roles r
WHERE d.datname = {database} AND r.rolcanlogin AND NOT r.rolsuper AND r.oid <> d.datdba
  AND r.rolname <> session_user
  AND coalesce(NOT starts_with(shobj_description(r.oid, 'pg_authid'), 'domicile:'), true)
  AND EXISTS (SELECT FROM {connects} AND a.grantee <> 0 AND pg_has_role(r.oid, a.grantee, 'MEMBER'))
ORDER BY 1 LIMIT {MAX_LOGINS};
SELECT r.rolname, coalesce(starts_with(shobj_description(r.oid, 'pg_authid'), 'domicile:'), false)
    AND NOT EXISTS (SELECT FROM pg_database d WHERE d.datdba = r.oid) AS left_over
FROM pg_roles r WHERE r.rolname IN ({own}) ORDER BY 1",
        own = own.join(", ")
    )
}

#[cfg(test)]
mod tests;
