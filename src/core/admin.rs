//! The rights that Domicile's login needs on a server, as SQL that a superuser runs once.

use crate::names::{quote_identifier, quote_literal};

/// The database in which Domicile keeps its own schema and from which it calls server functions.
///
/// `EXECUTE` on a function is granted per database, so both must be in the same one.
pub const MAINTENANCE_DATABASE: &str = "postgres";

/// The schema, in [`MAINTENANCE_DATABASE`], that holds the write authority and the heartbeat.
pub const SCHEMA: &str = "domicile";

/// The function, in [`SCHEMA`], that opens or closes logins, and returns those that it did not.
/// Called with their names and whether they are to be open.
///
/// It runs as the superuser who made it, and gives its caller no right that it lacks: it sets a
/// login on which the caller has `ADMIN OPTION` itself, and `CREATEROLE`, which is what `ALTER
/// ROLE` asks for from PostgreSQL 16 on. But that gathers all roles that its caller is a member of
/// for each role anew, and this looks the one up. Before 16, where `ALTER ROLE` asks for other
/// rights and is fast, it sets none.
pub const SET_LOGINS: &str = "domicile.set_logins";

/// The body of [`SET_LOGINS`]. Its caller is whoever logged in. Each name is asked for in a
/// snapshot of its own, and an older one is refused: `ALTER ROLE`, too, goes by what is committed.
const SET_LOGINS_BODY: &str = "
DECLARE login text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE invalid_transaction_state USING MESSAGE = 'set_logins needs READ COMMITTED';
  END IF;
  FOREACH login IN ARRAY names LOOP
    IF EXISTS (
      SELECT FROM pg_auth_members m
      JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
      WHERE r.rolname = login AND NOT r.rolsuper AND m.admin_option
        AND u.rolname = session_user AND u.rolcreaterole
        AND current_setting('server_version_num')::integer >= 160000)
    THEN
      EXECUTE format('ALTER ROLE %I %s', login, CASE WHEN opened THEN 'LOGIN' ELSE 'NOLOGIN' END);
    ELSE
      RETURN NEXT login;
    END IF;
  END LOOP;
END";

/// SQL, run once by a superuser in [`MAINTENANCE_DATABASE`] of a primary, that makes the login
/// `role` with exactly the rights that Domicile uses. Never a superuser. Running it again
/// changes nothing, but that [`SET_LOGINS`] is made anew. The password is not part of it.
/// `docs/privileges.md` says what each right is for.
pub fn admin_sql(role: &str) -> String {
    let quoted = quote_identifier(role);
    let literal = quote_literal(role);
    // A body ends where its tag is found again, and the name may hold anything.
    let mut tag = "body".to_owned();
    while role.contains(&tag) {
        tag.push('_');
    }
    // The function is made anew: replaced, it would still belong to whoever made it, who may be the
    // schema's owner.
    format!(
        "DO ${tag}$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal}) THEN
    CREATE ROLE {quoted} LOGIN;
  END IF;
END ${tag}$;
ALTER ROLE {quoted} LOGIN NOSUPERUSER CREATEDB CREATEROLE;
GRANT pg_monitor, pg_signal_backend TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_checkpoint() TO {quoted};
GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO {quoted};
DO ${tag}$ BEGIN
  IF pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN
    GRANT pg_use_reserved_connections TO {quoted};
  END IF;
  IF pg_catalog.current_setting('server_version_num')::integer >= 170000 THEN
    GRANT SET ON PARAMETER event_triggers TO {quoted};
  END IF;
END ${tag}$;
CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION {quoted};
DO ${tag}$ BEGIN
  DROP FUNCTION IF EXISTS {SET_LOGINS}(text[], boolean);
  CREATE FUNCTION {SET_LOGINS}(names text[], opened boolean) RETURNS SETOF text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $set_logins${SET_LOGINS_BODY} $set_logins$;
  REVOKE ALL ON FUNCTION {SET_LOGINS}(text[], boolean) FROM PUBLIC;
  GRANT EXECUTE ON FUNCTION {SET_LOGINS}(text[], boolean) TO {quoted};
END ${tag}$;
"
    )
}

#[cfg(test)]
mod tests {
    use super::admin_sql;

    /// Faults: 13, 16.
    #[test]
    fn the_login_is_never_a_superuser_and_its_name_is_quoted() {
        let sql = admin_sql("do\"mi'cile");
        assert!(
            sql.contains("ALTER ROLE \"do\"\"mi'cile\" LOGIN NOSUPERUSER CREATEDB CREATEROLE;")
        );
        assert!(sql.contains("rolname = 'do\"mi''cile'"));
        // Nothing in a name ends the body that it stands in.
        let sql = admin_sql("a$body$ b$body_$");
        assert_eq!(sql.matches("$body__$").count(), 6, "{sql}");
    }
}
