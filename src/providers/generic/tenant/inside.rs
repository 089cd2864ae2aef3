//! What is inside a tenant's database, read and put right as its owner.

use std::collections::BTreeMap;

use domicile_core::names::{quote_identifier, quote_literal};
use tokio_postgres::SimpleQueryRow;

use super::TenantPlan;
use super::change::{Change, Changes};
use crate::error::ProviderError;
use crate::session::{Session, text, truth};

/// What is inside the tenant's database, as far as it matters.
#[derive(Debug, Clone, Default)]
pub(super) struct Inside {
    /// PUBLIC holds rights on schema `public`.
    pub(super) public_has_rights: bool,
    /// Schema `public` exists and the reader may not use it.
    pub(super) reader_locked_out: bool,
    /// The owner of schema `public`, where its rights are not the database owner's too: what that
    /// one grants there is passed over with a warning, or refused.
    pub(super) public_of: Option<String>,
    /// What the owner makes from now on is readable by the reader.
    pub(super) defaults: bool,
    /// Tables, views and sequences of the owner that the reader cannot read: schema and name.
    /// Empty when `defaults` hold: what the tenant then takes from its reader is its own will.
    pub(super) unreadable: Vec<(String, String)>,
    /// The planned schemas that are there.
    pub(super) schemas: BTreeMap<String, SchemaState>,
    /// Event triggers whose function a role of a tenant can replace, and that would run it with
    /// the rights of Domicile's login.
    pub(super) traps: Vec<String>,
}

/// A schema that is planned and there.
#[derive(Debug, Clone)]
pub(super) struct SchemaState {
    pub(super) owner: String,
    pub(super) reader_uses: bool,
}

/// Most tables that are made readable in one pass.
const MAX_UNREADABLE: u32 = 10_000;

/// Most event triggers that are told.
const MAX_TRAPS: u32 = 8;

/// Statements inside the database, run as its owner. Defaults come before schemas, so that they
/// hold for them.
pub(super) fn inside(plan: &TenantPlan, found: &Inside) -> Changes {
    if !found.traps.is_empty() {
        let (changes, left) = (Vec::new(), found.traps.iter().map(trap).collect());
        return Changes { changes, left };
    }
    let name = plan.database.reader();
    let reader = quote_identifier(&name);
    let Changes {
        mut changes,
        mut left,
    } = public(plan, found);
    let mut differs = |what: String, sql: Vec<String>| changes.push(Change::several(what, sql));
    if !found.defaults {
        let defaults = [
            ("SELECT", "TABLES"),
            ("SELECT", "SEQUENCES"),
            ("USAGE", "SCHEMAS"),
        ];
        let defaults = defaults.map(|(right, kind)| {
            format!("ALTER DEFAULT PRIVILEGES GRANT {right} ON {kind} TO {reader}")
        });
        let what = format!("role {name} was not to read what is made from now on");
        differs(what, defaults.to_vec());
    }
    for (schema, table) in &found.unreadable {
        let quoted = format!("{}.{}", quote_identifier(schema), quote_identifier(table));
        differs(
            format!("role {name} could not read {schema}.{table}"),
            vec![format!("GRANT SELECT ON {quoted} TO {reader}")],
        );
    }
    for schema in &plan.schemas {
        let quoted = quote_identifier(schema);
        match found.schemas.get(schema) {
            None => differs(
                format!("schema {schema} was not there"),
                vec![format!("CREATE SCHEMA {quoted}")],
            ),
            // Whose it is cannot be changed without breaking who relies on it.
            Some(SchemaState { owner, .. }) if *owner != plan.database.owner() => {
                left.push(format!("schema {schema} belongs to role {owner}"));
            }
            Some(SchemaState {
                reader_uses: false, ..
            }) => differs(
                format!("role {name} had no USAGE on schema {schema}"),
                vec![format!("GRANT USAGE ON SCHEMA {quoted} TO {reader}")],
            ),
            Some(SchemaState {
                reader_uses: true, ..
            }) => {}
        }
    }
    Changes { changes, left }
}

