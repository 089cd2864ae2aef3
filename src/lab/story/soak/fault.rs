//! The kinds of faults, what must come of each, and in which order a seed has them.

use serde::Serialize;

/// What is broken in a cycle. "The primary" is the region that is active when the cycle begins,
/// "the standby" the other one of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All processes of the primary are killed.
    ///
    /// Faults: 53.
    Kill,
    /// All processes of the primary are stopped.
    ///
    /// Faults: 55.
    Freeze,
    /// The primary's region is cut off, with a writer inside.
    ///
    /// Faults: 54, 71, 78.
    Cut,
    /// Nothing comes into the primary's region any more; a writer is inside.
    ///
    /// Faults: 79.
    CutIn,
    /// Nothing leaves the primary's region any more; a writer is inside.
    ///
    /// Faults: 79.
    CutOut,
    /// The primary's disk is full.
    ///
    /// Faults: 59.
    DiskFull,
    /// The primary is killed, and the leading operator as soon as a state of the move is stored.
    ///
    /// Faults: 44.
    OperatorKilled,
    /// The primary is killed, and both operators as soon as a state of the move is stored.
    ///
    /// Faults: 44.
    OperatorsKilled,
    /// The primary is killed, and the apiserver does not answer for some seconds of the move.
    ApiserverAway,
    /// The primary's region is cut off and comes back while the standby is being promoted.
    ///
    /// Faults: 81.
    HealsMidway,
    /// The primary is killed and started again about when the outage is noticed.
    ///
    /// Faults: 81.
    ReturnsEarly,
    /// 30 of 100 packets of the primary's region are dropped.
    ///
    /// Faults: 80.
    HeavyLoss,
    /// The primary's region is cut off and healed again and again.
    Flap,
    /// 5 of 100 packets of the primary's region are dropped.
    ///
    /// Faults: 80.
    LightLoss,
    /// The operators and the primary do not hear each other.
    ///
    /// Faults: 74.
    OperatorPrimaryCut,
    /// The operators hear no region at all.
    OperatorIsolated,
    /// Primary and standby do not hear each other.
    ///
    /// Faults: 76.
    ReplicationCut,
    /// The standby is killed.
    StandbyKilled,
    /// Apiserver and etcd do not answer, and both operators are killed; no region is hurt.
    ///
    /// Faults: 39.
    ControlPlaneAway,
    /// Nothing breaks: a person moves the tenants to the other region.
    Switchover,
    /// The acting agent of the primary is killed.
    AgentKilled,
    /// Both agents of the primary stand still for some seconds, less than the lease.
    AgentsFrozen,
    /// The primary's region is cut off, with a writer inside, and its acting agent is killed.
    ///
    /// Faults: 78.
    CutAgentKilled,
}

/// What keeps an old primary from going on beside the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// It waits for its standby, which follows another then.
    Synchronous,
    /// Agents on both sides; replication is asynchronous.
    Agents,
    /// Nothing: one that lives on unseen makes two writers by design (the proof says `Assumed`),
    /// and a control shows that.
    Nothing,
}

