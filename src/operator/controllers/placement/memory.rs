//! When a tenant's database was last found as it should be. Lost at a restart; then what the status
//! tells of a settled tenant is believed until its next look, so that a restart is no burst.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_api::conditions::Reason;
use domicile_core::facts::Epoch;
use domicile_core::names::{RegionName, ServerId, Slot};
use domicile_core::replica::{Address, Awaited};
use domicile_core::time::Mono;

use super::regional::Regional;
use super::room::Promises;
use super::workloads::{Patience, Settled, WorkloadInputs};
use crate::projection::kinds::Kinds;

/// Most tenants that are remembered; beyond it everything is looked at anew.
const LIMIT: usize = 65_536;
/// How long a read replica is not tried again that refused the tenant's login.
const REFUSED_MS: u64 = 600_000;

/// All that a look at the database depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) generation: Option<i64>,
    /// The annotation that asks for a pass.
    pub(super) asked: Option<String>,
    pub(super) server: ServerId,
    pub(super) epoch: Epoch,
    pub(super) secret_hash: String,
    /// The logins that must be closed, or were found closed.
    pub(super) idle: Option<Slot>,
    /// The extensions that are asked for and may not be made.
    pub(super) unlisted: BTreeSet<String>,
}

impl Inputs {
    /// Whether a look for these answers for `later` ones too. While a server is suspected no logins
    /// are closed, and that alone makes no look due: it would wait for the server to answer.
    fn covers(&self, later: &Self) -> bool {
        let idle = later.idle.or(self.idle);
        let later = Self {
            idle,
            ..later.clone()
        };
        *self == later
    }
}

/// What is remembered of all tenants, by UID.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Places that are kept for tenants.
    pub(super) promises: Promises,
    /// What is brought to the clusters of regions.
    pub(super) regional: Regional,
    /// What kinds are called.
    pub(super) kinds: Kinds,
    /// The workloads that were not written, and when each is tried again.
    pub(super) patience: Patience,
    tenants: Mutex<BTreeMap<String, Remembered>>,
}

#[derive(Debug, Default)]
struct Remembered {
    looked: Option<(Inputs, Mono)>,
    /// What that look found missing, and a person must see to.
    missing: Option<(Reason, String)>,
    /// What the tenant was pointed at in the move under way; the rest of its database is looked at
    /// afterwards.
    repointed: Option<Inputs>,
    /// The generation for which all workloads of the namespace were looked through, by region whose
    /// own cluster they are in, or the hub.
    scanned: BTreeMap<Option<RegionName>, i64>,
    /// Since when every selected workload has been seen to run with the present Secret.
    taken_up: Option<Mono>,
    /// The workloads of the hub, when there was nothing left to do.
    settled: Option<Settled>,
    /// The read replicas that refused the tenant's login, and when.
    unread: BTreeMap<Address, Mono>,
    /// The login that a read replica has yet to replay, as the last pass saw it.
    awaited: Option<Awaited>,
}

impl Memory {
    /// Whether the database must be looked at: a good look is believed for `fresh`.
    pub(super) fn due(&self, uid: &str, inputs: &Inputs, fresh: Duration, now: Mono) -> bool {
        let passed = |at: &Mono| Duration::from_millis(now.since(*at));
        let tenants = self.lock();
        let looked = tenants.get(uid).and_then(|tenant| tenant.looked.as_ref());
        looked.is_none_or(|(before, at)| !before.covers(inputs) || passed(at) >= fresh)
    }

    /// Nothing is remembered of the tenant, and its status says that all was well: that is believed
    /// as if it had been found `at` a moment that has passed.
    pub(super) fn trust(&self, uid: &str, inputs: Inputs, at: Mono) {
        let mut tenants = self.lock();
        if !tenants.contains_key(uid) {
            let looked = Some((inputs, at));
            let remembered = Remembered {
                looked,
                ..Remembered::default()
            };
            tenants.insert(uid.to_owned(), remembered);
        }
    }

    /// The database was found, or made, as it should be, but for what is `missing`.
    pub(super) fn looked(
        &self,
        uid: &str,
        inputs: Inputs,
        missing: Option<(Reason, String)>,
        now: Mono,
    ) {
        self.entry(uid, |tenant| {
            tenant.looked = Some((inputs, now));
            tenant.missing = missing;
        });
    }

    /// What the last look found missing.
    pub(super) fn missing(&self, uid: &str) -> Option<(Reason, String)> {
        self.lock().get(uid)?.missing.clone()
    }

    /// Whether the tenant was pointed at this in a move, and nothing was doubted since.
    pub(super) fn is_repointed(&self, uid: &str, inputs: &Inputs) -> bool {
        let tenants = self.lock();
        let repointed = tenants
            .get(uid)
            .and_then(|tenant| tenant.repointed.as_ref());
        repointed == Some(inputs)
    }

