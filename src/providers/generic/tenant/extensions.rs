//! The extensions of a tenant's database.

use std::collections::BTreeMap;

use domicile_core::names::{quote_identifier, quote_literal};
use tokio::time::Instant;

use super::TenantPlan;
use crate::error::ProviderError;
use crate::generic::Generic;
use crate::session::{Session, text, truth};

/// An extension that is planned and was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub extension: String,
    /// Why not.
    pub why: Why,
}

/// Why an extension was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It may not be made on this server; then none of the others that are missing is made either.
    Unlisted,
    /// The server has no such extension.
    Unavailable,
    /// Only a superuser may make it.
    NotTrusted,
    /// There is no schema `public` to make it in.
    NoSchema,
    /// The server refused; its message.
    Failed(String),
}

/// What the server has of an extension.
#[derive(Debug, Clone, Default)]
pub(super) struct Offer {
    pub(super) installed: bool,
    /// A role that may create in the database may make it: it is trusted, or needs no superuser.
    /// The script of the latter runs with its maker's rights, in a schema that the tenant rules.
    pub(super) trusted: bool,
    /// It chooses its schema itself.
    pub(super) fixed: bool,
}

/// The planned extensions that the server knows, and whether there is a schema `public`.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    pub(super) known: BTreeMap<String, Offer>,
    pub(super) has_public: bool,
}

/// Statements for what is missing, each by itself: first as whom, then the statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Making {
    pub(super) extension: String,
    /// As the owner of the database, whose rights are enough for it.
    pub(super) as_owner: bool,
    pub(super) sql: String,
}

/// What is to be made, in the order of the plan, and what cannot be.
pub(super) fn missing(plan: &TenantPlan, offers: &Offers) -> (Vec<Making>, Vec<Refused>) {
    let installed = |name: &&String| offers.known.get(*name).is_some_and(|o| o.installed);
    let missing: Vec<&String> = plan.extensions.iter().filter(|n| !installed(n)).collect();
    let refused = |name: &String, why| Refused {
        extension: name.clone(),
        why,
    };
    let unlisted: Vec<Refused> = missing
        .iter()
        .filter(|name| plan.unlisted.contains(**name))
        .map(|name| refused(name, Why::Unlisted))
        .collect();
    if !unlisted.is_empty() {
        return (Vec::new(), unlisted);
    }
    let (mut making, mut without) = (Vec::new(), Vec::new());
    for name in missing {
        let Some(offer) = offers.known.get(name) else {
            without.push(refused(name, Why::Unavailable));
            continue;
        };
        if !offer.fixed && !offers.has_public {
            without.push(refused(name, Why::NoSchema));
            continue;
        }
        let schema = if offer.fixed { "" } else { " SCHEMA public" };
        making.push(Making {
            extension: name.clone(),
            as_owner: offer.trusted,
            sql: format!("CREATE EXTENSION {}{schema}", quote_identifier(name)),
        });
    }
    (making, without)
}

pub(super) async fn read_offers(
    session: &Session,
    plan: &TenantPlan,
) -> Result<Offers, ProviderError> {
    let doing = "reading what extensions there are";
    let mut results = session.query(doing, &offers_sql(plan)).await?;
    let (Some(public), Some(rows)) = (results.pop(), results.pop()) else {
        return Err(session.odd(doing, "fewer than two results"));
    };
    let offer = |row| Offer {
        installed: truth(row, "installed"),
        trusted: truth(row, "trusted"),
        fixed: truth(row, "fixed"),
    };
    let named = |row| text(row, "name").unwrap_or_default().to_owned();
    Ok(Offers {
        known: rows.iter().map(|row| (named(row), offer(row))).collect(),
        has_public: public.first().is_some_and(|row| truth(row, "has_public")),
    })
}

pub(super) fn offers_sql(plan: &TenantPlan) -> String {
    let names: Vec<String> = plan.extensions.iter().map(|n| quote_literal(n)).collect();
    format!(
        "SELECT e.name, e.installed_version IS NOT NULL AS installed,
  coalesce(v.trusted OR NOT v.superuser, false) AS trusted, v.schema IS NOT NULL AS fixed
FROM pg_available_extensions e
LEFT JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
WHERE e.name IN ({names})
UNION ALL
SELECT extname, true, false, false FROM pg_extension
WHERE extname IN ({names}) AND extname NOT IN (SELECT name FROM pg_available_extensions);
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public') AS has_public",
        names = names.join(", ")
    )
}

