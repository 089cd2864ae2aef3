//! A record and its form in a Lease: one annotation says everything, and what people look for in a
//! Lease (holder, duration, time of renewal) is told beside it.

use std::collections::BTreeSet;

use domicile_api::meta::AUTHORITY;
use domicile_core::facts::Epoch;
use domicile_core::lease::{Pledge, Promise, Terms, WriteLease};
use domicile_core::names::RegionName;
use domicile_core::time::Now;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

/// A Lease that holds no record of ours.
#[derive(Debug, Error)]
pub enum WireError {
    /// The annotation is missing.
    #[error("it has no annotation {AUTHORITY}")]
    Missing,
    /// The annotation is no record.
    #[error("its annotation {AUTHORITY} is no record")]
    Malformed(#[source] serde_json::Error),
}

/// What is kept in a Lease.
pub trait Record: Sized {
    /// Name of the Lease for a policy.
    fn name(policy: &str) -> String;
    /// The record as text.
    fn text(&self) -> String;
    /// The record in this text.
    fn parse(text: &str) -> Result<Self, serde_json::Error>;
    /// Who holds it, for people.
    fn holder(&self) -> String;
    /// How long it holds in seconds, for people.
    fn seconds(&self) -> Option<i32>;
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaseText {
    epoch: i64,
    holder: String,
    members: BTreeSet<String>,
    lease_seconds: u32,
    renew_seconds: u32,
    taken: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pledge: Option<PledgeText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PledgeText {
    region: String,
    epoch: i64,
    members: BTreeSet<String>,
    promises: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PromiseText {
    epoch: i64,
    permitted: bool,
}

fn words(regions: &BTreeSet<RegionName>) -> BTreeSet<String> {
    regions.iter().map(ToString::to_string).collect()
}

fn regions(words: BTreeSet<String>) -> BTreeSet<RegionName> {
    words.into_iter().map(RegionName::new).collect()
}

impl Record for WriteLease {
    fn name(policy: &str) -> String {
        super::write_lease(policy)
    }

    fn text(&self) -> String {
        let Self {
            epoch,
            holder,
            members,
            terms,
            taken,
            pledge,
        } = self;
        let pledge = pledge.as_ref().map(|pledge| PledgeText {
            region: pledge.region.to_string(),
            epoch: pledge.epoch.0,
            members: words(&pledge.members),
            promises: pledge.promises,
        });
        json!(LeaseText {
            epoch: epoch.0,
            holder: holder.to_string(),
            members: words(members),
            lease_seconds: terms.lease_seconds,
            renew_seconds: terms.renew_seconds,
            taken: *taken,
            pledge,
        })
        .to_string()
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let LeaseText {
            epoch,
            holder,
            members,
            lease_seconds,
            renew_seconds,
            taken,
            pledge,
        } = serde_json::from_str(text)?;
        Ok(Self {
            epoch: Epoch(epoch),
            holder: RegionName::new(holder),
            members: regions(members),
            terms: Terms {
                lease_seconds,
                renew_seconds,
            },
            taken,
            pledge: pledge.map(|pledge| Pledge {
                region: RegionName::new(pledge.region),
                epoch: Epoch(pledge.epoch),
                members: regions(pledge.members),
                promises: pledge.promises,
            }),
        })
    }

    fn holder(&self) -> String {
        self.holder.to_string()
    }

    fn seconds(&self) -> Option<i32> {
        i32::try_from(self.terms.lease_seconds).ok()
    }
}

impl Record for Promise {
    fn name(policy: &str) -> String {
        super::promise(policy)
    }

    fn text(&self) -> String {
        let Self { epoch, permitted } = *self;
        json!(PromiseText {
            epoch: epoch.0,
            permitted,
        })
        .to_string()
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let PromiseText { epoch, permitted } = serde_json::from_str(text)?;
        Ok(Self {
            epoch: Epoch(epoch),
            permitted,
        })
    }

    fn holder(&self) -> String {
        if self.permitted { "hub" } else { "primary" }.to_owned()
    }

    fn seconds(&self) -> Option<i32> {
        None
    }
}

/// The record in a Lease.
pub(super) fn read<R: Record>(lease: &Lease) -> Result<R, WireError> {
    let annotations = lease.metadata.annotations.as_ref();
    let text = annotations
        .and_then(|annotations| annotations.get(AUTHORITY))
        .ok_or(WireError::Missing)?;
    R::parse(text).map_err(WireError::Malformed)
}

/// A Lease with this record, nameless.
pub(super) fn object<R: Record>(record: &R, now: Now) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.annotations = Some([(AUTHORITY.to_owned(), record.text())].into());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(record.holder()),
        lease_duration_seconds: record.seconds(),
        renew_time: Some(MicroTime(now.wall)),
        ..LeaseSpec::default()
    });
    lease
}

/// The change of a Lease of `version` to this record; refused when it is of another version.
pub(super) fn patch<R: Record>(record: &R, version: &str, now: Now) -> Value {
    json!({
        "metadata": {
            "resourceVersion": version,
            "annotations": { AUTHORITY: record.text() },
        },
        "spec": {
            "holderIdentity": record.holder(),
            "leaseDurationSeconds": record.seconds(),
            "renewTime": MicroTime(now.wall),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> WriteLease {
        let members: BTreeSet<RegionName> = ["eu-central".into()].into();
        let terms = Terms {
            lease_seconds: 30,
            renew_seconds: 10,
        };
        let mut lease = WriteLease::offer(Epoch(7), "eu-west".into(), members.clone(), terms);
        lease.pledge = Some(Pledge {
            region: "eu-west".into(),
            epoch: Epoch(7),
            members,
            promises: true,
        });
        lease
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let now = crate::clock::Clock::default().now();
        for record in [lease(), lease().taken_for(Epoch(8), &"eu-central".into())] {
            assert_eq!(read::<WriteLease>(&object(&record, now)).ok(), Some(record));
        }
        let promise = Promise {
            epoch: Epoch(8),
            permitted: true,
        };
        assert_eq!(read::<Promise>(&object(&promise, now)).ok(), Some(promise));
    }

    /// Faults: 49.
    #[test]
    fn what_is_not_understood_is_an_error_and_never_a_default() {
        assert!(matches!(
            read::<WriteLease>(&Lease::default()),
            Err(WireError::Missing)
        ));
        for text in ["", "{}", r#"{"epoch":1,"permitted":false}"#] {
            assert!(WriteLease::parse(text).is_err(), "{text}");
        }
        let newer = lease().text().replacen('{', r#"{"later":1,"#, 1);
        assert!(WriteLease::parse(&newer).is_err());
    }
}
