//! A rotation: other logins are given new passwords, tried and published; those before are closed
//! when nobody needs them any more.
//!
//! A password is set before it is published, so that no reader of the Secret meets one that does
//! not work. Killed in between, the next pass makes another one: nobody has seen the first.

use domicile_api::conditions::Reason;
use domicile_api::credentials::{CredentialsStatus, RoleSlot};
use domicile_api::placement::TenantPlacement;
use domicile_core::connection::Rendered;
use domicile_core::names::Slot;
use domicile_core::rotation::{self, Cause, Credentials, Sight, Step};
use domicile_providers::Generic;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

use super::database;
use super::error::Halt;
use super::progress::{Progress, Served};
use super::secret::{self, Chosen, Passwords, Write};
use super::serve::bad_template;
use super::store::Store;
use super::target::Target;
use crate::context::Ctx;
use crate::kube::events::Severity;

/// Publishes the other logins when that is due. Returns what the Secret holds then.
pub(super) async fn turn(
    target: &Target<'_>,
    store: &Store<'_>,
    live: Option<&Secret>,
    chosen: &Chosen,
    progress: &mut Progress,
) -> Result<Option<Rendered>, Halt> {
    let Target {
        tenant,
        seat,
        endpoint,
        external,
    } = *target;
    // What was published is stored first.
    if chosen.slot != tenant.active_slot() || !chosen.vouched {
        return Ok(None);
    }
    let differs = |given: &SecretString| {
        main(&chosen.passwords).is_some_and(|now| now.expose_secret() != given.expose_secret())
    };
    let replaced = external.given().is_some_and(differs);
    let Step::Rotate(cause) = step(target, store.ctx, (replaced, false)) else {
        return Ok(None);
    };
    info!(%cause, "Rotating the credentials");
    let next = Chosen {
        slot: chosen.slot.other(),
        passwords: renewed(&chosen.passwords, external.given()),
        fresh: true,
        vouched: false,
    };
    let rendered = target
        .render(&next)
        .map_err(|error| bad_template(&error, progress))?;
    let server = Generic::new(endpoint.clone(), database::MAKE);
    let server = server.map_err(|error| database::stop_for(&error))?;
    let plan = database::plan(tenant, seat, None);
    for (access, password) in database::published(&next.passwords) {
        let login = (access, next.slot);
        let set = database::set_password(&server, &plan, seat, login, password);
        set.await.map_err(|error| database::stop_for(&error))?;
        let tried = database::log_in(&server, seat, login, password);
        tried.await.map_err(|error| database::stop_for(&error))?;
    }
    let write = secret::write(live, &target.identity(), &rendered);
    debug_assert!(
        !matches!(write, Write::Nothing),
        "a new password is a change"
    );
    store.write(write, progress).await?;
    progress.served = Some(target.served(&rendered, &next));
    progress.tell(
        Severity::Normal,
        Reason::CredentialsRotated,
        told(target, &next, cause),
    );
    Ok(Some(rendered))
}

/// Closes the logins before the published ones when nobody needs them any more.
pub(super) async fn close(
    target: &Target<'_>,
    ctx: &Ctx,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let Target {
        tenant,
        seat,
        endpoint,
        external: _,
    } = *target;
    let published = progress.served.as_ref().map(|served| served.slot);
    if published != Some(tenant.active_slot()) {
        return Ok(());
    }
    let Step::Close { slot, if_unused } = step(target, ctx, (false, progress.taken_up)) else {
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
    database::make(&server, &plan, seat, progress).await?;
    progress.retired = true;
    let why = if if_unused {
        "every selected workload has taken up the new ones, and no session uses them"
    } else {
        "`spec.credentials.rotation.overlapSeconds` is over"
    };
    let note = format!(
        "closed the logins {}: {why}",
        names(target, slot).join(" and ")
    );
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
    let known = tenant
        .status
        .as_ref()
        .and_then(|status| status.credentials.clone());
    let active = RoleSlot::from(served.slot);
    let turned = known
        .as_ref()
        .is_some_and(|known| known.active_role != active);
    let renewed = turned || served.new_password;
    let before = known.as_ref().map_or(0, |known| known.generation);
    let kept = known.as_ref().filter(|_| !renewed);
    let answered = match &known {
        Some(known) if !turned => known.answered_request.clone(),
        Some(_) | None => tenant.rotation_request(),
    };
    let mut next = CredentialsStatus {
        generation: if renewed { before + 1 } else { before.max(1) },
        active_role: active,
        last_rotated: if renewed {
            Some(now)
        } else {
            kept.and_then(|known| known.last_rotated)
        },
        next_rotation: None,
        retiring_role: match &known {
            Some(known) if turned => Some(known.active_role),
            Some(known) if !retired => known.retiring_role,
            Some(_) | None => None,
        },
        answered_request: answered,
    };
    let since = next
        .last_rotated
        .or_else(|| tenant.credentials().map(|known| known.since));
    next.next_rotation = since.and_then(|since| {
        let credentials = Credentials {
            since,
            retiring: None,
            answered: None,
        };
        rotation::next(&credentials, &tenant.rotation())
    });
    next
}

fn step(target: &Target<'_>, ctx: &Ctx, (replaced, taken_up): (bool, bool)) -> Step {
    let Some(known) = target.tenant.credentials() else {
        return Step::Rest;
    };
    let sight = Sight {
        now: ctx.clock.now().wall,
        steady: target.seat.steady,
        replaced,
        taken_up,
    };
    rotation::step(&known, &target.tenant.rotation(), sight)
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
