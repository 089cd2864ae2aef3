//! Conditions: set in one place, so that the kstatus triple never contradicts itself and the time
//! of the last transition stays.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use crate::reasons::Reason;

/// Longest message of a condition, in bytes; a longer one is cut.
pub const MAX_MESSAGE_BYTES: usize = 1024;

macro_rules! types {
    ($($(#[doc = $doc:literal])+ $variant:ident),+ $(,)?) => {
        /// What a condition is about. Conditions are kept in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConditionType { $($(#[doc = $doc])+ $variant),+ }

        impl ConditionType {
            /// Every type, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// Whose it is, and what it means when it is True, in a line.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

types! {
    /// All: a person must do something. First, since kstatus takes the first that is True.
    Stalled,
    /// All: the controller is at work.
    Reconciling,
    /// All: the thing does what it is for.
    Ready,
    /// Region: every database server answers.
    DatabasesReachable,
    /// Region: the operator's login has the rights that it needs.
    AdminPrivilegesSufficient,
    /// Region: deleted placements left something on its servers, which is still to be cleaned up.
    CleanupPending,
    /// Region: what promotes the servers answers, and lets the operator in.
    ProvidersReady,
    /// Region: each read replica follows its server, and may be read from.
    ReadReplicasFollow,
    /// Placement: the server is one for tenants of this plan, isolation, plane and version.
    ServerFits,
    /// Placement: database, roles and grants are made.
    DatabaseReady,
    /// Placement: the published credentials are accepted.
    CredentialsCurrent,
    /// Placement: the selected workloads carry the variables.
    Injected,
    /// Placement: a policy covers the server, and a standby is ready.
    FailoverProtected,
    /// Placement: every copy stands within the allowed jurisdictions.
    ResidencyCompliant,
    /// Placement: the home region's own servers hold the data, or would without a failover.
    ResidencyEffective,
    /// Placement: the last look at the database found something that was not as planned.
    Drifted,
    /// Policy: a failover would begin, were the active server lost now.
    FailoverReady,
    /// Policy: every standby streams.
    ReplicationHealthy,
    /// Policy: the active server answers.
    PrimaryHealthy,
    /// Policy: tenants are served away from home.
    FailedOver,
    /// Policy: the way home is open.
    FailbackReady,
    /// Policy: every standby is what it should be.
    StandbyHealthy,
    /// Policy: two servers would take writes.
    SplitBrain,
    /// Policy: automatic moves are stopped by its user.
    Paused,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is not known.
    Unknown,
}

impl Status {
    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The answer of the kstatus triple, of which there are four and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// It works and nothing is under way: kstatus `Current`.
    Ready,
    /// It does not work, nothing is under way, and it may mend by itself: kstatus `InProgress`.
    NotReady,
    /// The controller is at work: kstatus `InProgress`.
    Reconciling {
        /// Whether it works meanwhile.
        ready: bool,
    },
    /// A person must do something: kstatus `Failed`.
    Stalled {
        /// Whether it works meanwhile.
        ready: bool,
    },
}

/// The conditions of one object, changed in memory.
///
/// A status equal to the one read needs no write: setting what is already there changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    generation: i64,
    now: Timestamp,
    list: Vec<Condition>,
}

impl Conditions {
    /// Starts from the conditions in the object's status. `generation` is the object's own;
    /// `now` becomes the transition time of what changes.
    pub fn of(existing: &[Condition], generation: Option<i64>, now: Timestamp) -> Self {
        let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Self {
            generation: generation.unwrap_or(0),
            now: seconds,
            list: existing.to_vec(),
        }
    }

    /// Sets one condition other than the kstatus triple, for which [`Self::summarize`] is there.
    pub fn set(&mut self, type_: ConditionType, status: Status, reason: Reason, message: &str) {
        debug_assert!(
            type_ > ConditionType::Ready,
            "the triple is set by `summarize`"
        );
        self.put(type_, status, reason, message);
    }

    /// Sets `Stalled`, `Reconciling` and `Ready` together, with `reason` on those that say why.
    pub fn summarize(&mut self, summary: Summary, reason: Reason, message: &str) {
        let (stalled, reconciling, ready) = match summary {
            Summary::Ready => (false, false, true),
            Summary::NotReady => (false, false, false),
            Summary::Reconciling { ready } => (false, true, ready),
            Summary::Stalled { ready } => (true, false, ready),
        };
        let calm = |holds: bool, word| if holds { (reason, message) } else { (word, "") };
        let (why, text) = calm(stalled, Reason::NotStalled);
        self.put(ConditionType::Stalled, stalled.into(), why, text);
        let (why, text) = calm(reconciling, Reason::Settled);
        self.put(ConditionType::Reconciling, reconciling.into(), why, text);
        self.put(ConditionType::Ready, ready.into(), reason, message);
    }

    /// Whether a condition is `True` by now.
    pub fn is_true(&self, type_: ConditionType) -> bool {
        is_true(&self.list, type_)
    }

    /// Takes a condition away.
    pub fn remove(&mut self, type_: ConditionType) {
        self.list
            .retain(|condition| condition.type_ != type_.as_str());
    }

    /// The list, as status carries it.
    pub fn into_list(self) -> Vec<Condition> {
        self.list
    }

    fn put(&mut self, type_: ConditionType, status: Status, reason: Reason, message: &str) {
        let old = self.list.iter().find(|c| c.type_ == type_.as_str());
        let unchanged = old.filter(|c| c.status == status.as_str());
        let since = unchanged.map_or(Time(self.now), |c| c.last_transition_time.clone());
        let condition = Condition {
            type_: type_.as_str().to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.as_str().to_owned(),
            message: cut(message).to_owned(),
            observed_generation: Some(self.generation),
            last_transition_time: since,
        };
        match self.list.iter_mut().find(|c| c.type_ == type_.as_str()) {
            Some(place) => *place = condition,
            None => self.list.push(condition),
        }
        self.list.sort_by_key(|condition| order(&condition.type_));
    }
}

/// The condition of that type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// Whether the condition of that type is there and True.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Status::True.as_str())
}

fn order(type_: &str) -> usize {
    let known = ConditionType::ALL.iter().position(|t| t.as_str() == type_);
    known.unwrap_or(usize::MAX)
}

/// A message within [`MAX_MESSAGE_BYTES`].
pub fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_of_transition_stays_while_the_status_stays() {
        let mut first = Conditions::of(&[], Some(1), at(10));
        first.summarize(Summary::NotReady, Reason::Unreachable, "no answer");
        let before = first.into_list();
        let mut second = Conditions::of(&before, Some(2), at(20));
        second.summarize(
            Summary::NotReady,
            Reason::CredentialsDenied,
            "login refused",
        );
        let after = second.into_list();
        let ready = find(&after, ConditionType::Ready).unwrap();
        assert_eq!(ready.last_transition_time, Time(at(10)));
        assert_eq!(
            (ready.reason.as_str(), ready.observed_generation),
            ("CredentialsDenied", Some(2))
        );
        let mut third = Conditions::of(&after, Some(2), at(30));
        third.summarize(Summary::Ready, Reason::Serving, "");
        let now_ready = third.into_list();
        let ready = find(&now_ready, ConditionType::Ready).unwrap();
        assert_eq!(ready.last_transition_time, Time(at(30)));
    }

    #[test]
    fn setting_what_is_there_changes_nothing() {
        let mut first = Conditions::of(&[], Some(1), at(10));
        first.set(ConditionType::Paused, Status::False, Reason::NotPaused, "");
        first.summarize(Summary::Ready, Reason::Steady, "serving");
        let before = first.into_list();
        let mut second = Conditions::of(&before, Some(1), at(99));
        second.summarize(Summary::Ready, Reason::Steady, "serving");
        second.set(ConditionType::Paused, Status::False, Reason::NotPaused, "");
        assert_eq!(second.into_list(), before);
    }

    #[test]
    fn stalled_and_reconciling_are_never_both_true_and_stalled_comes_first() {
        for summary in [
            Summary::Ready,
            Summary::NotReady,
            Summary::Reconciling { ready: true },
            Summary::Reconciling { ready: false },
            Summary::Stalled { ready: true },
            Summary::Stalled { ready: false },
        ] {
            let mut conditions = Conditions::of(&[], None, at(1));
            conditions.set(
                ConditionType::Paused,
                Status::True,
                Reason::PausedByUser,
                "",
            );
            conditions.summarize(
                Summary::Reconciling { ready: true },
                Reason::Progressing,
                "",
            );
            conditions.summarize(summary, Reason::Progressing, "");
            let list = conditions.into_list();
            let types: Vec<_> = list.iter().map(|c| c.type_.as_str()).collect();
            assert_eq!(types, ["Stalled", "Reconciling", "Ready", "Paused"]);
            let both = is_true(&list, ConditionType::Stalled)
                && is_true(&list, ConditionType::Reconciling);
            assert!(!both, "{summary:?}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let mut conditions = Conditions::of(&[], None, at(1));
        conditions.summarize(Summary::NotReady, Reason::Unreachable, &"ä€".repeat(500));
        let list = conditions.into_list();
        let message = &find(&list, ConditionType::Ready).unwrap().message;
        assert!(message.len() <= MAX_MESSAGE_BYTES && message.len() > MAX_MESSAGE_BYTES - 4);
    }
}
