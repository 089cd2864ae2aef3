//! A rotation: other logins are given new passwords, tried and published; those before are closed
//! when nobody needs them any more.
//!
//! A password is set before it is published, so that no reader of the Secret meets one that does
//! not work. Killed in between, the next pass makes another one: nobody has seen the first.

use std::time::Duration;

use domicile_api::conditions::{self, ConditionType, Reason, Status};
use domicile_api::credentials::{CredentialsStatus, RoleSlot};
use domicile_api::placement::TenantPlacement;
use domicile_core::names::Slot;
use domicile_core::rotation::{self, Cause, Credentials, Sight, Step};
use domicile_providers::{Generic, ProviderError};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

use super::database;
use super::error::Halt;
use super::progress::{Progress, Served, Stop, Until};
use super::reads::Patience;
use super::secret::{self, Chosen, Identity, Passwords, Source};
use super::serve::bad_template;
use super::store::Store;
use super::target::Target;
use crate::context::Ctx;
use crate::kube::events::Severity;

/// Publishes the other logins when that is due.
pub(super) async fn turn(
    target: &Target<'_>,
    store: &Store<'_>,
    live: Option<&Secret>,
    chosen: &Chosen,
    progress: &mut Progress,
) -> Result<(), Halt> {
    // What was published is stored first, and under which name.
    let stored = target.tenant.is_stored();
    if chosen.slot != target.tenant.active_slot() || chosen.source != Source::Vouched || !stored {
        return Ok(());
    }
    let given = target.external.given();
    let differs = |given: &SecretString| {
        main(&chosen.passwords).is_some_and(|now| now.expose_secret() != given.expose_secret())
    };
    let replaced = given.is_some_and(differs);
    if !progress.retired {
        tell_waiting(target, store.at.ctx, replaced, progress);
    }
    let Step::Rotate(cause) = step(target, store.at.ctx, replaced, None) else {
        return Ok(());
    };
    info!(%cause, "Rotating the credentials");
    let next = Chosen {
        slot: chosen.slot.other(),
        passwords: renewed(&chosen.passwords, given),
        fresh: true,
        held: false,
        source: Source::New,
    };
    let rendered = target
        .render(&next)
        .map_err(|error| bad_template(&error, progress))?;
    if let Err(error) = open(target, &next).await {
        let names = names(target, next.slot).join(" and ");
        let message = format!("the logins {names} were to be published, and do not work: {error}");
        return Err(Stop::new(Until::Person, Reason::RotationFailed, message).into());
    }
    // Each try makes another password, so that only this one pass can wait for it.
    target
        .try_reads(store.at.ctx, &next, Patience::Pass, progress)
        .await?;
    let request = target.tenant.rotation_request();
    let identity = Identity {
        answered: request.clone(),
        ..target.identity(store.at.ctx.clock.now().wall)
    };
    let write = secret::write(live, &identity, &rendered);
    store.write(write, progress).await?;
    let served = target.served(&rendered, &next);
    progress.served = Some(Served {
        answered: request,
        ..served
    });
    progress.rolling = true;
    let note = told(target, &next, cause);
    progress.tell(Severity::Normal, Reason::CredentialsRotated, note);
    Ok(())
}

/// Gives the logins their passwords, and logs in with each.
async fn open(target: &Target<'_>, next: &Chosen) -> Result<(), ProviderError> {
    let Target {
        tenant,
        seat,
        endpoint,
        external: _,
        reads: _,
        awaited: _,
        published: _,
    } = *target;
    let server = Generic::new(endpoint.clone(), database::MAKE)?;
    let plan = database::plan(tenant, seat, None);
    let all = database::published(&next.passwords);
    database::set_passwords(&server, &plan, seat, next.slot, all).await?;
    for (access, password) in database::published(&next.passwords) {
        let login = (access, next.slot);
        database::log_in(&server, seat, login, password).await?;
    }
    Ok(())
}

