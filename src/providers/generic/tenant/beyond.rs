//! What a tenant's roles hold beyond its own database. Rights are taken back and large objects
//! dropped; all else is somebody's data, and nobody agreed that it goes with the tenant.

use domicile_core::admin::MAINTENANCE_DATABASE;
use domicile_core::names::{DatabaseName, quote_identifier, quote_literal};
use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;

use super::blockers::listed;
use super::inside::traps;
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::generic::sql::TRIGGERS_OFF;
use crate::session::{Session, text, truth};

const LOOKING: &str = "looking at what a tenant's roles hold elsewhere";
const DROPPING: &str = "taking back what a tenant's roles hold elsewhere";

/// Most databases of others that are looked at at once, and most things of others that are told.
const LIMIT: u32 = 64;

/// Of a row `s` of `pg_shdepend`: its role owns it, and it is like a right, which `REASSIGN OWNED`
/// passes over.
pub(super) const RIGHTS: &str =
    "s.classid IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)";

/// Likewise: it is a large object, which everybody may make in any database.
const LARGE: &str = "s.classid = 'pg_largeobject'::regclass";

/// Likewise: it is in the session's database.
const HERE: &str = "s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The roles that are to go.
pub(super) struct Leaving<'a> {
    pub(super) roles: &'a [&'a str],
    /// The database that goes with them; absent when it is gone, or somebody else's.
    pub(super) own: Option<&'a DatabaseName>,
}

impl Generic {
    /// What the roles hold beyond their database and must not be dropped with them, each in words
    /// with its next step. Changes nothing, unless it `drops` what goes with them: then what
    /// cannot be taken back is told, too, and `guard`, whose transaction does that in the
    /// maintenance database, is to be rolled back when there is an answer.
    ///
    /// # Errors
    /// What keeps the server from answering.
    pub(super) async fn beyond(
        &self,
        guard: &Session,
        leaving: &Leaving<'_>,
        drops: bool,
        deadline: Instant,
    ) -> Result<Vec<String>, ProviderError> {
        if leaving.roles.is_empty() {
            return Ok(Vec::new());
        }
        let things = guard.rows(LOOKING, &things_sql(leaving)).await?;
        let mut by: Vec<String> = things.iter().map(thing).collect();
        for row in guard.rows(LOOKING, &elsewhere(leaving, drops)).await? {
            let database = text(&row, "datname").unwrap_or_default();
            let visit = self.visit(guard, database, leaving, drops, deadline).await;
            let failed = visit.is_err();
            by.extend(visit.unwrap_or_else(|error| {
                let database = quote_identifier(database);
                let what = format!("rights or objects of its roles in database {database}");
                Some(format!("{what} ({error})"))
            }));
            if failed {
                break;
            }
        }
        if drops && !by.is_empty() {
            return Ok(by);
        }
        // Last: the others could not change what this transaction has changed already.
        let traps = traps(guard).await?;
        if traps.is_empty() {
            by.extend(part(guard, MAINTENANCE_DATABASE, leaving, drops).await?);
        } else {
            by.push(trapped(MAINTENANCE_DATABASE, &traps));
        }
        Ok(by)
    }

    /// The same in one database.
    async fn visit(
        &self,
        guard: &Session,
        database: &str,
        leaving: &Leaving<'_>,
        drops: bool,
        deadline: Instant,
    ) -> Result<Option<String>, ProviderError> {
        // As the login itself: it takes a grant back with the rights of who gave it.
        let entered = self.untrapped(guard, (database, "none"), deadline).await?;
        let session = match entered {
            Ok(session) => session,
            Err(trapped) => return Ok(Some(trapped)),
        };
        let found = part(&session, database, leaving, drops).await?;
        session.close().await;
        Ok(found)
    }

    /// A session as `role` in a database that others rule, in which no event trigger of a tenant's
    /// runs; or, in words, why there is none.
    ///
    /// # Errors
    /// What keeps the server from answering, or the session from being opened.
    pub(super) async fn untrapped(
        &self,
        guard: &Session,
        (database, role): (&str, &str),
        deadline: Instant,
    ) -> Result<Result<Session, String>, ProviderError> {
        if guard.major >= 17 {
            // Whose function they call cannot be read from outside, and inside they have run.
            let rows = guard.rows(LOOKING, &on_login_sql(database)).await?;
            if rows.first().is_some_and(|row| truth(row, "on_login")) {
                return Ok(Err(on_login(database)));
            }
        }
        let session = self.hosted(guard, database, role, deadline).await?;
        let traps = traps(&session).await?;
        if traps.is_empty() {
            return Ok(Ok(session));
        }
        session.close().await;
        Ok(Err(trapped(database, &traps)))
    }
}