/// What must come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Tenants are served from the other region.
    Moves,
    /// They stay where they are.
    Stays,
    /// Either, but at most one move.
    MovesOnceOrStays,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 23] = [
        Self::Kill,
        Self::Freeze,
        Self::Cut,
        Self::CutIn,
        Self::CutOut,
        Self::DiskFull,
        Self::OperatorKilled,
        Self::OperatorsKilled,
        Self::ApiserverAway,
        Self::HealsMidway,
        Self::ReturnsEarly,
        Self::HeavyLoss,
        Self::Flap,
        Self::LightLoss,
        Self::OperatorPrimaryCut,
        Self::OperatorIsolated,
        Self::ReplicationCut,
        Self::StandbyKilled,
        Self::ControlPlaneAway,
        Self::Switchover,
        Self::AgentKilled,
        Self::AgentsFrozen,
        Self::CutAgentKilled,
    ];

    /// What must come of it.
    pub fn expected(self) -> Expected {
        match self {
            Self::Kill
            | Self::Freeze
            | Self::Cut
            | Self::CutIn
            | Self::CutOut
            | Self::DiskFull
            | Self::OperatorKilled
            | Self::OperatorsKilled
            | Self::ApiserverAway
            | Self::Switchover
            | Self::CutAgentKilled => Expected::Moves,
            Self::HealsMidway | Self::ReturnsEarly | Self::HeavyLoss | Self::Flap => {
                Expected::MovesOnceOrStays
            }
            Self::LightLoss
            | Self::OperatorPrimaryCut
            | Self::OperatorIsolated
            | Self::ReplicationCut
            | Self::StandbyKilled
            | Self::ControlPlaneAway
            | Self::AgentKilled
            | Self::AgentsFrozen => Expected::Stays,
        }
    }

    /// Whether the old primary may go on writing for clients inside its region, so that a writer
    /// there is part of the cycle.
    pub fn has_writer_inside(self) -> bool {
        match self {
            Self::Cut
            | Self::CutIn
            | Self::CutOut
            | Self::HealsMidway
            | Self::Flap
            | Self::CutAgentKilled => true,
            Self::Kill
            | Self::Freeze
            | Self::DiskFull
            | Self::OperatorKilled
            | Self::OperatorsKilled
            | Self::ApiserverAway
            | Self::Switchover
            | Self::ReturnsEarly
            | Self::HeavyLoss
            | Self::LightLoss
            | Self::OperatorPrimaryCut
            | Self::OperatorIsolated
            | Self::ReplicationCut
            | Self::StandbyKilled
            | Self::ControlPlaneAway
            | Self::AgentKilled
            | Self::AgentsFrozen => false,
        }
    }

    /// Whether it is one for these means against a second writer. Where replication is asynchronous
    /// a leader that dies takes with it how much is lost, and its successor asks a person (ADR 9).
    pub fn fits(self, means: Means) -> bool {
        let of_leaders = matches!(self, Self::OperatorKilled | Self::OperatorsKilled);
        let of_agents = matches!(
            self,
            Self::AgentKilled | Self::AgentsFrozen | Self::CutAgentKilled
        );
        match means {
            Means::Agents => !of_leaders,
            Means::Synchronous => !of_agents,
            Means::Nothing => !of_agents && self.fits_nothing(),
        }
    }

    fn fits_nothing(self) -> bool {
        match self {
            Self::Kill
            | Self::DiskFull
            | Self::ApiserverAway
            | Self::Switchover
            | Self::LightLoss
            | Self::OperatorPrimaryCut
            | Self::OperatorIsolated
            | Self::ReplicationCut
            | Self::StandbyKilled
            | Self::ControlPlaneAway => true,
            Self::Freeze
            | Self::OperatorKilled
            | Self::OperatorsKilled
            | Self::Cut
            | Self::CutIn
            | Self::CutOut
            | Self::HealsMidway
            | Self::ReturnsEarly
            | Self::HeavyLoss
            | Self::Flap
            | Self::AgentKilled
            | Self::AgentsFrozen
            | Self::CutAgentKilled => false,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = serde_json::to_value(self).unwrap_or_default();
        formatter.write_str(name.as_str().unwrap_or_default())
    }
}

/// Chances of one cycle: the same for the same seed and cycle, whatever happened before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice {
    /// The seed of the soak.
    pub(super) seed: u64,
    /// Number of the cycle, from 1.
    pub(super) cycle: u64,
}

impl Dice {
    /// A number below `limit` for the purpose `what`.
    pub(super) fn below(self, what: &str, limit: u64) -> u64 {
        let named = what
            .bytes()
            .fold(self.seed, |mixed, byte| mix(mixed ^ u64::from(byte)));
        mix(named ^ mix(self.cycle)) % limit.max(1)
    }

    /// The kind of the cycle: the first cycles have each kind once, in an order of the seed, and
    /// the later ones any.
    pub(super) fn kind(self, kinds: &[Kind]) -> Option<Kind> {
        let mut order = kinds.to_vec();
        order.sort_by_key(|kind| {
            let cycle = 1 + *kind as u64;
            Self { cycle, ..self }.below("order", u64::MAX)
        });
        let first = usize::try_from(self.cycle).ok()?.checked_sub(1)?;
        let any = self.below("kind", kinds.len() as u64) as usize;
        order.get(first).or_else(|| kinds.get(any)).copied()
    }
}

/// The finalizer of splitmix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn order(seed: u64, cycles: u64) -> Vec<Kind> {
        (1..=cycles)
            .filter_map(|cycle| Dice { seed, cycle }.kind(&Kind::ALL))
            .collect()
    }

    #[test]
    fn agents_are_broken_where_there_are_some_and_no_fence_is_tried_where_there_is_none() {
        let fitting = |means| Kind::ALL.iter().filter(|kind| kind.fits(means)).count();
        assert_eq!(fitting(Means::Agents), 21);
        assert_eq!(fitting(Means::Synchronous), 20);
        assert_eq!(fitting(Means::Nothing), 10);
        assert!(!Kind::Cut.fits(Means::Nothing) && Kind::Cut.fits(Means::Synchronous));
    }

    #[test]
    fn a_seed_has_one_order_and_another_seed_another() {
        assert_eq!(order(7, 60), order(7, 60));
        assert_ne!(order(7, 60), order(8, 60));
    }

    #[test]
    fn the_first_cycles_cover_every_kind_and_the_later_ones_most() {
        for seed in 0..50 {
            let kinds: BTreeSet<_> = order(seed, 23).into_iter().collect();
            assert_eq!(kinds.len(), Kind::ALL.len(), "seed {seed}");
        }
        let later: BTreeSet<_> = order(3, 223).into_iter().skip(23).collect();
        assert!(later.len() > 15, "{later:?}");
    }

    #[test]
    fn names_are_words_and_each_kind_has_its_own() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(Kind::to_string).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(names.contains("operator-primary-cut"), "{names:?}");
    }
}
