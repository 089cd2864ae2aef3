//! What is to be brought to the clusters of regions, and what became of it. Lost at a restart: then
//! nothing is said anew until it was looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domicile_api::conditions::Reason;
use domicile_api::placement_status::WorkloadStatus;
use domicile_core::names::RegionName;
use domicile_core::placement::{Errand, Errands};
use jiff::SignedDuration;

use crate::controllers::placement::former::Left;
use crate::controllers::placement::progress::Finding;

mod order;

pub(in crate::controllers::placement) use order::Order;
use order::Stamp;

/// Most tenants that are remembered; beyond it all is brought anew.
const LIMIT: usize = 65_536;

/// A cluster that was silent so often in a row is said to be.
const TOLD: u32 = 2;

/// What was found in one cluster after the Secret was brought there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Share {
    /// How far the workloads there are.
    pub(super) injected: Option<Finding>,
    pub(super) workloads: Vec<WorkloadStatus>,
    pub(super) rolling: bool,
    pub(super) pause: Option<SignedDuration>,
    pub(super) taken_up: bool,
    /// What a person must do, although the Secret is there.
    pub(super) notice: Option<(Reason, String)>,
    /// What became of the Secrets under former names.
    pub(super) left: Left,
    /// A Service of the placement is there, or may be.
    pub(super) fronted: bool,
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The Secret is there.
    Delivered(Box<Share>),
    /// Nothing of the placement is there.
    Withdrawn,
    /// The cluster gave no answer.
    Silent(String),
    /// A person must do something.
    Barred(Reason, String),
}

/// What one pass finds of a region's cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Look {
    /// Nothing is known yet.
    Unknown,
    /// The Secret is there as it must be.
    Delivered(Box<Share>),
    /// Another one was brought, or by an older spec.
    Pending,
    /// Nothing of the placement is there any more.
    Withdrawn,
    /// It does not answer, and has not for a while.
    Silent(String),
    /// A person must do something.
    Barred(Reason, String),
}

#[derive(Debug)]
struct Known {
    outcome: Outcome,
    /// Of what was delivered.
    stamp: Option<Stamp>,
    /// What was delivered before the cluster fell silent.
    before: Option<Box<(Share, Stamp)>>,
    /// How often in a row it was silent.
    silences: u32,
}

/// An errand that is to be run now.
#[derive(Debug, Clone)]
pub(super) enum Job {
    Deliver(Order),
    Withdraw,
}

#[derive(Debug, Default)]
struct Tenant {
    order: Option<Order>,
    /// Of the spec that the errands come from.
    generation: Option<i64>,
    errands: BTreeMap<RegionName, Errand>,
    known: BTreeMap<RegionName, Known>,
    /// Where an errand is being run.
    busy: BTreeSet<RegionName>,
    /// Where one must be run again after that.
    again: BTreeSet<RegionName>,
}

/// What is remembered of all tenants, by UID.
#[derive(Debug, Default)]
pub(in crate::controllers::placement) struct Regional {
    tenants: Mutex<BTreeMap<String, Tenant>>,
}

impl Regional {
    /// This is to be brought from now on.
    pub(in crate::controllers::placement) fn order(&self, uid: &str, order: Order) {
        self.entry(uid, |tenant| tenant.order = Some(order));
    }

    /// Nothing is to be brought: the tenant is being moved, or its server may not be written to.
    pub(in crate::controllers::placement) fn hold(&self, uid: &str) {
        if let Some(tenant) = self.lock().get_mut(uid) {
            tenant.order = None;
        }
    }

    /// These errands are to be run from now on, by a spec of this generation.
    pub(super) fn plan(&self, uid: &str, errands: &Errands, generation: Option<i64>) {
        if errands.of.is_empty() {
            self.lock().remove(uid);
            return;
        }
        self.entry(uid, |tenant| {
            tenant.generation = generation;
            let same = |region: &RegionName| errands.of.get(region) == tenant.errands.get(region);
            tenant.known.retain(|region, _| same(region));
            tenant.errands.clone_from(&errands.of);
        });
    }

    /// Takes an errand up, unless it is being run: then it is run again afterwards. A spec that no
    /// pass has seen yet may allow less, so that nothing is brought by the one before.
    pub(super) fn begin(
        &self,
        uid: &str,
        region: &RegionName,
        generation: Option<i64>,
    ) -> Option<Job> {
        let mut tenants = self.lock();
        let tenant = tenants
            .get_mut(uid)
            .filter(|tenant| tenant.generation == generation)?;
        let job = match tenant.errands.get(region)? {
            Errand::Deliver => Job::Deliver(tenant.order.clone()?),
            Errand::Withdraw => Job::Withdraw,
            Errand::Keep | Errand::Forget => return None,
        };
        if tenant.busy.contains(region) {
            tenant.again.insert(region.clone());
            return None;
        }
        tenant.busy.insert(region.clone());
        tenant.again.remove(region);
        Some(job)
    }

    /// Where there is something to do.
    pub(super) fn regions(&self, uid: &str) -> Vec<RegionName> {
        let tenants = self.lock();
        let errands = tenants.get(uid).map(|tenant| &tenant.errands);
        errands
            .into_iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect()
    }

