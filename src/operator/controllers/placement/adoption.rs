//! A database of the tenant's name that somebody else made: taken over, or looked at.

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::database::AdoptionPolicy;
use domicile_api::meta::MAKE_DATABASE_UNTIL;
use domicile_api::placement::TenantPlacement;
use domicile_core::placement;
use domicile_providers::{Adoption, Generic, ProviderError, TenantPlan};
use kube::ResourceExt;
use tracing::info;

use super::database::denied;
use super::observe::Seat;
use super::progress::{Progress, Stop, Until};
use super::serve::namespace;
use crate::kube::events::Severity;

/// Takes it over, or says what a person has to do first.
pub(super) async fn adopt(
    server: &Generic,
    (tenant, plan): (&TenantPlacement, &TenantPlan),
    seat: &Seat,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let consent = format!("{}/{}", namespace(tenant), tenant.name_any());
    let adopted = server.adopt_tenant(plan, &consent, seat.epoch).await;
    let named = format!("database {} on {}", seat.database, seat.active);
    match adopted.map_err(|error| denied(&error, progress))? {
        Adoption::Done => {
            let note = format!(
                "{named} is adopted: it has the mark of this placement; nothing that it or its \
                 owner has was taken away"
            );
            progress.tell(Severity::Normal, Reason::Adopted, note);
            Ok(())
        }
        Adoption::Waits(obstacles) => {
            progress.heard = Some(true);
            let logins: Vec<&String> = obstacles.iter().flat_map(|one| &one.logins).collect();
            if !logins.is_empty() {
                let (database, server) = (&seat.database, &seat.active);
                info!(%database, %server, ?logins, "Logins of others keep an adoption waiting");
            }
            let lines = obstacles.iter();
            let lines = lines.map(|one| format!("{}: {}", one.fact, one.step));
            let lines: Vec<String> = lines.collect();
            let message = format!(
                "{named} cannot be adopted before an administrator of the server has done this: {}",
                placement::listed(&lines)
            );
            let stop = Stop::new(Until::Person, Reason::AdoptionWaits, message);
            Err(progress.deny(ConditionType::DatabaseReady, stop))
        }
    }
}

/// There is none of the name. What this placement had and somebody dropped is not made anew empty
/// before a person asks for that: the tenant's data would seem to be there.
pub(super) fn absent(tenant: &TenantPlacement, seat: &Seat, progress: &mut Progress) -> Stop {
    progress.heard = Some(true);
    let named = format!("database {} on {}", seat.database, seat.active);
    let served = tenant.credentials().is_some();
    let (reason, message) = if served {
        let message = format!(
            "{named}, which this placement had, is gone, and none was made in its place: restore \
             it from a backup, or annotate the placement with `{MAKE_DATABASE_UNTIL}` and a time \
             within a day (RFC 3339) to begin with an empty one"
        );
        (Reason::DatabaseMissing, message)
    } else {
        let message = format!(
            "there is no {named} to adopt, and none was made: correct `spec.database.name` in a \
             new placement, bring the database there, or set `spec.adoption.policy` to Never to \
             have an empty one made"
        );
        (Reason::NothingToAdopt, message)
    };
    let stop = Stop::new(Until::Person, reason, message);
    progress.deny(ConditionType::DatabaseReady, stop)
}

/// A tenant that was served has an empty database now: a move lost the one before, or a person
/// asked for it.
pub(super) fn begun_anew(seat: &Seat, progress: &mut Progress) {
    let note = format!(
        "database {} was not on {}, and an empty one was made in its place",
        seat.database, seat.active
    );
    progress.tell(Severity::Warning, Reason::DatabaseMissing, note);
}

/// How it differs from the plan, if the placement asks for that.
pub(super) async fn observed(
    server: &Generic,
    (tenant, plan): (&TenantPlacement, &TenantPlan),
    error: &ProviderError,
    progress: &mut Progress,
) -> Stop {
    let message = match tenant.spec.adoption.policy {
        AdoptionPolicy::Never => {
            let is_database = matches!(
                error,
                ProviderError::NameTaken {
                    kind: "database",
                    ..
                }
            );
            let over = if is_database {
                ", and to Adopt to take it over"
            } else {
                ""
            };
            format!("{error}, or set `spec.adoption.policy` to Observe to see how it differs{over}")
        }
        // It was adopted, and a role of the tenant's names is another's since.
        AdoptionPolicy::Adopt => error.to_string(),
        AdoptionPolicy::Observe => match server.observe_tenant(plan).await {
            Ok(lines) => {
                let lines = placement::listed(&lines);
                let message = format!("{error}; it differs from what would be made: {lines}");
                let stop = Stop::new(Until::Person, Reason::AdoptionObserved, message);
                return progress.deny(ConditionType::DatabaseReady, stop);
            }
            Err(other) => format!("{error}; it could not be looked at: {other}"),
        },
    };
    let stop = Stop::new(Until::Person, Reason::DatabaseNameTaken, message);
    progress.deny(ConditionType::DatabaseReady, stop)
}