/// What of the roles in the session's database must stay, or cannot be taken back.
async fn part(
    session: &Session,
    database: &str,
    leaving: &Leaving<'_>,
    drops: bool,
) -> Result<Option<String>, ProviderError> {
    let rows = session.rows(LOOKING, &owners_sql(leaving.roles)).await?;
    let owners = named(&rows);
    if !owners.is_empty() {
        return Ok(Some(kept(database, &owners, leaving.own)));
    }
    if !drops {
        return Ok(None);
    }
    match session.run(DROPPING, &disowned(leaving.roles)).await {
        Err(ProviderError::MissingRight { .. }) => {
            return Ok(Some(granted(database, leaving.roles)));
        }
        other => other?,
    }
    // What somebody granted whose rights the login has not is passed over without an error.
    let shared = database == MAINTENANCE_DATABASE;
    let rows = session
        .rows(LOOKING, &bound_sql(leaving.roles, shared))
        .await?;
    let bound = named(&rows);
    let still = !bound.is_empty();
    Ok(still.then(|| granted(database, &bound)))
}

fn named(rows: &[SimpleQueryRow]) -> Vec<&str> {
    rows.iter().filter_map(|row| text(row, "rolname")).collect()
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| quote_identifier(name)).collect();
    names.join(", ")
}

/// `REASSIGN OWNED` takes databases along, and the tenant's own must stay its own.
fn kept(database: &str, owners: &[&str], own: Option<&DatabaseName>) -> String {
    let (owners, database) = (quoted(owners), quote_identifier(database));
    let back = own.map_or_else(String::new, |own| {
        let (name, owner) = (quote_identifier(own.as_str()), own.owner());
        let owner = quote_identifier(&owner);
        format!("; ALTER DATABASE {name} OWNER TO {owner}")
    });
    format!(
        "objects of {owners} in database {database} (there: BEGIN; REASSIGN OWNED BY {owners} TO \
         another role{back}; COMMIT)"
    )
}

fn granted(database: &str, roles: &[&str]) -> String {
    let shared = if database == MAINTENANCE_DATABASE {
        ", or on databases, tablespaces or settings of the server,"
    } else {
        ""
    };
    let (roles, database) = (quoted(roles), quote_identifier(database));
    format!(
        "rights of {roles} in database {database}{shared} that Domicile's login cannot take back \
         (there: DROP OWNED BY {roles}; what is left was granted by another than the owner: SET \
         ROLE to that one, and REVOKE it)"
    )
}

fn trapped(database: &str, traps: &[String]) -> String {
    let traps: Vec<&str> = traps.iter().map(String::as_str).collect();
    let (traps, database) = (quoted(&traps), quote_identifier(database));
    format!(
        "event triggers in database {database} whose functions a tenant can replace: {traps} \
         (there, for each: ALTER EVENT TRIGGER it DISABLE, or give its function to a superuser)"
    )
}

fn on_login(database: &str) -> String {
    let database = quote_identifier(database);
    format!(
        "event triggers on login in database {database}, which Domicile's login may not turn off \
         for itself (run the output of `kubectl domicile admin-sql`)"
    )
}

/// A database, a tablespace or a subscription that one of the roles owns.
fn thing(row: &SimpleQueryRow) -> String {
    let column = |name| text(row, name).unwrap_or_default();
    let (kind, role) = (column("kind"), quote_identifier(column("rolname")));
    let (what, name) = (kind.to_lowercase(), quote_identifier(column("name")));
    let place = text(row, "place").map(quote_identifier);
    let within = place.as_ref().map(|place| format!(" in database {place}"));
    let there = if place.is_some() { "there: " } else { "" };
    format!(
        "{what} {name} of {role}{} ({there}ALTER {kind} {name} OWNER TO another role)",
        within.unwrap_or_default()
    )
}

fn own(leaving: &Leaving<'_>) -> String {
    let name = leaving.own.map(|own| quote_literal(own.as_str()));
    name.unwrap_or_else(|| "NULL".into())
}