/// Schema `public`, which in a database that was begun before PostgreSQL 15 is a superuser's.
fn public(plan: &TenantPlan, found: &Inside) -> Changes {
    let mut all = Changes::default();
    let may = found.public_of.is_none();
    if found.public_has_rights && (may || plan.keeps) {
        all.takes(
            plan.keeps,
            (
                "PUBLIC has rights on schema public".into(),
                "PUBLIC had rights on schema public".into(),
            ),
            "REVOKE ALL ON SCHEMA public FROM PUBLIC".into(),
        );
    }
    if found.reader_locked_out && may {
        let name = plan.database.reader();
        let reader = quote_identifier(&name);
        all.adds(
            format!("role {name} had no USAGE on schema public"),
            format!("GRANT USAGE ON SCHEMA public TO {reader}"),
        );
    }
    if let Some(owner) = &found.public_of
        && (found.public_has_rights || found.reader_locked_out)
    {
        all.left.push(format!(
            "schema public belongs to role {owner}, so its rights stay as they are: in database \
             {}, as a superuser, ALTER SCHEMA public OWNER TO pg_database_owner",
            quote_identifier(plan.database.as_str())
        ));
    }
    all
}

fn trap(trigger: &String) -> String {
    format!(
        "event trigger {trigger:?} runs a function that a tenant can replace, so nothing was \
         changed in the database"
    )
}

pub(super) async fn read_inside(
    session: &Session,
    plan: &TenantPlan,
) -> Result<Inside, ProviderError> {
    let doing = "reading the grants in a tenant's database";
    let mut results = session.query(doing, &inside_sql(plan)).await?;
    let (Some(traps), Some(schemas), Some(rows)) = (results.pop(), results.pop(), results.pop())
    else {
        return Err(session.odd(doing, "fewer than three results"));
    };
    let row = rows.first().ok_or_else(|| session.odd(doing, "no row"))?;
    let named = |row, column| text(row, column).unwrap_or_default().to_owned();
    let schemas = schemas.iter().map(|row| {
        let state = SchemaState {
            owner: named(row, "owner"),
            reader_uses: truth(row, "reader_uses"),
        };
        (named(row, "nspname"), state)
    });
    let mut inside = Inside {
        public_has_rights: truth(row, "public_has_rights"),
        reader_locked_out: truth(row, "reader_locked_out"),
        public_of: text(row, "public_of").map(str::to_owned),
        defaults: truth(row, "defaults"),
        unreadable: Vec::new(),
        schemas: schemas.collect(),
        traps: triggers(&traps),
    };
    if !inside.defaults {
        let reader = quote_literal(&plan.database.reader());
        let sql = format!(
            "SELECT n.nspname, c.relname
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
               AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
               AND NOT has_table_privilege({reader}, c.oid, 'SELECT')
               AND c.relpersistence <> 't'
             ORDER BY 1, 2 LIMIT {MAX_UNREADABLE}"
        );
        let rows = session.rows(doing, &sql).await?;
        inside.unreadable = rows
            .iter()
            .map(|row| (named(row, "nspname"), named(row, "relname")))
            .collect();
    }
    Ok(inside)
}

pub(super) fn inside_sql(plan: &TenantPlan) -> String {
    let reader = quote_literal(&plan.database.reader());
    let granted = |kind: char, right: &str| {
        format!(
            "EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) a
             WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
               AND d.defaclnamespace = 0 AND d.defaclobjtype = '{kind}'
               AND a.grantee = (SELECT oid FROM reader) AND a.privilege_type = '{right}')"
        )
    };
    let (tables, sequences) = (granted('r', "SELECT"), granted('S', "SELECT"));
    let schemas = granted('n', "USAGE");
    let planned: Vec<String> = plan
        .schemas
        .iter()
        .map(|name| quote_literal(name))
        .collect();
    let planned = if planned.is_empty() {
        "NULL".to_owned()
    } else {
        planned.join(", ")
    };
    format!(
        "WITH reader AS (SELECT oid FROM pg_roles WHERE rolname = {reader}),
public AS (SELECT nspowner, coalesce(nspacl, acldefault('n', nspowner)) AS acl
           FROM pg_namespace WHERE nspname = 'public')
SELECT EXISTS (SELECT FROM public, aclexplode(acl) a WHERE a.grantee = 0) AS public_has_rights,
  EXISTS (SELECT FROM public WHERE NOT EXISTS (
    SELECT FROM aclexplode(acl) a
    WHERE a.grantee = (SELECT oid FROM reader) AND a.privilege_type = 'USAGE'))
    AS reader_locked_out,
  (SELECT pg_get_userbyid(nspowner) FROM public WHERE NOT pg_has_role(nspowner, 'USAGE'))
    AS public_of,
  {tables} AND {sequences} AND {schemas} AS defaults;
WITH reader AS (SELECT oid FROM pg_roles WHERE rolname = {reader})
SELECT n.nspname, pg_get_userbyid(n.nspowner) AS owner,
  EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
          WHERE a.grantee = (SELECT oid FROM reader) AND a.privilege_type = 'USAGE')
    AS reader_uses
