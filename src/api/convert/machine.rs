//! The stored machine, as `FailoverPolicy.status` and as `core` have it.

use domicile_core::failover::{Claim, Evidence, HISTORY_LIMIT, Journal, Past, Stored};
use domicile_core::names::RegionName;

use super::returned::{fork, returned};
use super::{ConvertError, bound, count, epoch_of, exact, loss_seconds, lsn, small};
use crate::operation::Trigger;
use crate::policy_status::{
    ClaimStatus, EvidenceStatus, FailoverPolicyStatus, HistoryEntry, JournalStatus, LossStatus,
};
use crate::returned::{ForkStatus, ReturnedStatus};

impl FailoverPolicyStatus {
    /// The stored machine; `None` when nothing was ever stored, which is not the same as a status
    /// of which only parts are left: that is an error.
    pub fn stored(&self) -> Result<Option<Stored>, ConvertError> {
        let parts = (
            self.state,
            self.since,
            self.epoch,
            self.active_region.as_ref(),
        );
        let (Some(state), Some(since), Some(epoch), Some(active)) = parts else {
            return if self.is_blank() {
                Ok(None)
            } else {
                Err(self.missing())
            };
        };
        let history = self
            .history
            .iter()
            .map(past)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Stored {
            state: state.into(),
            since,
            epoch: epoch_of("status.epoch", epoch)?,
            active: RegionName::new(active),
            timeline: small("status.timeline", self.timeline.unwrap_or_default())?,
            claim: self.claim.as_ref().map(|claim| Claim {
                standby: RegionName::new(&claim.region),
                name: claim.name.clone(),
            }),
            restore_synchronous: self.restore_synchronous,
            journal: self.journal.as_ref().map(journal).transpose()?,
            evidence: self.evidence.as_ref().map(evidence).transpose()?,
            cooldown_until: self.cooldown_until,
            history,
            returned: self
                .returned
                .iter()
                .map(returned)
                .collect::<Result<Vec<_>, _>>()?,
        }))
    }

    /// Writes the machine into the status; everything that is not part of it stays.
    pub fn store(&mut self, stored: &Stored) {
        let Stored {
            state,
            since,
            epoch,
            active,
            timeline,
            claim,
            restore_synchronous,
            journal,
            evidence,
            cooldown_until,
            history,
            returned,
        } = stored;
        self.state = Some((*state).into());
        self.since = Some(*since);
        self.epoch = Some(epoch.0);
        self.active_region = Some(active.as_str().to_owned());
        self.timeline = Some(i64::from(*timeline)).filter(|timeline| *timeline > 0);
        self.claim = claim.as_ref().map(|claim| ClaimStatus {
            region: claim.standby.as_str().to_owned(),
            name: claim.name.clone(),
        });
        self.restore_synchronous = *restore_synchronous;
        self.current_operation = journal.as_ref().map(|journal| journal.operation.clone());
        self.journal = journal.as_ref().map(JournalStatus::from);
        self.evidence = evidence.as_ref().map(EvidenceStatus::from);
        self.cooldown_until = *cooldown_until;
        self.history = history
            .iter()
            .take(HISTORY_LIMIT)
            .map(HistoryEntry::from)
            .collect();
        self.returned = returned.iter().map(ReturnedStatus::from).collect();
    }

    /// Whether nothing of the machine is there: a new policy.
    fn is_blank(&self) -> bool {
        self.state.is_none()
            && self.since.is_none()
            && self.epoch.is_none()
            && self.active_region.is_none()
            && self.timeline.is_none()
            && self.claim.is_none()
            && !self.restore_synchronous
            && self.journal.is_none()
            && self.evidence.is_none()
            && self.cooldown_until.is_none()
            && self.history.is_empty()
            && self.returned.is_empty()
    }

    fn missing(&self) -> ConvertError {
        let absent = [
            ("status.state", self.state.is_none()),
            ("status.since", self.since.is_none()),
            ("status.epoch", self.epoch.is_none()),
        ];
        let field = absent.iter().find(|(_, absent)| *absent);
        let field = field.map_or("status.activeRegion", |(field, _)| field);
        ConvertError {
            field,
            problem: "is missing, while other parts are there".to_owned(),
        }
    }
}

impl From<bool> for Trigger {
    fn from(automatic: bool) -> Self {
        if automatic {
            Self::Automatic
        } else {
            Self::Manual
        }
    }
}

impl From<Trigger> for bool {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Automatic => true,
            Trigger::Manual => false,
        }
    }
}

