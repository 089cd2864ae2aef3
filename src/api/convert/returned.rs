//! What was found on an old primary that came back, both ways.

use domicile_core::failover::{Dump, Fork, Returned};
use domicile_core::names::RegionName;

use super::{ConvertError, epoch_of, exact, lsn, small};
use crate::returned::{DumpStatus, ForkStatus, ReturnedStatus};

impl From<Fork> for ForkStatus {
    fn from(fork: Fork) -> Self {
        let Fork { timeline, position } = fork;
        Self {
            timeline: i64::from(timeline),
            position: position.to_string(),
        }
    }
}

impl From<&Returned> for ReturnedStatus {
    fn from(found: &Returned) -> Self {
        let bytes = found.bytes().map(exact);
        let Returned {
            region,
            epoch,
            timeline,
            position,
            fork,
            databases,
            found,
            dump,
        } = found;
        Self {
            region: region.as_str().to_owned(),
            epoch: epoch.0,
            timeline: i64::from(*timeline),
            position: position.to_string(),
            fork: fork.map(ForkStatus::from),
            bytes,
            databases: databases.clone(),
            found: *found,
            dump: dump.as_ref().map(|dump| DumpStatus {
                job: dump.job.clone(),
                state: dump.state.into(),
            }),
        }
    }
}

pub(super) fn fork(
    fields: (&'static str, &'static str),
    wire: &ForkStatus,
) -> Result<Fork, ConvertError> {
    Ok(Fork {
        timeline: small(fields.0, wire.timeline)?,
        position: lsn(fields.1, &wire.position)?,
    })
}

pub(super) fn returned(wire: &ReturnedStatus) -> Result<Returned, ConvertError> {
    let fields = (
        "status.returned.fork.timeline",
        "status.returned.fork.position",
    );
    Ok(Returned {
        region: RegionName::new(&wire.region),
        epoch: epoch_of("status.returned.epoch", wire.epoch)?,
        timeline: small("status.returned.timeline", wire.timeline)?,
        position: lsn("status.returned.position", &wire.position)?,
        fork: wire
            .fork
            .as_ref()
            .map(|wire| fork(fields, wire))
            .transpose()?,
        databases: wire.databases.clone(),
        found: wire.found,
        dump: wire.dump.as_ref().map(|dump| Dump {
            job: dump.job.clone(),
            state: dump.state.into(),
        }),
    })
}
