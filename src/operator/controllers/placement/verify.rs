//! The published credentials, tried on the server that serves. A password that somebody changed
//! there is told and left as it is; one that the server never learnt is set (ADR 28).

use std::collections::BTreeMap;

use domicile_api::conditions::{ConditionType, Reason, Status};
use domicile_core::names::{Access, Slot};
use domicile_providers::{Generic, ProviderError, TenantPlan, scram_verifier};
use secrecy::SecretString;
use tracing::info;

use super::database::{
    MAKE, denied, log_in, not_verified, published, refused, set_passwords, verified,
};
use super::observe::Seat;
use super::progress::{Progress, Stop, Until};
use super::secret::Chosen;

/// What is known of the published passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// They were accepted under the recorded epoch: a server that refuses one was told another.
    Accepted,
    /// One was made in this pass: the server cannot have learnt it.
    New,
    /// The server may never have learnt them: their last setting may be lost.
    Unproven,
}

/// What tells whether a server was once told the published passwords.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not states"
)]
pub(super) struct Evidence {
    /// One of them is new.
    pub(super) fresh: bool,
    /// The Secret says that its content is the one that the status records, as accepted.
    pub(super) as_recorded: bool,
    /// The Secret's content is what it says it is.
    pub(super) untouched: bool,
    /// The tenant is served elsewhere, or under another epoch, than its status records. What the
    /// Secret must hold differs then, and its present content is no more than likely untouched.
    pub(super) moved: bool,
}

impl Known {
    /// A setting that was lost in a failover needs no care: its login holds no password there, as
    /// it was closed before it was given one (ADR 18).
    pub(super) fn of(evidence: Evidence) -> Self {
        let Evidence {
            fresh,
            as_recorded,
            untouched,
            moved,
        } = evidence;
        if fresh {
            Self::New
        } else if as_recorded && (untouched || moved) {
            Self::Accepted
        } else {
            Self::Unproven
        }
    }
}

/// Logs in with each published credential; new ones are set before. One that the server may never
/// have learnt is set, from what the Secret holds, and tried once more. One that was accepted
/// before is set only where the login holds no password at all; what somebody else set is answered
/// as a stop, for a person, and the tenant is served as it is.
pub(super) async fn verify(
    server: &Generic,
    plan: &TenantPlan,
    seat: &Seat,
    (chosen, known): (&Chosen, Known),
    progress: &mut Progress,
) -> Result<(), Stop> {
    let slot = chosen.slot;
    let mut changed = Vec::new();
    if known == Known::New {
        // What is tried before it is set is refused for sure, and stands in the server's log.
        let all = published(&chosen.passwords);
        let set = set_passwords(server, plan, seat, slot, all).await;
        set.map_err(|error| denied(&error, progress))?;
    }
    for (access, password) in published(&chosen.passwords) {
        let login = (access, slot);
        let attempt = log_in(server, seat, login, password).await;
        let Err(error) = attempt else { continue };
        if !refused(&error) {
            return Err(not_verified(&error, seat, progress));
        }
        let set = match known {
            Known::New | Known::Unproven => {
                info!(server = %seat.active, database = %seat.database, "Setting a password anew");
                let one = std::iter::once((access, password));
                set_passwords(server, plan, seat, slot, one).await
            }
            Known::Accepted => set_first(server, plan, seat, login, password).await,
        };
        set.map_err(|error| denied(&error, progress))?;
        match log_in(server, seat, login, password).await {
            Ok(()) => {}
            Err(error) if known == Known::Accepted && refused(&error) => {
                changed.push(seat.database.login(access, slot));
            }
            Err(error) => return Err(not_verified(&error, seat, progress)),
        }
    }
    if changed.is_empty() {
        verified(seat, progress);
    } else {
        left(seat, &changed, progress);
    }
    Ok(())
}

/// Gives a login its password if it holds none: it was made anew, or its opening is lost.
async fn set_first(
    server: &Generic,
    plan: &TenantPlan,
    seat: &Seat,
    login: (Access, Slot),
    password: &SecretString,
) -> Result<(), ProviderError> {
    let first = BTreeMap::from([(login, scram_verifier(password))]);
    let patient = server.with_deadline(MAKE);
    let set = patient.ensure_tenant(plan, seat.epoch, &first);
    set.await.map(drop)
}

fn left(seat: &Seat, logins: &[String], progress: &mut Progress) {
    let message = format!(
        "{} refuses the published password of {}, which it accepted before: somebody changed it \
         there, and it is left as it is; change it back, or publish other logins with `kubectl \
         domicile rotate`, or put it into the Secret that \
         `spec.credentials.passwordSecretRef` names",
        seat.active,
        logins.join(" and ")
    );
    let reason = Reason::PasswordChangedOutside;
    let type_ = ConditionType::CredentialsCurrent;
    progress.found(type_, Status::False, reason, message.clone());
    progress.locked_out = Some(Stop::new(Until::Person, reason, message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_accepted_is_held_against_a_change() {
        let accepted = Evidence {
            fresh: false,
            as_recorded: true,
            untouched: true,
            moved: false,
        };
        let at_a_move = Evidence {
            untouched: false,
            moved: true,
            ..accepted
        };
        for evidence in [accepted, at_a_move] {
            assert_eq!(Known::of(evidence), Known::Accepted, "{evidence:?}");
        }
        let made = Evidence {
            fresh: true,
            ..accepted
        };
        assert_eq!(Known::of(made), Known::New);
        for evidence in [
            // Made by a pass that was killed before the server learnt it.
            Evidence {
                as_recorded: false,
                ..accepted
            },
            Evidence {
                as_recorded: false,
                ..at_a_move
            },
            // Somebody edited the Secret.
            Evidence {
                untouched: false,
                ..accepted
            },
        ] {
            assert_eq!(Known::of(evidence), Known::Unproven, "{evidence:?}");
        }
    }
}
