//! SQL that several effects share. Nothing here depends on input.

/// The roles that Domicile made, by the comment that only an administrator can write. A database's
/// own comment is no proof: its owner, the tenant, may change it.
///
/// `domicile_roles(oid, rolname, rolcanlogin, credentialed, uid)`; then `logins`, those of them
/// that are members of another: read-write logins of an owner, read-only ones of a reader; and
/// `held(oid, datname, uid)`, the databases that those roles own.
///
/// A login without a credential carries `VALID UNTIL '-infinity'`: the catalogue hides whether a
/// password is set, and a role that never got one must not be opened with the others.
pub(crate) const TENANTS: &str = "
domicile_roles AS (
  SELECT r.oid, r.rolname, r.rolcanlogin,
         r.rolvaliduntil IS DISTINCT FROM '-infinity'::timestamptz AS credentialed,
         substr(s.description, 10) AS uid
  FROM pg_roles r
  JOIN pg_shdescription s ON s.objoid = r.oid AND s.classoid = 'pg_authid'::regclass
  WHERE starts_with(s.description, 'domicile:')
),
held AS (
  SELECT d.oid, d.datname, d.datdba, o.uid
  FROM pg_database d JOIN domicile_roles o ON o.oid = d.datdba
),
logins AS (
  SELECT r.* FROM domicile_roles r
  WHERE EXISTS (SELECT FROM pg_auth_members m JOIN domicile_roles g ON g.oid = m.roleid
                WHERE m.member = r.oid)
)";

/// Of a row `s` of `pg_db_role_setting`: it lets a commit be acknowledged before the synchronous
/// standby has flushed it.
pub(crate) const RELAXES: &str = "EXISTS (
  SELECT FROM unnest(s.setconfig) AS c(setting)
  WHERE starts_with(lower(c.setting), 'synchronous_commit=')
    AND split_part(lower(c.setting), '=', 2) NOT IN ('on', 'remote_apply', 'true', 'yes', '1'))";

/// After [`TENANTS`]: sessions that could act on tenants' data, apart from Domicile's own and those
/// of superusers, which nobody but a superuser can end. Read-only logins count: what a tenant
/// itself granted to them is not known.
pub(crate) const SESSIONS: &str = "
sessions AS (
  SELECT a.pid
  FROM pg_stat_activity a
  LEFT JOIN pg_roles u ON u.oid = a.usesysid
  WHERE a.pid <> pg_backend_pid()
    AND (a.usesysid IN (SELECT oid FROM domicile_roles)
      OR (a.datid IN (SELECT oid FROM held)
        AND coalesce(a.backend_type, 'client backend') = 'client backend'
        AND NOT coalesce(u.rolsuper, false)
        AND u.rolname IS DISTINCT FROM session_user))
)";
