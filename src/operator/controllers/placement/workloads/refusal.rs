//! What it means that a write to one object failed, and what is said of it: pure.

use domicile_api::conditions::Reason;
use kube::api::DynamicObject;

use crate::controllers::placement::error::{Halt, PlacementError};
use crate::controllers::placement::place::Place;
use crate::controllers::placement::progress::{Stop, Until};
use crate::kube::client::CallError;

/// Most objects that a message names for one cause.
const SHOWN: usize = 3;
/// Longest answer of the API server in a message about several objects, in bytes.
const FACT: usize = 200;
/// What fails this often in a row is not believed to mend by itself.
const LASTING: u32 = 3;

/// Why one object was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controllers::placement) enum Refusal {
    /// It was changed, deleted or made anew meanwhile: the next pass looks again.
    Moved,
    /// A webhook or a policy that is asked at admission says no.
    Denied,
    /// The API server does not take what it would become.
    Invalid,
    /// A webhook that must be asked at admission does not work.
    Broken,
    /// The API server failed.
    Failed,
    /// There was no answer. Each other write may cost as long a wait.
    Silent,
}

impl Refusal {
    /// Absent where the answer is not about this object alone: the operator has no right to such
    /// objects, or the cluster does not know the operator.
    pub(in crate::controllers::placement) fn of(error: &CallError) -> Option<Self> {
        let Some(status) = error.status() else {
            return Some(Self::Silent);
        };
        if error.is_denial() {
            return Some(Self::Denied);
        }
        match status.code {
            401 => None,
            403 if error.lacks_right() => None,
            // Not by the rules for roles, which say who may not do what.
            403 => Some(Self::Denied),
            404 | 409 => Some(Self::Moved),
            400 | 405 | 413 | 415 | 422 => Some(Self::Invalid),
            _ if status.message.contains("webhook") => Some(Self::Broken),
            _ => Some(Self::Failed),
        }
    }
}

/// An object that was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::placement) struct Refused {
    what: Refusal,
    fact: String,
    /// How often in a row.
    pub(super) failures: u32,
}

impl Refused {
    /// `doing` names the object.
    pub(super) fn new(what: Refusal, doing: &str, error: &CallError) -> Self {
        let text = error.to_string();
        let text = &text[..text.floor_char_boundary(FACT)];
        let fact = error.status().map_or_else(
            || format!("{doing}: {text}"),
            |status| format!("{doing} ({}): {text}", status.code),
        );
        Self {
            what,
            fact,
            failures: 1,
        }
    }

    fn stop(&self) -> Stop {
        let (until, step) = match self.what {
            Refusal::Denied => (
                Until::Person,
                "let the policy or webhook admit this change by the operator",
            ),
            Refusal::Invalid => (Until::Person, "correct that object"),
            Refusal::Moved | Refusal::Broken | Refusal::Failed | Refusal::Silent => (
                Until::Mended,
                "it is tried again; see to the API server, or to the webhook that it names",
            ),
        };
        let message = format!("{}; {step}", self.fact);
        Stop::new(until, Reason::ApiServerError, message)
    }
}

/// What it means for a deletion that a call about one object failed.
pub(in crate::controllers::placement) fn halt(
    at: &Place<'_>,
    doing: &str,
    error: CallError,
    no_rights: impl FnOnce() -> Stop,
) -> Halt {
    match Refusal::of(&error) {
        None if error.is_forbidden() => no_rights().into(),
        Some(what @ (Refusal::Denied | Refusal::Invalid | Refusal::Broken)) => {
            Refused::new(what, doing, &error).stop().into()
        }
        // A cluster of a region that fails is told of as a whole.
        Some(what @ Refusal::Failed) if at.region.is_none() => {
            Refused::new(what, doing, &error).stop().into()
        }
        None | Some(Refusal::Moved | Refusal::Failed | Refusal::Silent) => {
            PlacementError::call(doing, error).into()
        }
    }
}

/// Something that keeps the Secret from workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// A person must see to it; else it may mend by itself.
    pub(super) lasts: bool,
}

/// What is said of the workloads that were not written, and of how many others were not tried then.
pub(super) fn told(refused: &[Refused], untried: usize) -> Vec<Problem> {
    type Group = (fn(Refusal) -> bool, Reason, &'static str, &'static str);
    let groups: [Group; 3] = [
        (
            |what| what == Refusal::Denied,
            Reason::ApiServerError,
            "refused at admission",
            "let the policy or webhook admit this change by the operator, or take the workload \
             out of `spec.injection.workloads`",
        ),
        (
            |what| what == Refusal::Invalid,
            Reason::InvalidSpec,
            "the API server refused what is injected",
            "correct the workload, or `spec.injection`",
        ),
        (
            |what| matches!(what, Refusal::Broken | Refusal::Failed | Refusal::Silent),
            Reason::ApiServerError,
            "the API server failed",
            "it is tried again; see to the API server, or to the webhook that it names",
        ),
    ];
    let mut problems = Vec::new();
    for (is_of, reason, what, step) in groups {
        let these = refused.iter().filter(|one| is_of(one.what));
        let these: Vec<&Refused> = these.collect();
        if these.is_empty() {
            continue;
        }
        let facts: Vec<&str> = these.iter().take(SHOWN).map(|one| &*one.fact).collect();
        let more = match these.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let lasts = |one: &&Refused| {
            matches!(one.what, Refusal::Denied | Refusal::Invalid) || one.failures >= LASTING
        };
        problems.push(Problem {
            reason,
            message: format!("{what}: {}{more}; {step}", facts.join("; ")),
            lasts: these.iter().any(lasts),
        });
    }
    if let Some(last) = problems.last_mut().filter(|_| untried > 0) {
        let told = format!("; {untried} others were not tried after that, and come next");
        last.message.push_str(&told);
    }
    problems
}