/// Closes the logins before the published ones when nobody needs them any more. `taken_up` says for
/// how many milliseconds all selected workloads have run with the present ones.
pub(super) async fn close(
    target: &Target<'_>,
    ctx: &Ctx,
    taken_up: Option<u64>,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let Target {
        tenant,
        seat,
        endpoint,
        external: _,
        reads: _,
        awaited: _,
        published: _,
    } = *target;
    let published = progress.served.as_ref().map(|served| served.slot);
    if published != Some(tenant.active_slot()) {
        return Ok(());
    }
    let Step::Close { slot, if_unused } = step(target, ctx, false, taken_up) else {
        return Ok(());
    };
    let server = Generic::new(endpoint.clone(), database::MAKE);
    let server = server.map_err(|error| database::stop_for(&error))?;
    let plan = database::plan(tenant, seat, Some(slot));
    if if_unused {
        let held = server.sessions(&plan, slot).await;
        if held.map_err(|error| database::stop_for(&error))? > 0 {
            return Ok(());
        }
    }
    info!(?slot, "Closing the logins before");
    let closed = server.close_logins(&plan, slot, seat.epoch).await;
    closed.map_err(|error| database::denied(&error, progress))?;
    progress.retired = true;
    let why = if if_unused {
        "every selected workload has taken up the new ones, and no session uses them"
    } else {
        "`spec.credentials.rotation.overlapSeconds` is over"
    };
    let names = names(target, slot).join(" and ");
    let note = format!("closed the logins {names}: {why}");
    progress.tell(Severity::Normal, Reason::LoginRetired, note);
    Ok(())
}

/// What the status records of the credentials after a pass.
pub(super) fn recorded(
    tenant: &TenantPlacement,
    served: &Served,
    retired: bool,
    now: Timestamp,
) -> CredentialsStatus {
    let known = tenant.status.as_ref();
    let known = known.and_then(|status| status.credentials.clone());
    let active = RoleSlot::from(served.slot);
    let Some(known) = known else {
        return first(tenant, served, now);
    };
    let turned = known.active_role != active;
    let generation = generation(tenant, served);
    let retiring_role = if turned {
        Some(known.active_role)
    } else {
        known.retiring_role.filter(|_| !retired)
    };
    let last_rotated = if turned {
        Some(now)
    } else {
        known.last_rotated
    };
    let created = tenant.credentials().map(|known| known.since);
    CredentialsStatus {
        generation,
        active_role: active,
        last_rotated,
        next_rotation: next(tenant, last_rotated.or(created)),
        retiring_role,
        answered_request: served.answered.clone().or(known.answered_request),
    }
}

/// The time until the next rotation, as recorded; none where there is none, or it is due already.
pub(super) fn until_next(tenant: &TenantPlacement, now: Timestamp) -> Option<Duration> {
    let known = tenant.status.as_ref()?.credentials.as_ref()?;
    Duration::try_from(known.next_rotation?.duration_since(now)).ok()
}

/// The generation of the credentials after a pass.
pub(super) fn generation(tenant: &TenantPlacement, served: &Served) -> i64 {
    let known = tenant.status.as_ref();
    let Some(known) = known.and_then(|status| status.credentials.as_ref()) else {
        return 1;
    };
    let turned = known.active_role != RoleSlot::from(served.slot);
    known.generation.max(1) + i64::from(turned || served.new_password)
}

/// The first record. Credentials that were there already had one that is lost: the other logins may
/// be in use.
fn first(tenant: &TenantPlacement, served: &Served, now: Timestamp) -> CredentialsStatus {
    let lost = !served.new_password;
    CredentialsStatus {
        generation: 1,
        active_role: served.slot.into(),
        last_rotated: Some(now),
        next_rotation: next(tenant, Some(now)),
        retiring_role: lost.then(|| served.slot.other().into()),
        answered_request: tenant.rotation_request(),
    }
}

