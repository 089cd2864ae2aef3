//! What was found on an old primary that came back, both ways.

use domicile_core::facts::Lsn;
use domicile_core::failover::{Dump, Fork, Returned};
use domicile_core::names::RegionName;

use super::{ConvertError, epoch_of, exact, lsn, small};
use crate::returned::{DumpStatus, ForkStatus, ReturnedStatus};

impl From<Fork> for ForkStatus {
    fn from(fork: Fork) -> Self {
        let Fork {
            timeline,
            position,
            latest,
        } = fork;
        Self {
            timeline: i64::from(timeline),
            position: position.to_string(),
            latest: latest.map(|latest| latest.to_string()),
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
            left,
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
            left: left.map(|left| left.to_string()),
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
    fields: (&'static str, &'static str, &'static str),
    wire: &ForkStatus,
) -> Result<Fork, ConvertError> {
    Ok(Fork {
        timeline: small(fields.0, wire.timeline)?,
        position: lsn(fields.1, &wire.position)?,
        latest: position(fields.2, wire.latest.as_deref())?,
    })
}

pub(super) fn returned(wire: &ReturnedStatus) -> Result<Returned, ConvertError> {
    let fields = (
        "status.returned.fork.timeline",
        "status.returned.fork.position",
        "status.returned.fork.latest",
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
        left: position("status.returned.left", wire.left.as_deref())?,
        databases: wire.databases.clone(),
        found: wire.found,
        dump: wire.dump.as_ref().map(|dump| Dump {
            job: dump.job.clone(),
            state: dump.state.into(),
        }),
    })
}

fn position(field: &'static str, text: Option<&str>) -> Result<Option<Lsn>, ConvertError> {
    text.map(|text| lsn(field, text)).transpose()
}