/// A workload, as messages name one that is to lose what it carries.
pub(super) fn losing(name: &str) -> String {
    format!("taking back from {name}")
}

/// What a workload's tries are counted by.
pub(super) fn key(live: &DynamicObject) -> &str {
    live.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use kube::core::Status;

    use super::*;

    const ROLES: &str = "deployments.apps \"api\" is forbidden: User \
        \"system:serviceaccount:domicile-system:domicile\" cannot patch resource \"deployments\" \
        in API group \"apps\" in the namespace \"space\"";
    const POLICY: &str = "deployments.apps \"api\" is forbidden: ValidatingAdmissionPolicy \
        'frozen' with binding 'frozen' denied request: not today";
    const HOOK: &str = "admission webhook \"v.example.com\" denied the request: who cannot say";
    const DEAD: &str = "Internal error occurred: failed calling webhook \"v.example.com\": failed \
        to call webhook: Post \"https://v/\": connection refused";

    pub(in crate::controllers::placement) fn answered(code: u16, message: &str) -> CallError {
        let status = Status::failure(message, "Reason").with_code(code).boxed();
        CallError::Kube(kube::Error::Api(status))
    }

    #[test]
    fn a_denial_at_admission_is_no_missing_right_whatever_its_code() {
        for code in [400, 401, 403, 409, 413, 422] {
            for message in [POLICY, HOOK] {
                let error = answered(code, message);
                assert_eq!(Refusal::of(&error), Some(Refusal::Denied), "{code}");
                assert!(!error.lacks_right(), "{code} {message}");
            }
        }
        assert!(answered(403, ROLES).lacks_right());
        assert_eq!(Refusal::of(&answered(403, ROLES)), None);
        assert_eq!(Refusal::of(&answered(401, "Unauthorized")), None);
        assert!(!answered(403, "exceeded quota").lacks_right());
    }

    #[test]
    fn each_answer_says_what_is_wrong() {
        let silent = CallError::TimedOut(std::time::Duration::from_secs(1));
        assert_eq!(Refusal::of(&silent), Some(Refusal::Silent));
        for (code, message, what) in [
            (409, "the object has been modified", Refusal::Moved),
            (404, "not found", Refusal::Moved),
            (400, "strict decoding error", Refusal::Invalid),
            (422, "is invalid: spec.template", Refusal::Invalid),
            (500, DEAD, Refusal::Broken),
            (500, "etcdserver: no leader", Refusal::Failed),
            (429, "too many requests", Refusal::Failed),
        ] {
            assert_eq!(Refusal::of(&answered(code, message)), Some(what), "{code}");
        }
    }

    fn refused(what: Refusal, name: &str, failures: u32) -> Refused {
        let error = answered(403, POLICY);
        Refused {
            failures,
            ..Refused::new(what, name, &error)
        }
    }

    #[test]
    fn every_cause_is_told_with_its_next_step() {
        let all = [
            refused(Refusal::Broken, "Deployment d", 1),
            refused(Refusal::Denied, "Deployment a", 1),
            refused(Refusal::Invalid, "Deployment c", 1),
        ];
        let problems = told(&all, 2);
        assert_eq!(problems.len(), 3);
        let (denied, invalid, failed) = (&problems[0], &problems[1], &problems[2]);
        assert!(denied.message.contains("Deployment a (403): ") && denied.lasts);
        assert!(denied.message.contains("not today; let the policy"));
        assert_eq!(invalid.reason, Reason::InvalidSpec);
        assert!(!failed.lasts && failed.message.contains("2 others were not tried"));
        let often = [refused(Refusal::Silent, "Deployment d", LASTING)];
        assert!(told(&often, 0)[0].lasts);
        assert_eq!(told(&[], 0), []);
    }

    #[test]
    fn many_workloads_are_counted_and_a_long_answer_is_cut() {
        let long = answered(400, &"ä".repeat(500));
        let one = Refused::new(Refusal::Invalid, "Deployment a", &long);
        let message = &told(&vec![one; 9], 0)[0].message;
        assert!(message.contains("; and 6 more; correct"), "{message}");
        assert!(message.len() < 1024, "{}", message.len());
    }
}