impl From<&Journal> for JournalStatus {
    fn from(journal: &Journal) -> Self {
        let Journal {
            operation,
            kind,
            automatic,
            from,
            to,
            accept,
            proof,
            system_identifier,
            timeline,
            final_position,
            loss,
            loss_at,
            fork,
            loss_bytes,
            started,
            outage_since,
        } = journal;
        Self {
            operation: operation.clone(),
            kind: (*kind).into(),
            trigger: (*automatic).into(),
            from: from.as_str().to_owned(),
            to: to.as_str().to_owned(),
            accept: accept.iter().map(|word| (*word).into()).collect(),
            proof: proof.map(Into::into),
            system_identifier: system_identifier.clone(),
            timeline: i64::from(*timeline),
            final_position: final_position.map(|position| position.to_string()),
            loss: loss.map(|loss| LossStatus {
                seconds: loss_seconds(loss),
            }),
            loss_at: *loss_at,
            fork: fork.map(|position| position.to_string()),
            loss_bytes: loss_bytes.map(exact),
            started: *started,
            outage_since: *outage_since,
        }
    }
}

impl From<&Evidence> for EvidenceStatus {
    fn from(evidence: &Evidence) -> Self {
        let Evidence {
            sampled,
            outage_since,
            system_identifier,
            timeline,
            major_version,
            position,
            synchronous,
            agent_lived,
        } = evidence;
        Self {
            sampled: *sampled,
            outage_since: *outage_since,
            system_identifier: system_identifier.clone(),
            timeline: i64::from(*timeline),
            major_version: i64::from(*major_version),
            position: position.to_string(),
            synchronous: synchronous
                .as_ref()
                .map(|region| region.as_str().to_owned()),
            agent_lived: *agent_lived,
        }
    }
}

impl From<&Past> for HistoryEntry {
    fn from(past: &Past) -> Self {
        let Past {
            operation,
            kind,
            automatic,
            from,
            to,
            epoch,
            proof,
            loss,
            rto_seconds,
            fork,
            finished,
        } = past;
        Self {
            operation: operation.clone(),
            kind: (*kind).into(),
            trigger: (*automatic).into(),
            from: from.as_str().to_owned(),
            to: to.as_str().to_owned(),
            epoch: epoch.0,
            proof: proof.map(Into::into),
            loss_seconds: loss_seconds(*loss),
            rto_seconds: exact(*rto_seconds),
            fork: fork.map(ForkStatus::from),
            finished: *finished,
        }
    }
}

fn journal(wire: &JournalStatus) -> Result<Journal, ConvertError> {
    let position = wire.final_position.as_ref();
    let position = position
        .map(|text| lsn("status.journal.finalPosition", text))
        .transpose()?;
    let loss = wire.loss.as_ref();
    let loss = loss
        .map(|loss| bound("status.journal.loss.seconds", loss.seconds))
        .transpose()?;
    let bytes = wire
        .loss_bytes
        .map(|bytes| count("status.journal.lossBytes", bytes));
    Ok(Journal {
        operation: wire.operation.clone(),
        kind: wire.kind.into(),
        automatic: wire.trigger.into(),
        from: RegionName::new(&wire.from),
        to: RegionName::new(&wire.to),
        accept: wire.accept.iter().map(|word| (*word).into()).collect(),
        proof: wire.proof.map(Into::into),
        system_identifier: wire.system_identifier.clone(),
        timeline: small("status.journal.timeline", wire.timeline)?,
        final_position: position,
        loss,
        loss_at: wire.loss_at,
        fork: wire
            .fork
            .as_ref()
            .map(|text| lsn("status.journal.fork", text))
            .transpose()?,
        loss_bytes: bytes.transpose()?,
        started: wire.started,
        outage_since: wire.outage_since,
    })
}

fn evidence(wire: &EvidenceStatus) -> Result<Evidence, ConvertError> {
    Ok(Evidence {
        sampled: wire.sampled,
        outage_since: wire.outage_since,
        system_identifier: wire.system_identifier.clone(),
        timeline: small("status.evidence.timeline", wire.timeline)?,
        major_version: small("status.evidence.majorVersion", wire.major_version)?,
        position: lsn("status.evidence.position", &wire.position)?,
        synchronous: wire.synchronous.as_ref().map(RegionName::new),
        agent_lived: wire.agent_lived,
    })
}

fn past(wire: &HistoryEntry) -> Result<Past, ConvertError> {
    Ok(Past {
        operation: wire.operation.clone(),
        kind: wire.kind.into(),
        automatic: wire.trigger.into(),
        from: RegionName::new(&wire.from),
        to: RegionName::new(&wire.to),
        epoch: epoch_of("status.history.epoch", wire.epoch)?,
        proof: wire.proof.map(Into::into),
        loss: bound("status.history.lossSeconds", wire.loss_seconds)?,
        rto_seconds: count("status.history.rtoSeconds", wire.rto_seconds)?,
        fork: wire
            .fork
            .as_ref()
            .map(|wire| {
                fork(
                    (
                        "status.history.fork.timeline",
                        "status.history.fork.position",
                        "status.history.fork.latest",
                    ),
                    wire,
                )
            })
            .transpose()?,
        finished: wire.finished,
    })
}