impl Generic {
    /// Makes one extension. A refusal by the server is an answer, everything else an error.
    pub(super) async fn make_extension(
        &self,
        guard: &Session,
        plan: &TenantPlan,
        making: &Making,
        deadline: Instant,
    ) -> Result<Option<Refused>, ProviderError> {
        let owner = plan.database.owner();
        let role = if making.as_owner { &owner } else { "none" };
        let database = plan.database.as_str();
        let session = self.hosted(guard, database, role, deadline).await?;
        let doing = "making an extension";
        let why = match session.run(doing, &making.sql).await {
            Ok(()) => None,
            // Made by someone else at the same moment.
            Err(ProviderError::Sql { state, .. }) if state == "42710" => None,
            Err(ProviderError::MissingRight { .. }) => Some(Why::NotTrusted),
            Err(ProviderError::Sql { fact, .. }) => Some(Why::Failed(fact)),
            Err(other) => return Err(other),
        };
        session.close().await;
        Ok(why.map(|why| Refused {
            extension: making.extension.clone(),
            why,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_core::names::DatabaseName;

    use super::*;

    fn plan(extensions: &[&str], unlisted: &[&str]) -> TenantPlan {
        TenantPlan {
            uid: "u".into(),
            database: DatabaseName::parse("acme").unwrap(),
            access: Vec::new(),
            idle: None,
            schemas: Vec::new(),
            extensions: extensions.iter().map(|name| (*name).to_owned()).collect(),
            unlisted: unlisted.iter().map(|name| (*name).to_owned()).collect(),
            keeps: false,
            makes: true,
        }
    }

    fn offers(known: &[(&str, bool, bool, bool)]) -> Offers {
        let offer = |(name, installed, trusted, fixed): &(&str, bool, bool, bool)| {
            let (installed, trusted, fixed) = (*installed, *trusted, *fixed);
            let offer = Offer {
                installed,
                trusted,
                fixed,
            };
            ((*name).to_owned(), offer)
        };
        Offers {
            known: known.iter().map(offer).collect(),
            has_public: true,
        }
    }

    #[test]
    fn one_that_may_not_be_made_keeps_the_others_from_being_made() {
        let offers = offers(&[
            ("citext", false, true, false),
            ("hstore", true, true, false),
        ]);
        let (making, refused) = missing(&plan(&["citext", "dblink"], &["dblink"]), &offers);
        assert!(making.is_empty());
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].why, Why::Unlisted);
        // What is there already is nobody's question.
        let (making, refused) = missing(&plan(&["citext", "hstore"], &["hstore"]), &offers);
        assert_eq!((making.len(), refused.len()), (1, 0));
    }

    #[test]
    fn each_is_made_with_the_least_rights_and_where_it_belongs() {
        let known = [
            ("citext", false, true, false),
            ("dblink", false, false, false),
            ("adminpack", false, false, true),
        ];
        let asked = ["citext", "dblink", "adminpack", "nowhere"];
        let (making, refused) = missing(&plan(&asked, &[]), &offers(&known));
        let made: Vec<_> = making
            .iter()
            .map(|m| (m.as_owner, m.sql.as_str()))
            .collect();
        assert_eq!(
            made,
            [
                (true, "CREATE EXTENSION \"citext\" SCHEMA public"),
                (false, "CREATE EXTENSION \"dblink\" SCHEMA public"),
                (false, "CREATE EXTENSION \"adminpack\""),
            ]
        );
        let refused: BTreeSet<_> = refused.iter().map(|r| r.extension.as_str()).collect();
        assert_eq!(refused, BTreeSet::from(["nowhere"]));
        let bare = Offers {
            has_public: false,
            ..offers(&known)
        };
        let (making, refused) = missing(&plan(&["citext", "adminpack"], &[]), &bare);
        assert_eq!(making.len(), 1);
        assert_eq!(refused[0].why, Why::NoSchema);
    }
}
