//! What was found of workloads stands until the watch tells of a change: a pass over a settled
//! placement asks for none of them.

use std::time::Duration;

use domicile_api::conditions::{Reason, Status};
use domicile_api::meta;
use domicile_api::placement::TenantPlacement;
use domicile_api::placement_status::WorkloadStatus;
use domicile_core::injection::Origin;
use domicile_core::time::Mono;
use kube::ResourceExt;

use super::{INJECTED, pods};
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::{Finding, Progress};
use crate::kube::wake::Key;
use crate::workloads::Revision;

/// All that a look at the workloads depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::placement) struct Inputs {
    generation: Option<i64>,
    /// The annotation that asks for a pass.
    asked: Option<String>,
    hash: String,
    origin: Origin,
    revision: Revision,
}

/// What a look found that had nothing left to do.
#[derive(Debug, Clone)]
pub(in crate::controllers::placement) struct Settled {
    inputs: Inputs,
    at: Mono,
    finding: Finding,
    workloads: Vec<WorkloadStatus>,
    taken_up: bool,
}

/// Taken before the look, so that a change during it counts. Absent where only a look tells: in
/// another cluster, of kinds that nobody watches, and of pods.
pub(super) fn inputs(at: &Place<'_>, hash: &str, origin: &Origin) -> Option<Inputs> {
    let Place { ctx, tenant, .. } = *at;
    if at.region.is_some() || pods::must_be_asked(tenant) || !is_watched(tenant) {
        return None;
    }
    let asked = tenant.annotations().get(meta::RECONCILE_AT).cloned();
    Some(Inputs {
        generation: tenant.metadata.generation,
        asked,
        hash: hash.to_owned(),
        origin: origin.clone(),
        revision: ctx.workloads.revision(&Key::of(tenant))?,
    })
}

/// Whether the kinds of all its workloads are of those that the operator watches.
fn is_watched(tenant: &TenantPlacement) -> bool {
    let others = tenant.status.iter().flat_map(|s| &s.other_workloads);
    let known = tenant.workloads().iter().all(|one| one.known().is_some());
    known && others.count() == 0
}

impl Settled {
    /// What the pass found, if there is nothing left to do.
    pub(super) fn of(inputs: Inputs, progress: &Progress, at: Mono) -> Option<Self> {
        let finding = progress.findings.get(&INJECTED)?;
        let nothing_to_do = finding.status == Status::True || finding.reason == Reason::NoWorkloads;
        (nothing_to_do && !progress.rolling).then(|| Self {
            inputs,
            at,
            finding: finding.clone(),
            workloads: progress.workloads.clone().unwrap_or_default(),
            taken_up: progress.taken_up,
        })
    }

    /// Whether that answers for a pass with these inputs. For `fresh` at most, as a watch may be
    /// silent.
    pub(in crate::controllers::placement) fn answers(
        &self,
        inputs: &Inputs,
        fresh: Duration,
        now: Mono,
    ) -> bool {
        self.inputs == *inputs && Duration::from_millis(now.since(self.at)) < fresh
    }

    /// Says it again.
    pub(super) fn tell(self, progress: &mut Progress) {
        progress.findings.insert(INJECTED, self.finding);
        progress.workloads = Some(self.workloads);
        progress.other_workloads = Some(Vec::new());
        progress.taken_up = self.taken_up;
    }
}

#[cfg(test)]
mod tests {
    use domicile_api::conditions::ConditionType;
    use domicile_core::names::ServerId;

    use super::*;
    use crate::workloads::Workloads;

    const FRESH: Duration = Duration::from_secs(9);

    fn inputs(workloads: &Workloads) -> Inputs {
        Inputs {
            generation: Some(1),
            asked: None,
            hash: "h".to_owned(),
            origin: Origin {
                server: ServerId::new("eu-west", "main"),
                generation: 1,
            },
            revision: workloads.revision(&Key::namespaced("n", "acme")).unwrap(),
        }
    }

    fn found(status: Status, reason: Reason) -> Progress {
        let mut progress = Progress::default();
        progress.found(ConditionType::Injected, status, reason, "told");
        progress.taken_up = true;
        progress
    }

    #[test]
    fn what_was_found_stands_for_the_same_inputs_and_for_a_while() {
        let workloads = Workloads::of_watched(&Key::namespaced("n", "acme"));
        let progress = found(Status::True, Reason::InjectionComplete);
        let settled = Settled::of(inputs(&workloads), &progress, Mono(1_000)).unwrap();
        let answers = |inputs: &Inputs, at| settled.answers(inputs, FRESH, Mono(at));
        assert!(answers(&inputs(&workloads), 9_999));
        assert!(!answers(&inputs(&workloads), 10_000));
        for other in [
            Inputs {
                generation: Some(2),
                ..inputs(&workloads)
            },
            Inputs {
                asked: Some("now".to_owned()),
                ..inputs(&workloads)
            },
            Inputs {
                hash: "g".to_owned(),
                ..inputs(&workloads)
            },
        ] {
            assert!(!answers(&other, 1_000), "{other:?}");
        }
        workloads.changed(&Key::namespaced("n", "acme"));
        assert!(!answers(&inputs(&workloads), 1_000));
        let mut again = Progress::default();
        settled.tell(&mut again);
        assert_eq!(again.findings, progress.findings);
        assert!(again.taken_up && again.other_workloads == Some(Vec::new()));
    }

    #[test]
    fn what_is_under_way_or_wrong_is_looked_at_again() {
        let workloads = Workloads::of_watched(&Key::namespaced("n", "acme"));
        let stands =
            |progress: &Progress| Settled::of(inputs(&workloads), progress, Mono(0)).is_some();
        assert!(stands(&found(Status::False, Reason::NoWorkloads)));
        assert!(!stands(&found(Status::False, Reason::RollingOut)));
        assert!(!stands(&found(Status::False, Reason::FieldConflict)));
        assert!(!stands(&Progress::default()));
        let mut rolling = found(Status::True, Reason::InjectionComplete);
        rolling.rolling = true;
        assert!(!stands(&rolling));
    }
}
