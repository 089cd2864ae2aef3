//! A deletion whose server cannot be worked on: how long it waits, and what it writes down then.

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::meta;
use domicile_api::orphan::{Cleanup, MAX_ORPHANS, Orphan};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::{ServerId, Slot};
use domicile_core::placement::{Parting, parting};
use kube::ResourceExt;
use tracing::info;

use super::error::Halt;
use super::observe::recorded;
use super::progress::{Progress, Stop, Until};
use super::serve::namespace;
use crate::context::Ctx;
use crate::kube::events::Severity;
use crate::orphans::{self, Recorded};

/// What a deletion could not take back, and why. It goes on with the rest all the same.
#[derive(Debug, Default)]
pub(super) struct Kept {
    no_rights: Vec<Stop>,
    refused: Vec<Stop>,
}

impl Kept {
    /// Takes in what became of one part. An error where the rest would fare no better.
    pub(super) fn take(&mut self, done: Result<(), Halt>) -> Result<(), Halt> {
        match done {
            Err(Halt::Stop(stop)) if is_right(stop.reason) => self.no_rights.push(stop),
            Err(Halt::Stop(stop)) => self.refused.push(stop),
            other => return other,
        }
        Ok(())
    }

    /// What there is to be waited for; else what is given up for want of rights.
    pub(super) fn end(self) -> Result<(), Halt> {
        let stop = joined(self.refused).or_else(|| joined(self.no_rights));
        stop.map_or(Ok(()), |stop| Err(stop.into()))
    }

    /// The same, which is also what a condition says.
    pub(super) fn deny(self, type_: ConditionType, progress: &mut Progress) -> Result<(), Halt> {
        let ended = self.end();
        if let Err(Halt::Stop(stop)) = &ended {
            progress.deny(type_, stop.clone());
        }
        ended
    }
}

/// Whether it says that the operator has no rights. They go with a namespace that is deleted, and
/// then nobody can give them again.
pub(super) fn is_right(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NamespaceNotOnboarded | Reason::ClusterNotOnboarded | Reason::WorkloadForbidden
    )
}

/// One for all, with what each says, once.
fn joined(stops: Vec<Stop>) -> Option<Stop> {
    let mut stops = stops.into_iter();
    let mut whole = stops.next()?;
    for stop in stops {
        if !whole.message.contains(&stop.message) {
            whole.message = format!("{}; {}", whole.message, stop.message);
        }
    }
    Some(whole)
}

/// Waits a while for the server, and then hands the database over to its Region, which drops it
/// when the server is back. An error while it waits.
pub(super) async fn leave_database(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    fact: &Stop,
) -> Result<(), Halt> {
    let Some((server, _)) = recorded(tenant) else {
        return Ok(());
    };
    let now = ctx.clock.now().wall;
    let asked = tenant.metadata.deletion_timestamp.as_ref();
    let asked = asked.map_or(now, |time| time.0);
    let skip = meta::SKIP_CLEANUP;
    if let Parting::Wait(until) = parting(asked, now) {
        let message = format!(
            "the deletion waits for {server}, where the database must be dropped: {}; at {until} \
             it is written down in Region {} to be dropped later, and the placement goes; to give \
             the database up instead, set the annotation {skip}=true",
            fact.message, server.region
        );
        return Err(unreachable(message).into());
    }
    let orphan = orphan(ctx, tenant, &server, Cleanup::Drop, None);
    let refusal = match orphans::record(ctx, server.region.as_str(), &orphan).await? {
        Recorded::Stored(region, new) => {
            if new {
                told(ctx, tenant, region.as_ref(), &server, &fact.message);
            }
            return Ok(());
        }
        Recorded::NoRegion => format!("Region {} does not exist", server.region),
        Recorded::Full => format!("Region {} lists {MAX_ORPHANS} others", server.region),
    };
    let message = format!(
        "the deletion waits for {server}, where the database must be dropped: {}; it cannot be \
         written down to be dropped later, because {refusal}; to give the database up instead, \
         set the annotation {skip}=true",
        fact.message
    );
    Err(unreachable(message).into())
}

