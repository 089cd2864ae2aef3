//! What is there of a tenant.

use std::collections::BTreeMap;

use domicile_core::names::quote_literal;

use super::relaxed::{self, Relaxed};
use super::{TenantPlan, logins};
use crate::error::ProviderError;
use crate::session::{Session, parsed, text, truth};

/// A role that carries one of the tenant's names.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalogue, not states"
)]
pub(super) struct RoleState {
    pub(super) marker: Option<String>,
    pub(super) can_log_in: bool,
    /// Whether it was given a password that counts.
    pub(super) credentialed: bool,
    pub(super) limit: i64,
    pub(super) in_owner: bool,
    pub(super) in_reader: bool,
    /// Of those memberships, the ones that Domicile's login can take away: from 16 on, only what
    /// it gave itself.
    pub(super) owner_revocable: bool,
    pub(super) reader_revocable: bool,
    /// Its sessions in the database act as the owner.
    pub(super) acts_as_owner: bool,
    /// Whether Domicile's login may act as it, with all its rights.
    pub(super) ours_to_use: bool,
}

/// The database that carries the tenant's name.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalogue, not states"
)]
pub(super) struct DatabaseState {
    pub(super) owner: String,
    pub(super) owner_marker: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) open: bool,
    /// Most sessions in it; -1 for no limit.
    pub(super) limit: i64,
    /// Everybody who may make databases may copy it.
    pub(super) template: bool,
    /// Dropping it was begun: the server lets nobody in any more.
    pub(super) half_dropped: bool,
    pub(super) public_has_rights: bool,
    pub(super) reader_connects: bool,
    /// Roles of other tenants that hold rights on it.
    pub(super) strangers: Vec<String>,
}

/// All that is outside the tenant's database.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) major: u32,
    pub(super) roles: BTreeMap<String, RoleState>,
    pub(super) database: Option<DatabaseState>,
    /// Where commits do not wait for the synchronous standby that the server has.
    pub(super) relaxed: Vec<Relaxed>,
}

pub(super) async fn read(session: &Session, plan: &TenantPlan) -> Result<State, ProviderError> {
    let doing = "reading a tenant's roles and database";
    let results = session
        .query(doing, &outside_sql(plan, session.major))
        .await?;
    let [roles, databases, relaxed] = results
        .try_into()
        .map_err(|_| session.odd(doing, "not three results"))?;
    let roles = roles.iter().map(|row| {
        let role = RoleState {
            marker: text(row, "marker").map(str::to_owned),
            can_log_in: truth(row, "rolcanlogin"),
            credentialed: truth(row, "credentialed"),
            limit: parsed(row, "rolconnlimit").unwrap_or(-1),
            in_owner: truth(row, "in_owner"),
            in_reader: truth(row, "in_reader"),
            owner_revocable: truth(row, "owner_revocable"),
            reader_revocable: truth(row, "reader_revocable"),
            acts_as_owner: truth(row, "acts_as_owner"),
            ours_to_use: truth(row, "ours_to_use"),
        };
        (text(row, "rolname").unwrap_or_default().to_owned(), role)
    });
    let roles = roles.collect();
    let database = databases.first().map(|row| DatabaseState {
        owner: text(row, "owner").unwrap_or_default().to_owned(),
        owner_marker: text(row, "owner_marker").map(str::to_owned),
        comment: text(row, "comment").map(str::to_owned),
        open: truth(row, "datallowconn"),
        limit: parsed(row, "datconnlimit").unwrap_or(-1),
        template: truth(row, "datistemplate"),
        half_dropped: truth(row, "half_dropped"),
        public_has_rights: truth(row, "public_has_rights"),
        reader_connects: truth(row, "reader_connects"),
        strangers: databases
            .iter()
            .filter_map(|row| text(row, "stranger").map(str::to_owned))
            .collect(),
    });
    Ok(State {
        major: session.major,
        roles,
        database,
        relaxed: relaxed.iter().filter_map(Relaxed::of).collect(),
    })
}

pub(super) fn outside_sql(plan: &TenantPlan, major: u32) -> String {
    let database = quote_literal(plan.database.as_str());
    let (owner, reader) = (
        quote_literal(&plan.database.owner()),
        &plan.database.reader(),
    );
    let marker = quote_literal(&plan.marker());
    let setting = quote_literal(&format!("role={}", plan.database.owner()));
    let mut names = vec![plan.database.owner(), reader.clone()];
    names.extend(logins(&plan.database).map(|(_, _, login)| login));
    let names: Vec<String> = names.iter().map(|name| quote_literal(name)).collect();
    let (names, reader) = (names.join(", "), quote_literal(reader));
    let relaxed = relaxed::sql(&names, &database);
    // Before 16, a member may always act as the role. Not by `pg_has_role`, which looks at all
    // roles that the login is a member of: that is two for each tenant, in each new session anew.
    let usable = if major >= 16 {
        "m.inherit_option AND m.set_option"
    } else {
        "u.rolinherit"
    };
    let ours = if major >= 16 {
        "AND pg_get_userbyid(m.grantor) = session_user"
    } else {
        ""
    };
    let member = |of: &str, by: &str| {
        format!(
            "EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                     WHERE m.member = r.oid AND g.rolname = {of} {by})"
        )
    };
    let (in_owner, in_reader) = (member(&owner, ""), member(&reader, ""));
    let (owner_revocable, reader_revocable) = (member(&owner, ours), member(&reader, ours));
    format!(
        "SELECT r.rolname, r.rolcanlogin, r.rolconnlimit,
  r.rolvaliduntil IS DISTINCT FROM '-infinity'::timestamptz AS credentialed,
  shobj_description(r.oid, 'pg_authid') AS marker,
  {in_owner} AS in_owner, {in_reader} AS in_reader,
  {owner_revocable} AS owner_revocable, {reader_revocable} AS reader_revocable,
  EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
          WHERE s.setrole = r.oid AND d.datname = {database} AND {setting} = ANY (s.setconfig))
    AS acts_as_owner,
  EXISTS (SELECT FROM pg_roles u WHERE u.rolname = session_user AND (u.rolsuper OR EXISTS (
    SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.member = u.oid AND {usable})))
    AS ours_to_use
FROM pg_roles r WHERE r.rolname IN ({names});
SELECT o.rolname AS owner, shobj_description(d.datdba, 'pg_authid') AS owner_marker,
  shobj_description(d.oid, 'pg_database') AS comment, d.datallowconn, d.datconnlimit,
  d.datistemplate,
  d.datconnlimit = -2 AS half_dropped,
  EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
          WHERE a.grantee = 0) AS public_has_rights,
  EXISTS (SELECT FROM aclexplode(d.datacl) a JOIN pg_roles g ON g.oid = a.grantee
          WHERE g.rolname = {reader} AND a.privilege_type = 'CONNECT') AS reader_connects,
  stranger.rolname AS stranger
FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba
LEFT JOIN LATERAL (
  SELECT DISTINCT g.rolname FROM aclexplode(d.datacl) a JOIN pg_roles g ON g.oid = a.grantee
  WHERE starts_with(shobj_description(g.oid, 'pg_authid'), 'domicile:')
    AND shobj_description(g.oid, 'pg_authid') <> {marker}
) stranger ON true
WHERE d.datname = {database} ORDER BY stranger;
{relaxed}"
    )
}
