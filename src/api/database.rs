//! The tenant's database: its name, and what is made in it beside what a tenant makes itself.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::meta;
use crate::placement::TenantPlacement;
use crate::schema::rules;

/// The longest time for which one request stands.
const LONGEST_REQUEST: SignedDuration = SignedDuration::from_hours(24);

/// The tenant's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSpec {
    /// `name` of the database and of the role that owns it; `tenant_` and the tenant ID, with `-`
    /// as `_`, when absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 58),
        regex(pattern = "^[a-z][a-z0-9_]*$"),
        extend("x-kubernetes-validations" = rules(&[(
            "!self.startsWith('pg_') && !(self in ['postgres', 'template0', 'template1', \
             'public', 'domicile', 'root', 'none'])",
            "`database.name` must not be a name that PostgreSQL or Domicile uses itself",
        )]))
    )]
    pub name: Option<String>,
    /// `schemas` that the database has beside `public`; none when absent. They belong to the owner
    /// of the database, and the login that only reads may read in them as in `public`. One that is
    /// taken out of the list stays in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schemas")]
    pub schemas: Vec<String>,
    /// `extensions` that the database has, made in this order in schema `public`; none when absent.
    /// The server must list each in its own `extensions`. One that is taken out of the list stays
    /// in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "extensions")]
    pub extensions: Vec<String>,
}

/// What is done about a database of the name that Domicile did not make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AdoptionSpec {
    /// `policy` says whether such a database is looked at or taken over.
    pub policy: AdoptionPolicy,
}

/// What is done about a database that Domicile did not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// The placement only says that the name is taken.
    #[default]
    Never,
    /// The condition `DatabaseReady` lists how database and roles differ from what would be made.
    /// Nothing is changed.
    Observe,
    /// The database is taken over once an administrator of the server has agreed; until then the
    /// condition `DatabaseReady` lists what is missing. What is found on the database beyond the
    /// plan, then and later, is told by the condition `Drifted` and stays. Where there is no
    /// database of the name, or no longer, that is told and none is made.
    Adopt,
}

impl TenantPlacement {
    /// The schemas that the database must have.
    pub fn schemas(&self) -> &[String] {
        &self.spec.database.schemas
    }

    /// The extensions that the database must have.
    pub fn extensions(&self) -> &[String] {
        &self.spec.database.extensions
    }

    /// Whether a person asks, for a day at most, that an empty database is made where the one that
    /// the tenant had is gone.
    pub fn asks_for_database(&self, now: Timestamp) -> bool {
        let text = self.annotations().get(meta::MAKE_DATABASE_UNTIL);
        let until = text.and_then(|text| text.parse::<Timestamp>().ok());
        until.is_some_and(|until| now < until && until.duration_since(now) <= LONGEST_REQUEST)
    }
}

/// Names of schemas: a set.
pub(crate) fn schemas(_: &mut SchemaGenerator) -> Schema {
    let reserved = rules(&[(
        "!self.startsWith('pg_') && !(self in ['public', 'information_schema'])",
        "`schemas` must not hold a name that PostgreSQL uses itself",
    )]);
    set(
        16,
        &json!({
            "type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z][a-z0-9_]*$",
            "x-kubernetes-validations": reserved,
        }),
    )
}

/// Names of extensions: a set.
pub(crate) fn extensions(_: &mut SchemaGenerator) -> Schema {
    set(
        64,
        &json!({
            "type": "string", "minLength": 1, "maxLength": 63,
            "pattern": "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$",
        }),
    )
}

fn set(most: u32, items: &Value) -> Schema {
    json_schema!({
        "type": "array", "maxItems": most, "x-kubernetes-list-type": "set", "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_database_is_asked_for_until_a_time_within_a_day() {
        let asked = |annotation: Option<&str>| {
            let annotations = annotation.map(|text| json!({ meta::MAKE_DATABASE_UNTIL: text }));
            let placement: TenantPlacement = serde_json::from_value(json!({
                "apiVersion": "domicile.dev/v1alpha1", "kind": "TenantPlacement",
                "metadata": { "name": "acme", "annotations": annotations },
                "spec": { "tenantID": "acme" },
            }))
            .unwrap();
            placement.asks_for_database("2026-11-30T12:00:00Z".parse().unwrap())
        };
        assert!(asked(Some("2026-11-30T12:00:01Z")));
        assert!(asked(Some("2026-12-01T13:00:00+01:00")));
        let refused = [
            "2026-11-30T12:00:00Z",
            "2026-12-01T12:00:01Z",
            "9999-01-01T00:00:00Z",
            "true",
            "",
        ];
        for text in refused {
            assert!(!asked(Some(text)), "{text}");
        }
        assert!(!asked(None));
    }
}
