//! What the Secret must hold: which logins, from where, and the write that makes it so.

use domicile_api::conditions::ConditionType;
use domicile_api::placement::TenantPlacement;
use domicile_core::connection::Rendered;
use domicile_core::rotation;
use domicile_providers::Generic;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::database;
use super::error::Halt;
use super::external::External;
use super::memory::Inputs;
use super::progress::{Progress, Served, Stop, Until};
use super::secret::{self, Chosen, Identity, Source, Write};
use super::serve::bad_template;
use super::target::Target;
use crate::context::Ctx;

/// The Secrets that the hub has.
pub(super) struct Found {
    /// Under the name that it is to have.
    pub(super) live: Option<Secret>,
    /// Under the name that the status tells, where that is another one, and the placement of then.
    pub(super) before: Option<(TenantPlacement, Secret)>,
}

impl Found {
    /// The Secret that holds what is published.
    pub(super) fn published(&self) -> Option<&Secret> {
        let before = self.before.as_ref().map(|(_, secret)| secret);
        before.or(self.live.as_ref())
    }
}

/// What the Secret must hold, and the write that makes it so.
pub(super) struct Wanted {
    pub(super) chosen: Chosen,
    pub(super) rendered: Rendered,
    pub(super) inputs: Inputs,
    pub(super) write: Write,
    /// Since when it holds that.
    pub(super) published: Option<Timestamp>,
}

pub(super) async fn wanted(
    ctx: &Ctx,
    target: &Target<'_>,
    found: &Found,
    progress: &mut Progress,
) -> Result<Wanted, Halt> {
    let live = found.live.as_ref();
    let chosen = choose(target, found, progress).await?;
    lacking(target.external, &chosen, progress)?;
    let rendered = target
        .render(&chosen)
        .map_err(|error| bad_template(&error, progress))?;
    let inputs = target.inputs(&chosen, &rendered);
    let now = ctx.clock.now().wall;
    let told = secret::told_answer(found.published());
    let answered = rotation::answered(told, &target.tenant.rotation()).map(str::to_owned);
    let identity = Identity {
        answered: answered.clone(),
        ..target.identity(now)
    };
    let write = secret::write(live, &identity, &rendered);
    let published = match write {
        Write::Nothing => secret::published(live),
        Write::Create(_) | Write::Patch(_) => Some(now),
    };
    progress.served = Some(Served {
        // A pass that ended before its status was written has answered it.
        answered: answered.filter(|_| target.turns(&chosen)),
        ..target.served(&rendered, &chosen)
    });
    Ok(Wanted {
        chosen,
        rendered,
        inputs,
        write,
        published,
    })
}

/// The logins to publish. Those that are not recorded were tried before they were published, so
/// that a Secret whose logins the server refuses is an old one that was put back.
async fn choose(
    target: &Target<'_>,
    found: &Found,
    progress: &mut Progress,
) -> Result<Chosen, Halt> {
    let chosen = match (&found.before, &found.live) {
        (Some((tenant, before)), _) => Target { tenant, ..*target }.choose(Some(before)),
        (None, Some(live)) => target.choose(Some(live)),
        (None, None) => return Ok(anew(target, progress)?),
    };
    let chosen = chosen.map_err(|error| bad_template(&error, progress))?;
    if chosen.slot == target.tenant.active_slot() || !target.seat.steady {
        return Ok(chosen);
    }
    let server = Generic::new(target.endpoint.clone(), database::MAKE);
    let server = server.map_err(|error| database::denied(&error, progress))?;
    if database::refuses(&server, target.seat, &chosen).await {
        return Ok(anew(target, progress)?);
    }
    Ok(chosen)
}

fn anew(target: &Target<'_>, progress: &mut Progress) -> Result<Chosen, Stop> {
    let anew = target.anew();
    anew.map_err(|error| bad_template(&error, progress))
}

/// What it means that the user's password cannot be had: new credentials wait for it, and those
/// that are published go on.
fn lacking(external: &External, chosen: &Chosen, progress: &mut Progress) -> Result<(), Stop> {
    let External::Lacking(reason, message) = external else {
        return Ok(());
    };
    if chosen.source == Source::New {
        let stop = Stop::new(Until::Mended, *reason, message);
        return Err(progress.deny(ConditionType::CredentialsCurrent, stop));
    }
    progress.notice(*reason, message);
    Ok(())
}
