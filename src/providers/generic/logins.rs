//! Opens and closes the logins of all tenants at once.
//!
//! From PostgreSQL 16 on, `ALTER ROLE` first asks whether its caller administers the role, and for
//! that gathers all roles that the caller is a member of (`is_admin_of_role`, never kept): every
//! role of every tenant, for each login anew. With 1,800 tenants that took 31 ms a login, two
//! minutes for a fence. `domicile.set_logins` of `core::admin` asks the same by index.

use domicile_core::admin::SET_LOGINS;
use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::Instant;

use crate::error::ProviderError;
use crate::session::{Session, text, truth};

/// Whether the logins can be set at once; see `core::admin`. Only a superuser's function is fast.
/// Neither by `has_function_privilege`, which looks at all roles that the login is a member of, nor
/// by `to_regprocedure`, which fails where the login may not use the schema.
pub(super) const AT_ONCE: &str = "EXISTS (
  SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_roles o ON o.oid = p.proowner
  CROSS JOIN LATERAL aclexplode(p.proacl) a JOIN pg_roles u ON u.oid = a.grantee
  WHERE n.nspname = 'domicile' AND p.proname = 'set_logins'
    AND oidvectortypes(p.proargtypes) = 'text[], boolean'
    AND p.prosecdef AND o.rolsuper AND u.rolname = session_user)";

/// The first version in which a login that is altered by itself costs so much.
pub(super) const SLOW_SINCE: u32 = 16;

/// Opens or closes logins in the session's transaction, at once where that can be. Answers the
/// statements for those that are left.
///
/// # Errors
/// The server's.
pub(super) async fn set(
    session: &Session,
    doing: &'static str,
    logins: &[&str],
    opened: bool,
) -> Result<Vec<String>, ProviderError> {
    let there = format!("SELECT {AT_ONCE} AS at_once");
    let at_once = session.major >= SLOW_SINCE
        && logins.len() > 1
        && session
            .rows(doing, &there)
            .await?
            .iter()
            .any(|row| truth(row, "at_once"));
    if !at_once {
        return Ok(logins.iter().map(|login| one_sql(login, opened)).collect());
    }
    // One statement for all: the limit of one is not meant for it.
    let left = session.deadline.saturating_duration_since(Instant::now());
    let patience = format!("SET LOCAL statement_timeout = {}", left.as_millis().max(1));
    let sql = format!("{patience}; {}", at_once_sql(logins, opened));
    let left = session.rows(doing, &sql).await?;
    let names = left.iter().filter_map(|row| text(row, "login"));
    Ok(names.map(|login| one_sql(login, opened)).collect())
}

/// The logins that it did not set.
pub(super) fn at_once_sql(logins: &[&str], opened: bool) -> String {
    let names: Vec<String> = logins.iter().map(|login| quote_literal(login)).collect();
    let names = names.join(", ");
    format!("SELECT login FROM {SET_LOGINS}(ARRAY[{names}]::text[], {opened}) AS login")
}

pub(super) fn one_sql(login: &str, opened: bool) -> String {
    let verb = if opened { "LOGIN" } else { "NOLOGIN" };
    format!("ALTER ROLE {} {verb}", quote_identifier(login))
}
