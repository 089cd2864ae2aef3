//! Workloads of one kind as they were last seen, as far as it takes to see that one changed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What changed of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new or gone, or its spec, labels or annotations are others.
    Form,
    /// Its status.
    State,
}

/// Namespace and name.
type Place = (String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    version: u64,
    form: u64,
}

/// All workloads of one kind.
#[derive(Debug, Default)]
pub(super) struct Known {
    all: BTreeMap<Place, Mark>,
    /// Those of a list that is under way.
    listed: BTreeMap<Place, Mark>,
    /// A list was complete before: what is not in it is news.
    complete: bool,
}

impl Known {
    /// One was told to be new or changed. Answers what is news in it.
    pub(super) fn saw(&mut self, metadata: &ObjectMeta) -> Option<Change> {
        let mark = mark(metadata);
        let before = self.all.insert(place(metadata), mark);
        news(before, mark)
    }

    /// One is gone.
    pub(super) fn lost(&mut self, metadata: &ObjectMeta) {
        self.all.remove(&place(metadata));
    }

    /// A list begins, from scratch.
    pub(super) fn begin(&mut self) {
        self.listed.clear();
    }

    /// One is in the list. Of the first list nothing is news: who asked before had no answer.
    pub(super) fn listed(&mut self, metadata: &ObjectMeta) -> Option<Change> {
        let (place, mark) = (place(metadata), mark(metadata));
        let before = self.all.get(&place).copied();
        self.listed.insert(place, mark);
        news(before, mark).filter(|_| self.complete)
    }

    /// The list is complete. Answers the namespaces of those that went unseen.
    pub(super) fn end(&mut self) -> BTreeSet<String> {
        let now = std::mem::take(&mut self.listed);
        let before = std::mem::replace(&mut self.all, now);
        self.complete = true;
        let gone = before.into_keys().filter(|one| !self.all.contains_key(one));
        gone.map(|(namespace, _)| namespace).collect()
    }

    /// Whether a namespace has some.
    pub(super) fn has(&self, namespace: &str) -> bool {
        let from = (namespace.to_owned(), String::new());
        let mut there = self.all.range(from..);
        there
            .next()
            .is_some_and(|((first, _), _)| first == namespace)
    }

    /// The namespaces that have some.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (namespace, _) in self.all.keys() {
            if !all.contains(namespace) {
                all.insert(namespace.clone());
            }
        }
        all
    }
}

fn news(before: Option<Mark>, now: Mark) -> Option<Change> {
    match before {
        Some(before) if before == now => None,
        Some(before) if before.form == now.form => Some(Change::State),
        _ => Some(Change::Form),
    }
}

fn place(metadata: &ObjectMeta) -> Place {
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    (text(&metadata.namespace), text(&metadata.name))
}

fn mark(metadata: &ObjectMeta) -> Mark {
    let form = (
        &metadata.uid,
        metadata.generation,
        &metadata.labels,
        &metadata.annotations,
        metadata.deletion_timestamp.is_some(),
    );
    Mark {
        version: hash(&metadata.resource_version),
        form: hash(&form),
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str, version: &str, generation: i64) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("tenant".to_owned()),
            name: Some(name.to_owned()),
            resource_version: Some(version.to_owned()),
            generation: Some(generation),
            ..ObjectMeta::default()
        }
    }

    fn complete(all: &[ObjectMeta]) -> Known {
        let mut known = Known::default();
        known.begin();
        for one in all {
            assert_eq!(known.listed(one), None);
        }
        assert!(known.end().is_empty());
        known
    }

    #[test]
    fn a_change_of_the_status_is_told_from_one_of_the_rest() {
        let mut known = complete(&[workload("api", "1", 1)]);
        assert_eq!(known.saw(&workload("api", "1", 1)), None);
        assert_eq!(known.saw(&workload("api", "2", 1)), Some(Change::State));
        assert_eq!(known.saw(&workload("api", "3", 2)), Some(Change::Form));
        let mut labelled = workload("api", "4", 2);
        labelled.labels = Some([("tenant".to_owned(), "acme".to_owned())].into());
        assert_eq!(known.saw(&labelled), Some(Change::Form));
        assert_eq!(known.saw(&workload("other", "5", 1)), Some(Change::Form));
        known.lost(&workload("other", "6", 1));
        assert_eq!(known.saw(&workload("other", "5", 1)), Some(Change::Form));
    }

    #[test]
    fn a_second_list_tells_what_changed_meanwhile_and_what_went() {
        let before = [workload("same", "1", 1), workload("gone", "1", 1)];
        let mut known = complete(&before);
        // One that is broken off counts for nothing.
        known.begin();
        assert_eq!(known.listed(&workload("gone", "1", 1)), None);
        known.begin();
        assert_eq!(known.listed(&workload("same", "1", 1)), None);
        assert_eq!(known.listed(&workload("new", "9", 1)), Some(Change::Form));
        let mut elsewhere = workload("other", "2", 1);
        elsewhere.namespace = Some("elsewhere".to_owned());
        assert_eq!(known.listed(&elsewhere), Some(Change::Form));
        assert_eq!(known.end(), BTreeSet::from(["tenant".to_owned()]));
        let both = ["elsewhere", "tenant"].map(str::to_owned);
        assert_eq!(known.namespaces(), BTreeSet::from(both));
        assert!(known.has("elsewhere") && known.has("tenant") && !known.has("else"));
        known.lost(&elsewhere);
        assert!(!known.has("elsewhere") && known.has("tenant") && !known.has("z"));
        assert_eq!(known.namespaces(), BTreeSet::from(["tenant".to_owned()]));
        assert_eq!(known.saw(&workload("same", "8", 1)), Some(Change::State));
    }
}