fn next(tenant: &TenantPlacement, since: Option<Timestamp>) -> Option<Timestamp> {
    let credentials = Credentials {
        since: since?,
        retiring: None,
        answered: None,
    };
    rotation::next(&credentials, &tenant.rotation())
}

fn step(target: &Target<'_>, ctx: &Ctx, replaced: bool, taken_up_ms: Option<u64>) -> Step {
    let Some(known) = target.tenant.credentials() else {
        return Step::Rest;
    };
    let sight = sight(target, ctx, replaced, taken_up_ms);
    rotation::step(&known, &target.tenant.rotation(), sight)
}

fn sight(target: &Target<'_>, ctx: &Ctx, replaced: bool, taken_up_ms: Option<u64>) -> Sight {
    Sight {
        now: ctx.clock.now().wall,
        steady: target.seat.steady,
        replaced,
        taken_up_ms,
    }
}

/// Tells of a rotation that waits for the end of an overlap, and once by an event.
fn tell_waiting(target: &Target<'_>, ctx: &Ctx, replaced: bool, progress: &mut Progress) {
    let type_ = ConditionType::CredentialsCurrent;
    let status = target.tenant.status.as_ref();
    let kept = status.and_then(|status| conditions::find(&status.conditions, type_));
    let holds = match progress.findings.get(&type_) {
        Some(found) => found.status == Status::True,
        None => kept.is_some_and(|kept| kept.status == Status::True.as_str()),
    };
    if !holds {
        return;
    }
    let known = target.tenant.credentials();
    let waiting = known.and_then(|known| {
        let sight = sight(target, ctx, replaced, None);
        rotation::waiting(&known, &target.tenant.rotation(), sight)
    });
    let told = kept.is_some_and(|kept| kept.reason == Reason::RotationWaits.as_str());
    let Some((cause, until)) = waiting else {
        if told && !progress.findings.contains_key(&type_) {
            database::login_works(target.seat, progress);
        }
        return;
    };
    let before = names(target, target.tenant.active_slot().other()).join(" and ");
    let message = format!(
        "other logins are to be published, because {cause}; that waits until {before}, which were \
         published before, are closed, at {until} at the latest"
    );
    progress.found(type_, Status::True, Reason::RotationWaits, message.clone());
    if !told {
        progress.tell(Severity::Normal, Reason::RotationWaits, message);
    }
}

/// Tells of logins that took the place of those whose passwords were lost.
pub(super) fn tell_replaced(target: &Target<'_>, chosen: &Chosen, progress: &mut Progress) {
    progress.rolling = true;
    let note = told(target, chosen, Cause::Lost);
    progress.tell(Severity::Normal, Reason::CredentialsRotated, note);
}

/// The password of the login that writes, or of the only one.
fn main(passwords: &Passwords) -> Option<&SecretString> {
    passwords
        .read_write
        .as_ref()
        .or(passwords.read_only.as_ref())
}

/// New passwords for the same logins: the user's for the main one, if it is given.
fn renewed(before: &Passwords, given: Option<&SecretString>) -> Passwords {
    let made = |_: &SecretString| secret::generate();
    let mut next = Passwords {
        read_write: before.read_write.as_ref().map(made),
        read_only: before.read_only.as_ref().map(made),
    };
    if let Some(given) = given {
        let main = next.read_write.as_mut().or(next.read_only.as_mut());
        if let Some(main) = main {
            *main = given.clone();
        }
    }
    next
}

fn told(target: &Target<'_>, next: &Chosen, cause: Cause) -> String {
    let before = names(target, next.slot.other()).join(" and ");
    let seconds = target.tenant.rotation().overlap_seconds;
    format!(
        "published the logins {} with new passwords, because {cause}; {before} stay open for at \
         most {seconds} s",
        names(target, next.slot).join(" and ")
    )
}

fn names(target: &Target<'_>, slot: Slot) -> Vec<String> {
    let names = database::usernames(target.tenant, target.seat, slot);
    [names.read_write, names.read_only]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests;