    /// An errand was run; without an outcome nothing was found out. Answers whether what the status
    /// says of it changes, and whether the errand must be run again at once.
    pub(super) fn end(
        &self,
        uid: &str,
        region: &RegionName,
        job: &Job,
        (outcome, generation): (Option<Outcome>, Option<i64>),
    ) -> (bool, bool) {
        let mut tenants = self.lock();
        let Some(tenant) = tenants.get_mut(uid) else {
            return (false, false);
        };
        tenant.busy.remove(region);
        let again = tenant.again.remove(region);
        // Something else is wanted by now.
        let (Some(outcome), true) = (outcome, fits(job, tenant.errands.get(region))) else {
            return (false, again);
        };
        let stamp = match job {
            Job::Deliver(order) => Some(order.stamp(generation)),
            Job::Withdraw => None,
        };
        let looked = |tenant: &Tenant| look(tenant, region, generation);
        let was = looked(tenant);
        let next = next(tenant.known.remove(region), outcome, stamp);
        tenant.known.insert(region.clone(), next);
        (was != looked(tenant), again)
    }

    /// What is known of a region's cluster, for a spec of this generation.
    pub(super) fn look(&self, uid: &str, region: &RegionName, generation: Option<i64>) -> Look {
        let tenants = self.lock();
        let tenant = tenants.get(uid);
        tenant.map_or(Look::Unknown, |tenant| look(tenant, region, generation))
    }

    /// Whether a region's cluster gave no answer the last time.
    pub(super) fn is_silent(&self, uid: &str, region: &RegionName) -> bool {
        let tenants = self.lock();
        let tenant = tenants.get(uid);
        tenant.is_some_and(|tenant| is_silent(tenant, region))
    }

    /// The tenants to which a region's cluster gave no answer the last time.
    pub(super) fn silent(&self, region: &RegionName) -> BTreeSet<String> {
        let tenants = self.lock();
        let silent = tenants
            .iter()
            .filter(|(_, tenant)| is_silent(tenant, region));
        silent.map(|(uid, _)| uid.clone()).collect()
    }

    /// Whether a cluster is not known to be as it must be. A pass alone sends an errand there.
    pub(in crate::controllers::placement) fn is_behind(
        &self,
        uid: &str,
        generation: Option<i64>,
    ) -> bool {
        let tenants = self.lock();
        let Some(tenant) = tenants.get(uid) else {
            return false;
        };
        let mut errands = tenant.errands.iter();
        errands.any(|(region, errand)| match errand {
            Errand::Keep | Errand::Forget => false,
            Errand::Withdraw => look(tenant, region, generation) != Look::Withdrawn,
            Errand::Deliver => !matches!(look(tenant, region, generation), Look::Delivered(_)),
        })
    }

    /// Whether there is anything to be brought.
    pub(super) fn is_ordered(&self, uid: &str) -> bool {
        self.lock()
            .get(uid)
            .is_some_and(|tenant| tenant.order.is_some())
    }

    /// The placement is gone.
    pub(in crate::controllers::placement) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn entry(&self, uid: &str, change: impl FnOnce(&mut Tenant)) {
        let mut tenants = self.lock();
        if tenants.len() >= LIMIT && !tenants.contains_key(uid) {
            tenants.clear();
        }
        change(tenants.entry(uid.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fits(job: &Job, errand: Option<&Errand>) -> bool {
    match job {
        Job::Deliver(_) => errand == Some(&Errand::Deliver),
        Job::Withdraw => errand == Some(&Errand::Withdraw),
    }
}

/// What is known after one more outcome. A cluster that stays silent keeps saying why it was at
/// first: the words of each try differ, and are no news.
fn next(before: Option<Known>, outcome: Outcome, stamp: Option<Stamp>) -> Known {
    let silences = before.as_ref().map_or(0, |known| known.silences);
    let Outcome::Silent(message) = outcome else {
        return Known {
            outcome,
            stamp,
            before: None,
            silences: 0,
        };
    };
    let (message, before) = match before {
        Some(Known {
            outcome: Outcome::Silent(first),
            before,
            ..
        }) => (first, before),
        Some(Known {
            outcome: Outcome::Delivered(share),
            stamp,
            ..
        }) => (message, stamp.map(|stamp| Box::new((*share, stamp)))),
        Some(_) | None => (message, None),
    };
    Known {
        outcome: Outcome::Silent(message),
        stamp: None,
        before,
        silences: silences.saturating_add(1),
    }
}

fn is_silent(tenant: &Tenant, region: &RegionName) -> bool {
    let known = tenant.known.get(region);
    known.is_some_and(|known| matches!(known.outcome, Outcome::Silent(_)))
}

fn look(tenant: &Tenant, region: &RegionName, generation: Option<i64>) -> Look {
    let Some(known) = tenant.known.get(region) else {
        return Look::Unknown;
    };
    let wanted = tenant.order.as_ref().map(|order| order.stamp(generation));
    let of = |share: &Share, stamp: Option<&Stamp>| {
        if wanted.as_ref() == stamp {
            Look::Delivered(Box::new(share.clone()))
        } else {
            Look::Pending
        }
    };
    match &known.outcome {
        Outcome::Delivered(share) => of(share, known.stamp.as_ref()),
        Outcome::Withdrawn => Look::Withdrawn,
        Outcome::Barred(reason, message) => Look::Barred(*reason, message.clone()),
        // One answer that is missing is no outage.
        Outcome::Silent(_) if known.silences < TOLD => match known.before.as_deref() {
            Some((share, stamp)) => of(share, Some(stamp)),
            None => Look::Unknown,
        },
        Outcome::Silent(message) => Look::Silent(message.clone()),
    }
}

#[cfg(test)]
mod tests;
