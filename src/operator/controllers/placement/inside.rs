//! What a look at the tenant's database tells: what differed, and what is still missing.

use domicile_api::conditions::{self, ConditionType, Reason, Status};
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::DatabaseStatus;
use domicile_core::names::quote_identifier;
use domicile_core::placement::{Drift, drift, listed};
use domicile_providers::{Refused, Settled, Why};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::observe::Seat;
use super::progress::Progress;
use crate::kube::events::Severity;

/// Tells what became of a look. `settled` says whether all was as planned before. Answers what is
/// missing, for a person to see to.
pub(super) fn tell(
    (tenant, seat): (&TenantPlacement, &Seat),
    looked: Settled,
    settled: bool,
    progress: &mut Progress,
) -> Option<(Reason, String)> {
    let Settled {
        applied: _,
        mended,
        left,
        refused,
        made: _,
        shut: _,
    } = looked;
    let before = tenant.status.as_ref();
    let before = before.and_then(|s| conditions::find(&s.conditions, ConditionType::Drifted));
    drifted(seat, before, drift(settled, mended, left), progress);
    let first = refused.first()?;
    let reason = match first.why {
        Why::Unlisted => Reason::ExtensionNotAllowed,
        Why::Unavailable | Why::NotTrusted | Why::NoSchema | Why::Failed(_) => {
            Reason::DatabaseIncomplete
        }
    };
    let facts: Vec<String> = refused.iter().map(|one| refusal(seat, one)).collect();
    let message = format!("`spec.database.extensions`: {}", listed(&facts));
    let type_ = ConditionType::DatabaseReady;
    progress.found(type_, Status::False, reason, message.clone());
    Some((reason, message))
}

/// Records what the spec made in the database, and tells what it made once and lists no more.
pub(super) fn made(tenant: &TenantPlacement, progress: &mut Progress) {
    let now = DatabaseStatus {
        schemas: tenant.schemas().to_vec(),
        extensions: tenant.extensions().to_vec(),
    };
    let status = tenant.status.as_ref();
    let before = status.and_then(|status| status.database.as_ref());
    stays(before, &now, progress);
    if before.is_some() || now != DatabaseStatus::default() {
        progress.made = Some(now);
    }
}

fn drifted(seat: &Seat, before: Option<&Condition>, drift: Drift, progress: &mut Progress) {
    let type_ = ConditionType::Drifted;
    match drift {
        Drift::None => {
            let message = "the last look at the database found all as planned";
            progress.found(type_, Status::False, Reason::AsPlanned, message);
        }
        Drift::Mended(mended) => {
            let message = format!("on {}, put right: {}", seat.active, listed(&mended));
            progress.tell(Severity::Warning, Reason::DriftRepaired, message.clone());
            progress.found(type_, Status::True, Reason::DriftRepaired, message);
        }
        Drift::Left(left, mended) => {
            let mut message = format!(
                "on {}, left alone, because a repair could break who relies on it: {}; put it \
                 right by hand",
                seat.active,
                listed(&left)
            );
            // Each look finds it again; it is told once.
            if before.is_none_or(|before| !before.message.starts_with(&message)) {
                progress.tell(Severity::Warning, Reason::DriftLeft, message.clone());
            }
            if !mended.is_empty() {
                let note = format!("on {}, put right: {}", seat.active, listed(&mended));
                progress.tell(Severity::Warning, Reason::DriftRepaired, note.clone());
                message.push_str("; ");
                message.push_str(&note);
            }
            progress.found(type_, Status::True, Reason::DriftLeft, message);
        }
    }
}

fn refusal(seat: &Seat, refused: &Refused) -> String {
    let Refused { extension, why } = refused;
    match why {
        Why::Unlisted => format!(
            "{extension} is not in `extensions` of the database server {}, so nothing that is \
             missing was made; list it there, or take it out here",
            seat.place
        ),
        Why::Unavailable => format!(
            "{} has no extension {extension}; install its package there, or take it out here",
            seat.active
        ),
        Why::NotTrusted => format!(
            "{extension} is made by superusers only, and Domicile's login is none; run `CREATE \
             EXTENSION {} SCHEMA public` in database {} of {} as one, or take it out here",
            quote_identifier(extension),
            seat.database,
            seat.active
        ),
        Why::NoSchema => format!(
            "{extension} is made in schema public, which database {} has not; create that schema, \
             or take the extension out here",
            seat.database
        ),
        Why::Failed(fact) => format!(
            "{} refused to make {extension}: {fact}; see the server's log, or take it out here",
            seat.active
        ),
    }
}

/// What was taken out of the spec, compared with what was made by it, and stays.
pub(super) fn stays(made: Option<&DatabaseStatus>, now: &DatabaseStatus, progress: &mut Progress) {
    let Some(made) = made else { return };
    let gone = |before: &[String], now: &[String]| -> Vec<String> {
        before
            .iter()
            .filter(|name| !now.contains(name))
            .cloned()
            .collect()
    };
    for (field, names) in [
        ("schemas", gone(&made.schemas, &now.schemas)),
        ("extensions", gone(&made.extensions, &now.extensions)),
    ] {
        if !names.is_empty() {
            let note = format!(
                "`spec.database.{field}` no longer lists {}, which stays in the database; drop it \
                 there if it is to go",
                names.join(", ")
            );
            progress.tell(Severity::Normal, Reason::LeftInDatabase, note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_of_the_spec_is_said_to_stay() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let made = DatabaseStatus {
            schemas: list(&["app", "jobs"]),
            extensions: list(&["citext"]),
        };
        let now = DatabaseStatus {
            schemas: list(&["jobs"]),
            extensions: list(&["citext", "hstore"]),
        };
        let mut progress = Progress::default();
        stays(None, &now, &mut progress);
        stays(Some(&now), &now, &mut progress);
        assert!(progress.told.is_empty());
        stays(Some(&made), &now, &mut progress);
        assert_eq!(progress.told.len(), 1);
        let (_, reason, note) = &progress.told[0];
        assert_eq!(*reason, Reason::LeftInDatabase);
        assert!(
            note.contains("`spec.database.schemas` no longer lists app,"),
            "{note}"
        );
    }
}
