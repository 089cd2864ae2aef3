//! When a workload that was not written is tried again: by itself ever later; at once when
//! something else is to be written, when it was changed, and when a person asks for a pass.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domicile_api::meta;
use domicile_api::placement::TenantPlacement;
use domicile_core::time::Mono;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::refusal::{Refused, key};
use super::undone::Writes;
use crate::clock::Clock;
use crate::error::Class;
use crate::kube::backoff;

/// Most placements with such workloads that are remembered; beyond it the count starts anew.
const LIMIT: usize = 4096;
/// Once the workloads of a placement took this long, the first failure is the last: the status is
/// to be stored within the time of the pass.
const LONG_MS: u64 = 20_000;

/// The workloads that were not written, of all placements, by UID.
#[derive(Debug, Default)]
pub(in crate::controllers::placement) struct Patience {
    placements: Mutex<BTreeMap<String, BTreeMap<String, Waiting>>>,
    writes: Writes,
}

#[derive(Debug)]
struct Waiting {
    /// What was tried.
    of: u64,
    until: Mono,
    refused: Refused,
}

impl Patience {
    /// The placement is gone.
    pub(in crate::controllers::placement) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Waiting>>> {
        self.placements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tries of one pass over a placement's workloads.
pub(super) struct Tries<'a> {
    patience: &'a Patience,
    clock: &'a Clock,
    begun: Mono,
    uid: String,
    /// The annotation that asks for a pass.
    asked: Option<String>,
}

impl<'a> Tries<'a> {
    /// Begins now.
    pub(super) fn of(patience: &'a Patience, clock: &'a Clock, tenant: &TenantPlacement) -> Self {
        Self {
            patience,
            clock,
            begun: clock.mono(),
            uid: tenant.uid().unwrap_or_default(),
            asked: tenant.annotations().get(meta::RECONCILE_AT).cloned(),
        }
    }

    /// What is known of a workload that must rest before this is written to it again.
    pub(super) fn rests(&self, live: &DynamicObject, document: &Value) -> Option<Refused> {
        let placements = self.patience.lock();
        let waiting = placements.get(&self.uid)?.get(key(live))?;
        let same = waiting.of == self.fingerprint(live, document);
        (same && self.clock.mono().0 < waiting.until.0).then(|| waiting.refused.clone())
    }

    /// A workload was not written. Answers with how often that was so in a row.
    pub(super) fn failed(
        &self,
        (live, document): (&DynamicObject, &Value),
        mut refused: Refused,
        class: Class,
        jitter: f64,
    ) -> Refused {
        let of = self.fingerprint(live, document);
        let mut placements = self.patience.lock();
        if placements.len() >= LIMIT && !placements.contains_key(&self.uid) {
            placements.clear();
        }
        let workloads = placements.entry(self.uid.clone()).or_default();
        let before = workloads
            .get(key(live))
            .map_or(0, |one| one.refused.failures);
        refused.failures = before.saturating_add(1);
        let rest = backoff::delay(class, refused.failures, jitter).as_millis();
        let rest = u64::try_from(rest).unwrap_or(u64::MAX);
        let waiting = Waiting {
            of,
            until: Mono(self.clock.mono().0.saturating_add(rest)),
            refused: refused.clone(),
        };
        workloads.insert(key(live).to_owned(), waiting);
        refused
    }

    /// A workload was written.
    pub(super) fn written(&self, live: &DynamicObject, document: &Value) {
        self.done(live);
        let (workload, of) = self.numbers(live, document);
        let now = self.clock.mono();
        self.patience.writes.written(workload, of, now);
    }

    /// How often this was written to a workload, and taken out by somebody, where it must wait.
    pub(super) fn undone(&self, live: &DynamicObject, document: &Value) -> Option<u32> {
        let (workload, of) = self.numbers(live, document);
        let now = self.clock.mono();
        self.patience.writes.rests(workload, of, now)
    }

    /// What was given to a workload was taken back: to give the same again is no repetition.
    pub(super) fn released(&self, live: &DynamicObject) {
        self.done(live);
        self.patience.writes.forget(self.number(live));
    }