    /// The published logins work on the server that the tenant was moved to.
    pub(super) fn repointed(&self, uid: &str, inputs: Inputs) {
        self.entry(uid, |tenant| tenant.repointed = Some(inputs));
    }

    /// Something was not as it should be: look again the next time.
    pub(super) fn doubt(&self, uid: &str) {
        self.entry(uid, |tenant| {
            tenant.looked = None;
            tenant.missing = None;
            tenant.repointed = None;
        });
    }

    /// Whether the namespace must be looked through for workloads that are no longer selected.
    pub(super) fn must_scan(
        &self,
        uid: &str,
        region: Option<&RegionName>,
        generation: Option<i64>,
    ) -> bool {
        let tenants = self.lock();
        let scanned = tenants.get(uid).map(|tenant| &tenant.scanned);
        let scanned = scanned.and_then(|scanned| scanned.get(&region.cloned()));
        scanned.is_none_or(|scanned| Some(*scanned) != generation)
    }

    /// The namespace was looked through.
    pub(super) fn scanned(&self, uid: &str, region: Option<&RegionName>, generation: Option<i64>) {
        self.entry(uid, |tenant| {
            let region = region.cloned();
            tenant
                .scanned
                .insert(region, generation.unwrap_or_default());
        });
    }

    /// What was found of the workloads of the hub, while it stands: for `fresh` at most.
    pub(super) fn settled(
        &self,
        uid: &str,
        inputs: &WorkloadInputs,
        fresh: Duration,
        now: Mono,
    ) -> Option<Settled> {
        let settled = self.lock().get(uid)?.settled.clone()?;
        settled.answers(inputs, fresh, now).then_some(settled)
    }

    /// Whether what was found of the workloads of the hub stands until the watch tells of a change.
    pub(super) fn is_settled(&self, uid: &str) -> bool {
        let tenants = self.lock();
        tenants
            .get(uid)
            .is_some_and(|tenant| tenant.settled.is_some())
    }

    /// What a look found of the workloads of the hub, when there was nothing left to do.
    pub(super) fn settle(&self, uid: &str, settled: Option<Settled>) {
        self.entry(uid, |tenant| tenant.settled = settled);
    }

    /// Whether every selected workload runs with the present Secret. Answers for how long that has
    /// been seen without a break, in milliseconds.
    pub(super) fn taken_up(&self, uid: &str, now_so: bool, now: Mono) -> Option<u64> {
        let mut since = None;
        self.entry(uid, |tenant| {
            tenant.taken_up = tenant.taken_up.or(Some(now)).filter(|_| now_so);
            since = tenant.taken_up;
        });
        since.map(|since| now.since(since))
    }

    /// A read replica refused the tenant's login.
    pub(super) fn unread(&self, uid: &str, replica: Address, now: Mono) {
        self.entry(uid, |tenant| {
            tenant.unread.retain(|_, at| now.since(*at) < REFUSED_MS);
            tenant.unread.insert(replica, now);
        });
    }

    /// What the pass waits for on a read replica, or nothing.
    pub(super) fn awaits(&self, uid: &str, awaited: Option<Awaited>) {
        if awaited.is_some() || self.awaited(uid).is_some() {
            self.entry(uid, |tenant| tenant.awaited = awaited);
        }
    }

    /// What the last pass waited for on a read replica.
    pub(super) fn awaited(&self, uid: &str) -> Option<Awaited> {
        self.lock().get(uid)?.awaited.clone()
    }

    /// The read replicas that refused the tenant's login lately.
    pub(super) fn refused(&self, uid: &str, now: Mono) -> BTreeSet<Address> {
        let tenants = self.lock();
        let all = tenants
            .get(uid)
            .into_iter()
            .flat_map(|tenant| &tenant.unread);
        let lately = all.filter(|(_, at)| now.since(**at) < REFUSED_MS);
        lately.map(|(replica, _)| replica.clone()).collect()
    }

