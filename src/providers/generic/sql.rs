//! SQL that several effects share. Nothing here depends on input.

/// The roles that Domicile made, by the comment that only an administrator can write. A database's
/// own comment is no proof: its owner, the tenant, may change it.
///
/// `domicile_roles(oid, rolname, rolcanlogin, credentialed, uid)`; then `logins`, those of them
/// that are members of another: read-write logins of an owner, read-only ones of a reader; and
/// `held(oid, datname, uid)`, the databases that those roles own.
///
/// What a shared catalogue holds is estimated by each database for itself, and autovacuum tells it
/// to one of them: beside thousands of databases the planner believes in a single role, and joins
/// by comparing all with all. `OFFSET 0` keeps it from joining: it looks up by index.
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
  FROM pg_database d CROSS JOIN LATERAL (
    SELECT substr(s.description, 10) AS uid FROM pg_shdescription s
    WHERE s.objoid = d.datdba AND s.classoid = 'pg_authid'::regclass
      AND starts_with(s.description, 'domicile:') OFFSET 0) o
),
logins AS (
  SELECT r.* FROM domicile_roles r
  WHERE EXISTS (SELECT FROM pg_auth_members m CROSS JOIN LATERAL (
      SELECT FROM pg_shdescription s
      WHERE s.objoid = m.roleid AND s.classoid = 'pg_authid'::regclass
        AND starts_with(s.description, 'domicile:') OFFSET 0) g
    WHERE m.member = r.oid)
)";

/// Whether the login was given `SET` on `event_triggers`, as `core::admin::admin_sql` does it. Not
/// by `has_parameter_privilege`, which looks at all roles that the login is a member of: that is
/// two for each tenant, in each new session anew.
pub(crate) const TRIGGERS_OFF: &str = "EXISTS (
  SELECT FROM pg_roles u WHERE u.rolname = session_user AND (u.rolsuper OR EXISTS (
    SELECT FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a
    WHERE p.parname = 'event_triggers' AND a.privilege_type = 'SET'
      AND a.grantee IN (0, u.oid))))";

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
