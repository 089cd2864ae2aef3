//! The tenant's database: made as planned, and tried with the published credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_api::database::AdoptionPolicy;
use domicile_api::orphan::Orphan;
use domicile_api::placement::{Privileges, TenantPlacement};
use domicile_core::health::ProbeFailure;
use domicile_core::names::{Access, Slot};
use domicile_providers::{Class, Generic, ProviderError, Settled, TenantPlan, scram_verifier};
use secrecy::SecretString;
use tracing::info;

use super::adoption;
use super::observe::Seat;
use super::progress::{Progress, Stop, Until};
use super::secret::{Chosen, Passwords, Usernames};
use crate::context::Ctx;
use crate::holders::is_gone;
use crate::orphans;
use crate::turns;

/// Longest time for making a tenant; `CREATE DATABASE` copies a template.
pub(super) const MAKE: Duration = Duration::from_secs(30);
/// Longest time for one login.
const LOGIN: Duration = Duration::from_secs(10);
/// Logins that are tried before a full server is believed.
const TRIES: u32 = 3;
/// The tenant as it must be on its server; `idle` logins hold no password.
pub(super) fn plan(tenant: &TenantPlacement, seat: &Seat, idle: Option<Slot>) -> TenantPlan {
    let roles = tenant.spec.roles.iter();
    TenantPlan {
        uid: tenant.metadata.uid.clone().unwrap_or_default(),
        database: seat.database.clone(),
        access: roles
            .map(|role| {
                let limit = u32::try_from(role.connection_limit).unwrap_or(1).max(1);
                (access(role.privileges), limit)
            })
            .collect(),
        idle,
        schemas: tenant.schemas().to_vec(),
        extensions: tenant.extensions().to_vec(),
        unlisted: unlisted(tenant, seat),
        keeps: adopts(tenant),
        makes: false,
    }
}

/// Whether the tenant has a database that somebody else made.
pub(super) fn adopts(tenant: &TenantPlacement) -> bool {
    tenant.spec.adoption.policy == AdoptionPolicy::Adopt
}

/// The extensions that the tenant asks for and its server does not list.
pub(super) fn unlisted(tenant: &TenantPlacement, seat: &Seat) -> BTreeSet<String> {
    let asked = tenant.extensions().iter();
    let unlisted = asked.filter(|name| !seat.listed.contains(*name));
    unlisted.cloned().collect()
}

/// The names of the logins of a slot.
pub(super) fn usernames(tenant: &TenantPlacement, seat: &Seat, slot: Slot) -> Usernames {
    let login = |wanted: Access| {
        let asked = tenant
            .spec
            .roles
            .iter()
            .any(|role| access(role.privileges) == wanted);
        asked.then(|| seat.database.login(wanted, slot))
    };
    Usernames {
        read_write: login(Access::ReadWrite),
        read_only: login(Access::ReadOnly),
    }
}

/// Makes database, roles and grants, or what is missing of them.
pub(super) async fn make(
    ctx: &Ctx,
    server: &Generic,
    (tenant, plan): (&TenantPlacement, &TenantPlan),
    seat: &Seat,
    progress: &mut Progress,
) -> Result<Settled, Stop> {
    let server = server.with_deadline(MAKE);
    // Logins open when their password is set, which is after the Secret holds it.
    let none = BTreeMap::new();
    let mut made = server.ensure_tenant(plan, seat.epoch, &none).await;
    if let Err(ProviderError::NotWritable { found: None, .. }) = &made {
        info!(server = %seat.active, "Making the authority tables");
        server
            .ensure_tables()
            .await
            .map_err(|error| denied(&error, progress))?;
        made = server.ensure_tenant(plan, seat.epoch, &none).await;
    }
    let adoptable = |error: &ProviderError| database_of_nobody(ctx, error);
    if plan.keeps && made.as_ref().err().is_some_and(adoptable) {
        adoption::adopt(&server, (tenant, plan), seat, progress).await?;
        made = server.ensure_tenant(plan, seat.epoch, &none).await;
    }
    let settled = match made {
        Ok(settled) => {
            progress.heard = Some(true);
            settled
        }
        Err(ProviderError::NoDatabase { .. }) => {
            return Err(adoption::absent(tenant, seat, progress));
        }
        Err(error) => return Err(taken(ctx, &server, (tenant, plan), &error, progress).await),
    };
    let message = format!(
        "database {} on {} is as it should be",
        seat.database, seat.active
    );
    progress.found(
        ConditionType::DatabaseReady,
        Status::True,
        Reason::Provisioned,
        message,
    );
    Ok(settled)
}