    fn number(&self, live: &DynamicObject) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.uid, key(live)).hash(&mut hasher);
        hasher.finish()
    }

    /// One for the workload, and one for what is written to it.
    fn numbers(&self, live: &DynamicObject, document: &Value) -> (u64, u64) {
        let mut of = DefaultHasher::new();
        (content(document), &self.asked).hash(&mut of);
        (self.number(live), of.finish())
    }

    /// A workload is as it must be.
    pub(super) fn done(&self, live: &DynamicObject) {
        let mut placements = self.patience.lock();
        if let Some(workloads) = placements.get_mut(&self.uid) {
            workloads.remove(key(live));
            if workloads.is_empty() {
                placements.remove(&self.uid);
            }
        }
    }

    /// How often in a row a workload was not written.
    pub(super) fn failures(&self, live: &DynamicObject) -> u32 {
        let placements = self.patience.lock();
        let of = placements.get(&self.uid);
        let waiting = of.and_then(|workloads| workloads.get(key(live)));
        waiting.map_or(0, |waiting| waiting.refused.failures)
    }

    /// Whether who fails now is the last that is tried.
    pub(super) fn took_long(&self) -> bool {
        self.clock.mono().since(self.begun) >= LONG_MS
    }

    fn fingerprint(&self, live: &DynamicObject, document: &Value) -> u64 {
        let mut hasher = DefaultHasher::new();
        content(document).hash(&mut hasher);
        live.labels().hash(&mut hasher);
        live.metadata.generation.hash(&mut hasher);
        self.asked.hash(&mut hasher);
        hasher.finish()
    }
}

/// What is written, but for the version that it stands for: that changes with each status.
fn content(document: &Value) -> String {
    let mut document = document.clone();
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    document.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controllers::placement::workloads::refusal::Refusal;
    use crate::controllers::placement::workloads::refusal::tests::answered;

    fn tenant(asked: Option<&str>) -> TenantPlacement {
        let annotations = asked.map(|asked| json!({ meta::RECONCILE_AT: asked }));
        let metadata = json!({ "name": "acme", "uid": "p", "annotations": annotations });
        let placement = json!({ "metadata": metadata, "spec": { "tenantID": "acme" } });
        serde_json::from_value(placement).unwrap()
    }

    fn live(uid: &str, generation: i64) -> DynamicObject {
        let metadata = json!({ "name": uid, "uid": uid, "generation": generation });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn refused() -> Refused {
        Refused::new(Refusal::Denied, "Deployment a", &answered(403, "no"))
    }

    #[test]
    fn who_refused_rests_until_something_is_different() {
        let (patience, clock) = (Patience::default(), Clock::default());
        let document = json!({ "hash": "h1" });
        let tries = Tries::of(&patience, &clock, &tenant(None));
        assert_eq!(tries.rests(&live("a", 1), &document), None);
        let one = live("a", 1);
        tries.failed((&one, &document), refused(), Class::Config, 0.0);
        assert_eq!(tries.rests(&one, &document), Some(refused()));
        assert_eq!(tries.rests(&live("b", 1), &document), None, "another");
        assert_eq!(tries.rests(&live("a", 2), &document), None, "changed");
        let of = |version: &str| json!({ "metadata": { "resourceVersion": version } });
        tries.failed((&live("c", 1), &of("1")), refused(), Class::Config, 0.0);
        assert_eq!(
            tries.rests(&live("c", 1), &of("2")),
            Some(refused()),
            "its status"
        );
        let next = json!({ "hash": "h2" });
        assert_eq!(tries.rests(&one, &next), None, "another Secret");
        let asked = Tries::of(&patience, &clock, &tenant(Some("now")));
        assert_eq!(asked.rests(&one, &document), None, "a person asks");
    }

    #[test]
    fn failures_in_a_row_are_counted_until_a_success() {
        let (patience, clock) = (Patience::default(), Clock::default());
        let tries = Tries::of(&patience, &clock, &tenant(None));
        let (one, document) = (live("a", 1), json!({}));
        let fails = || tries.failed((&one, &document), refused(), Class::Config, 0.0);
        assert_eq!((fails().failures, fails().failures), (1, 2));
        assert_eq!(
            (tries.failures(&one), tries.failures(&live("b", 1))),
            (2, 0)
        );
        tries.done(&one);
        assert_eq!((tries.failures(&one), fails().failures), (0, 1));
        patience.forget("p");
        assert_eq!(tries.failures(&one), 0);
        assert!(!tries.took_long());
    }
}