/// Hands the closing of the logins before a rotation over to the Region. A placement whose database
/// is kept does not wait for anything.
pub(super) async fn leave_logins(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    slot: Slot,
    fact: &str,
) -> Result<(), Halt> {
    let Some((server, _)) = recorded(tenant) else {
        return Ok(());
    };
    let orphan = orphan(ctx, tenant, &server, Cleanup::CloseLogins, Some(slot));
    match orphans::record(ctx, server.region.as_str(), &orphan).await? {
        Recorded::Stored(region, true) => told(ctx, tenant, region.as_ref(), &server, fact),
        Recorded::Stored(_, false) => {}
        Recorded::NoRegion | Recorded::Full => {
            let note = format!(
                "the logins before the last rotation stay open on {server}: {fact}; close them \
                 there by hand"
            );
            let reason = Reason::CleanupBlocked.as_str();
            ctx.events
                .publish(tenant, Severity::Warning, reason, "Release", note);
        }
    }
    Ok(())
}

fn orphan(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    server: &ServerId,
    cleanup: Cleanup,
    closes: Option<Slot>,
) -> Orphan {
    Orphan {
        uid: tenant.uid().unwrap_or_default(),
        namespace: namespace(tenant),
        name: tenant.name_any(),
        server: server.server.clone(),
        database: tenant
            .database_name()
            .map_or_else(|_| String::new(), |name| name.to_string()),
        cleanup,
        closes: closes.map(Into::into),
        since: ctx.clock.now().wall,
        problem: None,
    }
}

fn told(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    region: &domicile_api::Region,
    server: &ServerId,
    fact: &str,
) {
    info!(%server, "Writing down what a placement leaves");
    let of = format!("{}/{}", namespace(tenant), tenant.name_any());
    let note = format!(
        "TenantPlacement {of} goes without its server {server} ({fact}); Region {} cleans up \
         after it when that can be worked on, see its `status.orphans`",
        server.region
    );
    let reason = Reason::OrphanRecorded.as_str();
    ctx.events
        .publish(tenant, Severity::Warning, reason, "Release", note.clone());
    ctx.events
        .publish(region, Severity::Warning, reason, "Clean", note);
}

fn unreachable(message: String) -> Stop {
    Stop::new(Until::Mended, Reason::RegionUnreachable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(reason: Reason, message: &str) -> Result<(), Halt> {
        Err(Stop::new(Until::Person, reason, message).into())
    }

    fn end(parts: Vec<Result<(), Halt>>) -> Option<Stop> {
        let mut kept = Kept::default();
        for part in parts {
            kept.take(part).unwrap();
        }
        match kept.end() {
            Err(Halt::Stop(stop)) => Some(stop),
            Err(other) => unreachable!("{other:?}"),
            Ok(()) => None,
        }
    }

    /// A right that went with the namespace is no reason to wait; a denial is.
    #[test]
    fn what_is_refused_is_waited_for_before_what_there_is_no_right_to() {
        assert_eq!(end(vec![Ok(())]), None);
        let rights = || stop(Reason::NamespaceNotOnboarded, "no rights");
        let left = end(vec![rights(), Ok(()), rights()]).unwrap();
        assert!(is_right(left.reason));
        assert_eq!(left.message, "no rights", "the same is said once");
        let denied = |name: &str| stop(Reason::ApiServerError, name);
        let left = end(vec![rights(), denied("a"), denied("b")]).unwrap();
        assert!(!is_right(left.reason));
        assert_eq!(left.message, "a; b");
    }

    #[test]
    fn what_would_befall_the_rest_too_ends_it() {
        let later = Err(Halt::Later(std::time::Duration::ZERO));
        let ended = Kept::default().take(later);
        assert!(matches!(ended, Err(Halt::Later(_))), "{ended:?}");
    }
}