/// Gives logins of a slot their passwords and opens them.
pub(super) async fn set_passwords(
    server: &Generic,
    plan: &TenantPlan,
    seat: &Seat,
    slot: Slot,
    passwords: impl Iterator<Item = (Access, &SecretString)>,
) -> Result<(), ProviderError> {
    let verifiers = passwords.map(|(access, password)| (access, scram_verifier(password)));
    let verifiers: Vec<_> = verifiers.collect();
    let patient = server.with_deadline(MAKE);
    let set = patient.set_passwords(plan, slot, &verifiers, seat.epoch);
    set.await
}

/// True when the published credentials work already, on a server that a move led to: it copied
/// them. One login stands for both, as their passwords are set together; the other, and what else
/// the database must have, is looked at after the move.
pub(super) async fn works(
    server: &Generic,
    seat: &Seat,
    chosen: &Chosen,
    progress: &mut Progress,
) -> bool {
    let Some((access, password)) = published(&chosen.passwords).next() else {
        return false;
    };
    let login = log_in(server, seat, (access, chosen.slot), password);
    if login.await.is_err() {
        return false;
    }
    verified(seat, progress);
    let message = format!(
        "database {} on {} takes the published credentials; the rest of it is looked at after the \
         move",
        seat.database, seat.active
    );
    progress.found(
        ConditionType::DatabaseReady,
        Status::True,
        Reason::Provisioned,
        message,
    );
    true
}

/// True when the server refuses a published credential.
pub(super) async fn refuses(server: &Generic, seat: &Seat, chosen: &Chosen) -> bool {
    for (access, password) in published(&chosen.passwords) {
        let tried = log_in(server, seat, (access, chosen.slot), password).await;
        if tried.is_err_and(|error| refused(&error)) {
            return true;
        }
    }
    false
}

pub(super) fn published(passwords: &Passwords) -> impl Iterator<Item = (Access, &SecretString)> {
    let Passwords {
        read_write,
        read_only,
    } = passwords;
    let logins = [
        (Access::ReadWrite, read_write),
        (Access::ReadOnly, read_only),
    ];
    let given = logins.into_iter();
    given.filter_map(|(access, password)| Some((access, password.as_ref()?)))
}

pub(super) fn verified(seat: &Seat, progress: &mut Progress) {
    progress.heard = Some(true);
    login_works(seat, progress);
}

/// The published credentials were accepted the last time that they were tried.
pub(super) fn login_works(seat: &Seat, progress: &mut Progress) {
    let message = format!(
        "a login on {} with the published credentials works",
        seat.active
    );
    progress.found(
        ConditionType::CredentialsCurrent,
        Status::True,
        Reason::LoginVerified,
        message,
    );
}

/// What a failed effect means for the pass. Tells whether the server itself is at fault.
pub(super) fn stop_for(error: &ProviderError) -> Stop {
    let (until, reason) = match error {
        ProviderError::CaInvalid { .. } => (Until::Person, Reason::CertificateInvalid),
        ProviderError::Connect { failure, .. } => (until(error.class()), (*failure).into()),
        ProviderError::TimedOut { .. } => (Until::Mended, Reason::ProbeTimedOut),
        ProviderError::Stale { .. }
        | ProviderError::NotWritable { .. }
        | ProviderError::NotFenced { .. }
        | ProviderError::NotPrimary { .. } => (Until::Moved, Reason::StaleEpoch),
        ProviderError::NameTaken { .. } => (Until::Person, Reason::DatabaseNameTaken),
        ProviderError::NoDatabase { .. } => (Until::Person, Reason::DatabaseMissing),
        ProviderError::Missing { .. } => (Until::Mended, Reason::Provisioning),
        ProviderError::HalfDropped { .. } => (Until::Person, Reason::ProvisioningFailed),
        ProviderError::DropBlocked { .. } => (Until::Person, Reason::CleanupBlocked),
        ProviderError::MissingRight { .. } => (Until::Person, Reason::PrivilegesMissing),
        ProviderError::Sql { .. } | ProviderError::Engine { .. } => {
            (until(error.class()), Reason::ProvisioningFailed)
        }
        ProviderError::Answer { .. } => (Until::Person, Reason::InternalError),
    };
    Stop::new(until, reason, error.to_string())
}