/// What the roles own that is in no database, apart from the database that goes with them; and
/// subscriptions, which are in one, and which no `DROP OWNED` drops.
pub(super) fn things_sql(leaving: &Leaving<'_>) -> String {
    let (own, roles) = (own(leaving), listed(leaving.roles));
    format!(
        "SELECT * FROM (
  SELECT 'DATABASE' AS kind, d.datname AS name, r.rolname, NULL::name AS place
  FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname IS DISTINCT FROM {own}
  UNION ALL
  SELECT 'TABLESPACE', t.spcname, r.rolname, NULL
  FROM pg_tablespace t JOIN pg_roles r ON r.oid = t.spcowner
  UNION ALL
  SELECT 'SUBSCRIPTION', s.subname, r.rolname, d.datname
  FROM pg_subscription s JOIN pg_roles r ON r.oid = s.subowner
  JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname IS DISTINCT FROM {own}
) AS things WHERE rolname = ANY ({roles}) ORDER BY kind, name LIMIT {LIMIT}"
    )
}

/// The databases beside the tenant's own and the maintenance database in which the roles hold
/// rights or objects; those in which something would have to stay come first. Unless it `drops`,
/// those alone: who grants them rights and lets nobody in must not keep the tenant's data.
pub(super) fn elsewhere(leaving: &Leaving<'_>, drops: bool) -> String {
    let (own, roles) = (own(leaving), listed(leaving.roles));
    let stays = format!("bool_or(s.deptype = 'o' AND NOT {RIGHTS} AND NOT {LARGE})");
    let having = if drops { "true" } else { &stays };
    format!(
        "SELECT d.datname FROM pg_shdepend s
         JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.refobjid
         WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = ANY ({roles})
           AND d.datname <> current_database() AND d.datname IS DISTINCT FROM {own}
         GROUP BY d.datname HAVING {having}
         ORDER BY {stays} DESC, d.datname LIMIT {LIMIT}"
    )
}

/// Those of the roles that own something in the session's database that must stay. What a session
/// has for itself alone, such as a temporary table, goes with the session.
pub(super) fn owners_sql(roles: &[&str]) -> String {
    let and = format!(
        "AND s.deptype = 'o' AND NOT {RIGHTS} AND NOT {LARGE} AND NOT coalesce(starts_with(
             (pg_identify_object(s.classid, s.objid, s.objsubid)).schema, 'pg_temp'), false)"
    );
    held_sql(roles, &format!("{HERE} {and}"))
}

/// Those of the roles that anything in the session's database still names; or, `shared`, a right on
/// what is in no database. A role is dropped with its memberships.
pub(super) fn bound_sql(roles: &[&str], shared: bool) -> String {
    let rights = "s.dbid = 0 AND s.deptype <> 'o' AND s.classid <> 'pg_auth_members'::regclass";
    let and = if shared {
        format!("({HERE} OR {rights})")
    } else {
        HERE.to_owned()
    };
    held_sql(roles, &and)
}

fn held_sql(roles: &[&str], and: &str) -> String {
    format!(
        "SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
         WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = ANY ({roles}) AND {and}
         ORDER BY 1",
        roles = listed(roles)
    )
}

/// Whether a session in the database would run event triggers on login (17 and newer).
pub(super) fn on_login_sql(database: &str) -> String {
    let database = quote_literal(database);
    format!(
        "SELECT dathasloginevt AND NOT {TRIGGERS_OFF} AS on_login
         FROM pg_database WHERE datname = {database}"
    )
}

pub(super) fn disowned(roles: &[&str]) -> String {
    format!("DROP OWNED BY {}", quoted(roles))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that went along would be the tenant's no more, and stay when its roles go.
    #[test]
    fn the_step_leaves_the_tenant_its_own_database() {
        let own = DatabaseName::parse("acme").unwrap();
        let said = kept("app\"test", &["acme", "acme_a"], Some(&own));
        let step = "REASSIGN OWNED BY \"acme\", \"acme_a\" TO another role; \
                    ALTER DATABASE \"acme\" OWNER TO \"acme\"; COMMIT";
        assert!(said.contains(step), "{said}");
        assert!(said.contains("database \"app\"\"test\" ("), "{said}");
        let gone = kept("shared", &["acme_a"], None);
        assert!(!gone.contains("ALTER DATABASE"), "{gone}");
    }

    #[test]
    fn a_trap_is_named_with_its_database_and_the_next_step() {
        let said = trapped("globex", &["on drop".into()]);
        for part in ["database \"globex\"", "\"on drop\"", "ALTER EVENT TRIGGER"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
