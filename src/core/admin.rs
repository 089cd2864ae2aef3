//! The rights that Domicile's login needs on a server, as SQL that a superuser runs once.

use crate::names::quote_identifier;

/// The database in which Domicile keeps its own schema and from which it calls server functions.
///
/// `EXECUTE` on a function is granted per database, so both must be in the same one.
pub const MAINTENANCE_DATABASE: &str = "postgres";

/// The schema, in [`MAINTENANCE_DATABASE`], that holds the write authority and the heartbeat.
pub const SCHEMA: &str = "domicile";

/// SQL, run once by a superuser in [`MAINTENANCE_DATABASE`] of a primary, that makes the login
/// `role` with exactly the rights that Domicile uses. Never a superuser. Running it twice changes
/// nothing. The password is not part of it.
pub fn admin_sql(role: &str) -> String {
    let quoted = quote_identifier(role);
    let literal = role.replace('\'', "''");
    format!(
        "DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{literal}') THEN
    CREATE ROLE {quoted} LOGIN;
  END IF;
END $$;
ALTER ROLE {quoted} LOGIN NOSUPERUSER CREATEDB CREATEROLE;
GRANT pg_monitor, pg_signal_backend TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {quoted};
GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_checkpoint() TO {quoted};
GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO {quoted};
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
    }
}