FROM pg_namespace n WHERE n.nspname IN ({planned});
{traps}",
        traps = traps_sql()
    )
}

/// Event triggers that would run a tenant's code in a session like this one.
pub(super) async fn traps(session: &Session) -> Result<Vec<String>, ProviderError> {
    let doing = "looking for event triggers";
    Ok(triggers(&session.rows(doing, &traps_sql()).await?))
}

fn triggers(rows: &[SimpleQueryRow]) -> Vec<String> {
    let names = rows.iter().filter_map(|row| text(row, "evtname"));
    names.map(str::to_owned).collect()
}

/// A function is replaced by whoever is its owner or a member of it, which may be another tenant
/// than the one whose database this is. Read from the few functions on: roles there are many. The
/// one member of `pg_database_owner` is written down nowhere.
pub(super) fn traps_sql() -> String {
    format!(
        "SELECT e.evtname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
WHERE e.evtenabled <> 'D' AND current_setting('event_triggers', true) IS DISTINCT FROM 'off'
  AND EXISTS (WITH RECURSIVE m(oid) AS (
    SELECT CASE WHEN p.proowner = 'pg_database_owner'::regrole THEN (
      SELECT datdba FROM pg_database WHERE datname = current_database()) ELSE p.proowner END
    UNION SELECT a.member FROM m JOIN pg_auth_members a ON a.roleid = m.oid)
  SELECT FROM m JOIN pg_shdescription d
    ON d.objoid = m.oid AND d.classoid = 'pg_authid'::regclass
  WHERE starts_with(d.description, 'domicile:'))
ORDER BY e.evtname LIMIT {MAX_TRAPS}"
    )
}

#[cfg(test)]
mod tests {
    use domicile_core::names::DatabaseName;

    use super::*;

    fn plan(keeps: bool) -> TenantPlan {
        let name = DatabaseName::parse("acme").unwrap();
        TenantPlan {
            keeps,
            ..TenantPlan::bare("u1".into(), name)
        }
    }

    fn open() -> Inside {
        Inside {
            public_has_rights: true,
            reader_locked_out: true,
            defaults: true,
            ..Inside::default()
        }
    }

    /// A grant by who is not its owner succeeds and changes nothing: each look would mend it.
    #[test]
    fn nothing_is_tried_on_a_schema_public_of_somebody_else() {
        let found = Inside {
            public_of: Some("postgres".into()),
            ..open()
        };
        for keeps in [false, true] {
            let Changes { changes, left } = inside(&plan(keeps), &found);
            assert_eq!(changes, []);
            let step = "ALTER SCHEMA public OWNER TO pg_database_owner";
            let told = left.iter().filter(|line| line.contains(step)).count();
            assert_eq!(told, 1, "{left:?}");
            assert_eq!(left.len(), 1 + usize::from(keeps), "{left:?}");
        }
        let fine = Inside {
            public_has_rights: false,
            reader_locked_out: false,
            ..found
        };
        assert_eq!(inside(&plan(false), &fine).left, [] as [String; 0]);
    }

    #[test]
    fn what_may_be_put_right_in_schema_public_is() {
        let Changes { changes, left } = inside(&plan(false), &open());
        assert_eq!((changes.len(), left.len()), (2, 0));
        let Changes { changes, left } = inside(&plan(true), &open());
        assert_eq!(left, ["PUBLIC has rights on schema public"]);
        assert_eq!(changes.len(), 1);
    }
}
