//! The rights that Domicile's login needs on a server, as SQL that a superuser runs once.

use crate::names::{quote_identifier, quote_literal};

/// The database in which Domicile keeps its own schema and from which it calls server functions.
///
/// `EXECUTE` on a function is granted per database, so both must be in the same one.
pub const MAINTENANCE_DATABASE: &str = "postgres";

/// The schema, in [`MAINTENANCE_DATABASE`], that holds the write authority and the heartbeat.
pub const SCHEMA: &str = "domicile";

/// SQL, run once by a superuser in [`MAINTENANCE_DATABASE`] of a primary, that makes the login
/// `role` with exactly the rights that Domicile uses. Never a superuser. Running it twice changes
/// nothing. The password is not part of it. `docs/privileges.md` says what each right is for.
pub fn admin_sql(role: &str) -> String {
    let quoted = quote_identifier(role);
    let literal = quote_literal(role);
    // A body ends where its tag is found again, and the name may hold anything.
    let mut tag = "body".to_owned();
    while role.contains(&tag) {
        tag.push('_');
    }
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
        assert_eq!(sql.matches("$body__$").count(), 4, "{sql}");
    }
}
