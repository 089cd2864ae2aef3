//! What came of taking a binding back: pure.

use domicile_api::service_binding::BindingReason;

/// What came of taking a binding back from all workloads of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Released {
    /// None carries it any more.
    All,
    /// Some may: the operator has no right to them, as where their namespace is being deleted.
    NoRights,
    /// Some do: what they would become is refused, as this says.
    Refused(String),
}

impl Released {
    /// By what went wrong with single workloads. A refusal is waited for, before what there is no
    /// right to.
    pub(super) fn of(problems: Vec<(BindingReason, String)>) -> Self {
        if problems.is_empty() {
            return Self::All;
        }
        let refused = problems.into_iter();
        let refused = refused.filter(|(reason, _)| *reason != BindingReason::WorkloadForbidden);
        let refused: Vec<String> = refused.map(|(_, fact)| fact).collect();
        if refused.is_empty() {
            Self::NoRights
        } else {
            Self::Refused(refused.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_missing_right() {
        let rights = || (BindingReason::WorkloadForbidden, "no right".to_owned());
        let denied = |name: &str| (BindingReason::WorkloadRefused, name.to_owned());
        assert_eq!(Released::of(vec![]), Released::All);
        assert_eq!(Released::of(vec![rights()]), Released::NoRights);
        let both = Released::of(vec![denied("a"), rights(), denied("b")]);
        assert_eq!(both, Released::Refused("a; b".into()));
    }
}