fn until(class: Class) -> Until {
    match class {
        Class::Config => Until::Person,
        Class::Transient | Class::Conflict | Class::Provider | Class::Bug => Until::Mended,
    }
}

/// A failed effect on the database, as the condition says it.
pub(super) fn denied(error: &ProviderError, progress: &mut Progress) -> Stop {
    progress.heard = turns::heard(error).or(progress.heard);
    progress.deny(ConditionType::DatabaseReady, stop_for(error))
}

/// Whether it is a database that is in the way, and no placement's: it never had one, or that is
/// gone for good.
fn database_of_nobody(ctx: &Ctx, error: &ProviderError) -> bool {
    let ProviderError::NameTaken { marker, kind, .. } = error else {
        return false;
    };
    *kind == "database" && marker.as_ref().is_none_or(|uid| is_gone(ctx, uid))
}

/// A failed effect. A name that a deleted placement holds is free after its cleanup; one that no
/// placement holds may be looked at.
async fn taken(
    ctx: &Ctx,
    server: &Generic,
    (tenant, plan): (&TenantPlacement, &TenantPlan),
    error: &ProviderError,
    progress: &mut Progress,
) -> Stop {
    let ProviderError::NameTaken { marker, .. } = error else {
        return denied(error, progress);
    };
    if marker.is_none() || database_of_nobody(ctx, error) {
        return adoption::observed(server, (tenant, plan), error, progress).await;
    }
    let found = marker.as_ref().and_then(|uid| orphans::drops(ctx, uid));
    let Some((region, orphan)) = found else {
        return denied(error, progress);
    };
    let Orphan {
        namespace, name, ..
    } = orphan;
    let message = format!(
        "{error}: the deleted TenantPlacement {namespace}/{name} left it, and Region {region} is \
         about to clean it up (see its `status.orphans`); this placement goes on then"
    );
    let stop = Stop::new(Until::Mended, Reason::DatabaseNameTaken, message);
    progress.deny(ConditionType::DatabaseReady, stop)
}

pub(super) fn not_verified(error: &ProviderError, seat: &Seat, progress: &mut Progress) -> Stop {
    progress.heard = turns::heard(error).or(progress.heard);
    let (reason, until) = if refused(error) {
        (Reason::LoginRefused, Until::Person)
    } else {
        (Reason::LoginFailed, Until::Mended)
    };
    let message = format!(
        "the login on {} with the published credentials does not work: {error}",
        seat.active
    );
    progress.deny(
        ConditionType::CredentialsCurrent,
        Stop::new(until, reason, message),
    )
}

pub(super) fn refused(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Connect {
            failure: ProbeFailure::CredentialsDenied,
            ..
        }
    )
}

/// Logs in, and wants a server that takes writes. A login whose tenant holds as many sessions as it
/// may works all the same.
pub(super) async fn log_in(
    server: &Generic,
    seat: &Seat,
    (access, slot): (Access, Slot),
    password: &SecretString,
) -> Result<(), ProviderError> {
    let username = seat.database.login(access, slot);
    let server = server.with_deadline(LOGIN);
    let mut tries = 1;
    loop {
        let tried = server.can_log_in(&seat.database, &username, password);
        match tried.await {
            Ok(login) if login.writable => return Ok(()),
            Ok(_) => {
                let (server, doing) = (server.server().to_owned(), "serving a tenant");
                return Err(ProviderError::NotPrimary { server, doing });
            }
            Err(error) if is_full(&error) => {
                if server.is_full(&username).await? {
                    return Ok(());
                }
                // One of its sessions ended in between, or the whole server is full.
                if tries == TRIES {
                    return Err(error);
                }
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_full(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Connect {
            failure: ProbeFailure::TooManyConnections,
            ..
        }
    )
}

fn access(privileges: Privileges) -> Access {
    match privileges {
        Privileges::ReadWrite => Access::ReadWrite,
        Privileges::ReadOnly => Access::ReadOnly,
    }
}