    /// The placement is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.promises.settle(uid);
        self.regional.forget(uid);
        self.patience.forget(uid);
        self.lock().remove(uid);
    }

    fn entry(&self, uid: &str, change: impl FnOnce(&mut Remembered)) {
        let mut tenants = self.lock();
        if tenants.len() >= LIMIT && !tenants.contains_key(uid) {
            tenants.clear();
        }
        change(tenants.entry(uid.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domicile_core::facts::Lsn;

    use super::*;

    const FRESH: Duration = Duration::from_mins(1);

    fn inputs(epoch: i64) -> Inputs {
        Inputs {
            generation: Some(1),
            asked: None,
            server: ServerId::new("eu-west", "main"),
            epoch: Epoch(epoch),
            secret_hash: "h".into(),
            idle: None,
            unlisted: BTreeSet::new(),
        }
    }

    #[test]
    fn a_good_look_is_believed_for_a_while_and_for_the_same_inputs_only() {
        let memory = Memory::default();
        assert!(memory.due("u", &inputs(1), FRESH, Mono(0)));
        memory.looked("u", inputs(1), None, Mono(0));
        assert!(!memory.due("u", &inputs(1), FRESH, Mono(59_999)));
        assert!(memory.due("u", &inputs(1), FRESH, Mono(60_000)));
        assert!(memory.due("u", &inputs(2), FRESH, Mono(1)));
        memory.doubt("u");
        assert!(memory.due("u", &inputs(1), FRESH, Mono(1)));
    }

    #[test]
    fn a_status_is_trusted_where_nothing_else_is_known() {
        let memory = Memory::default();
        memory.trust("u", inputs(1), Mono(5));
        assert!(!memory.due("u", &inputs(1), FRESH, Mono(60_004)));
        assert!(memory.due("u", &inputs(1), FRESH, Mono(60_005)));
        memory.doubt("u");
        memory.trust("u", inputs(1), Mono(60_005));
        assert!(memory.due("u", &inputs(1), FRESH, Mono(60_005)));
    }

    #[test]
    fn a_suspicion_makes_no_look_due_and_a_look_in_one_does_not_count_as_closing() {
        let closing = Inputs {
            idle: Some(Slot::B),
            ..inputs(1)
        };
        let memory = Memory::default();
        memory.looked("u", closing.clone(), None, Mono(0));
        assert!(!memory.due("u", &inputs(1), FRESH, Mono(1)));
        memory.looked("u", inputs(1), None, Mono(2));
        assert!(memory.due("u", &closing, FRESH, Mono(3)));
    }

    #[test]
    fn what_was_taken_up_counts_from_its_last_break() {
        let memory = Memory::default();
        assert_eq!(memory.taken_up("u", true, Mono(5)), Some(0));
        assert_eq!(memory.taken_up("u", true, Mono(9)), Some(4));
        assert_eq!(memory.taken_up("u", false, Mono(10)), None);
        assert_eq!(memory.taken_up("u", true, Mono(12)), Some(0));
    }

    #[test]
    fn a_repointed_tenant_is_still_to_be_looked_at() {
        let memory = Memory::default();
        let missing = Some((Reason::DatabaseIncomplete, "x".to_owned()));
        memory.looked("u", inputs(1), missing.clone(), Mono(0));
        assert_eq!(memory.missing("u"), missing);
        memory.doubt("u");
        assert_eq!(memory.missing("u"), None);
        memory.repointed("u", inputs(2));
        assert!(memory.is_repointed("u", &inputs(2)));
        assert!(!memory.is_repointed("u", &inputs(3)));
        assert!(memory.due("u", &inputs(2), FRESH, Mono(1)));
        memory.doubt("u");
        assert!(!memory.is_repointed("u", &inputs(2)));
    }

    #[test]
    fn a_replica_that_refused_the_tenant_is_not_tried_for_ten_minutes() {
        let (memory, host) = (Memory::default(), "r1".to_owned());
        let replica = Address { host, port: 1 };
        memory.unread("u", replica.clone(), Mono(5));
        memory.doubt("u");
        let other = Address {
            host: "r2".into(),
            port: 5432,
        };
        memory.unread("u", other.clone(), Mono(9));
        let both = BTreeSet::from([replica, other.clone()]);
        assert_eq!(memory.refused("u", Mono(600_004)), both);
        assert_eq!(memory.refused("u", Mono(600_005)), BTreeSet::from([other]));
    }

    #[test]
    fn what_is_awaited_is_what_the_last_pass_waits_for() {
        let memory = Memory::default();
        let replica = Address {
            host: "r1".into(),
            port: 5432,
        };
        let awaited = Awaited {
            replica,
            position: Lsn(7),
            since: Mono(5),
        };
        memory.awaits("u", Some(awaited.clone()));
        memory.doubt("u");
        assert_eq!(memory.awaited("u"), Some(awaited));
        memory.awaits("u", None);
        assert_eq!(memory.awaited("u"), None);
        memory.awaits("other", None);
        memory.trust("other", inputs(1), Mono(0));
        assert!(!memory.due("other", &inputs(1), FRESH, Mono(1)));
    }

    #[test]
    fn a_namespace_is_looked_through_once_per_generation_and_process() {
        let memory = Memory::default();
        let west = RegionName::new("eu-west");
        assert!(memory.must_scan("u", None, Some(1)));
        memory.scanned("u", None, Some(1));
        assert!(!memory.must_scan("u", None, Some(1)));
        assert!(memory.must_scan("u", Some(&west), Some(1)));
        assert!(memory.must_scan("u", None, Some(2)));
        memory.forget("u");
        assert!(memory.must_scan("u", None, Some(1)));
    }
}
