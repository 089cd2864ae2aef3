//! What was reached: a simulator that no longer reaches a place finds nothing there.

use std::collections::BTreeMap;

use domicile_core::failover::State;

use crate::fault::{Effect, Side};

/// Each place that can be reached is reached at least so often.
pub(crate) const OFTEN: u64 = 100;

/// The edges of the machine that a run of CI must reach.
const EDGES: [(State, State); 45] = [
    (State::Steady, State::Steady),
    (State::Steady, State::Suspect),
    (State::Steady, State::Draining),
    (State::Steady, State::Fencing),
    (State::Suspect, State::Steady),
    (State::Suspect, State::Outage),
    (State::Suspect, State::Fencing),
    (State::Outage, State::Steady),
    (State::Outage, State::Blocked),
    (State::Outage, State::AwaitingApproval),
    (State::Outage, State::Fencing),
    (State::Blocked, State::Steady),
    (State::Blocked, State::Outage),
    (State::Blocked, State::Fencing),
    (State::AwaitingApproval, State::Steady),
    (State::AwaitingApproval, State::Blocked),
    (State::AwaitingApproval, State::Fencing),
    (State::Draining, State::Fencing),
    (State::Draining, State::Aborting),
    (State::Fencing, State::Outage),
    (State::Fencing, State::CatchingUp),
    (State::Fencing, State::Aborting),
    (State::Fencing, State::Promoting),
    (State::CatchingUp, State::Outage),
    (State::CatchingUp, State::Fencing),
    (State::CatchingUp, State::Aborting),
    (State::CatchingUp, State::Promoting),
    (State::Aborting, State::Steady),
    (State::Aborting, State::Outage),
    (State::Promoting, State::Promoting),
    (State::Promoting, State::Rerouting),
    (State::Promoting, State::Halted),
    (State::Rerouting, State::Rerouting),
    (State::Rerouting, State::Verifying),
    (State::Verifying, State::Steady),
    (State::Verifying, State::Halted),
    (State::Halted, State::Promoting),
    // Somebody promoted a standby by hand, or demoted the old primary.
    (State::Steady, State::Halted),
    (State::Suspect, State::Halted),
    (State::Outage, State::Halted),
    (State::Blocked, State::Halted),
    (State::AwaitingApproval, State::Halted),
    (State::Aborting, State::Halted),
    (State::Halted, State::Steady),
    (State::Halted, State::Fencing),
];

/// What was believed of synchronous replication is taken back, in whatever state that shows. It is
/// one rule, and `Promoting` and `Rerouting` are reached by it often enough.
const TAKEN_BACK: &str = "commits were relaxed in the last moments before, or the server \
                          that waited was demoted";
/// `core/failover/edited.rs` edits each of these instead.
const EDITED: &str = "a region of the move is struck from the policy, which nobody edits here";

/// The other edges of the machine, and why a run of CI need not reach them often, or at all.
const SELDOM: [((State, State), &str); 13] = [
    ((State::Suspect, State::Suspect), TAKEN_BACK),
    ((State::Outage, State::Outage), TAKEN_BACK),
    ((State::Blocked, State::Blocked), TAKEN_BACK),
    (
        (State::AwaitingApproval, State::AwaitingApproval),
        TAKEN_BACK,
    ),
    ((State::Draining, State::Draining), TAKEN_BACK),
    ((State::Fencing, State::Fencing), TAKEN_BACK),
    ((State::CatchingUp, State::CatchingUp), TAKEN_BACK),
    ((State::Aborting, State::Aborting), TAKEN_BACK),
    ((State::Verifying, State::Verifying), TAKEN_BACK),
    ((State::Halted, State::Halted), TAKEN_BACK),
    ((State::Draining, State::Halted), EDITED),
    ((State::Fencing, State::Halted), EDITED),
    ((State::CatchingUp, State::Halted), EDITED),
];

#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    pub edges: BTreeMap<(State, State), u64>,
    pub boundaries: BTreeMap<(Side, Effect), u64>,
    pub passes: u64,
    pub failovers: u64,
    pub planned: u64,
    pub events: u64,
    /// Virtual time.
    pub milliseconds: u64,
    /// Longest time for which two servers acknowledged, where a fence was only assumed.
    pub overlap: u64,
    pub runs: u64,
    /// How often an agent fenced its own server.
    pub self_fences: u64,
    /// Writes of the hole that case 21 of `failover.md` declares.
    pub returns: u64,
    /// Promotions that rested on the end of a lease.
    pub lease_expired: u64,
}

impl Coverage {
    pub(crate) fn edge(&mut self, from: State, to: State) {
        *self.edges.entry((from, to)).or_default() += 1;
    }

    pub(crate) fn boundary(&mut self, side: Side, effect: Effect) {
        *self.boundaries.entry((side, effect)).or_default() += 1;
    }

    /// The places that were not reached often enough.
    pub(crate) fn missing(&self) -> Vec<String> {
        let edges = EDGES.iter().filter_map(|edge| {
            let times = self.edges.get(edge).copied().unwrap_or_default();
            (times < OFTEN).then(|| format!("{} -> {} ({times})", edge.0, edge.1))
        });
        let sides = [Side::Before, Side::After];
        let all = sides
            .into_iter()
            .flat_map(|side| Effect::ALL.map(|effect| (side, effect)));
        let boundaries = all.filter_map(|boundary| {
            let times = self.boundaries.get(&boundary).copied().unwrap_or_default();
            (times < OFTEN).then(|| format!("crash {:?} {:?} ({times})", boundary.0, boundary.1))
        });
        edges.chain(boundaries).collect()
    }

    /// The edges that need not be reached: how often they were, and why they need not.
    pub(crate) fn seldom(&self) -> impl Iterator<Item = String> {
        SELDOM.iter().map(|(edge, why)| {
            let times = self.edges.get(edge).copied().unwrap_or_default();
            format!(
                "{} -> {} need not be reached, and was {times} times: {why}",
                edge.0, edge.1
            )
        })
    }

    /// Edges that were reached and are in no list: one who adds an edge says so here.
    pub(crate) fn unlisted(&self) -> Vec<String> {
        let reached = self.edges.iter();
        reached
            .filter(|(edge, _)| !EDGES.contains(edge) && !SELDOM.iter().any(|it| it.0 == **edge))
            .map(|(edge, times)| format!("{} -> {} ({times})", edge.0, edge.1))
            .collect()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (edge, times) in &other.edges {
            *self.edges.entry(*edge).or_default() += times;
        }
        for (boundary, times) in &other.boundaries {
            *self.boundaries.entry(*boundary).or_default() += times;
        }
        self.passes += other.passes;
        self.failovers += other.failovers;
        self.planned += other.planned;
        self.events += other.events;
        self.milliseconds += other.milliseconds;
        self.overlap = self.overlap.max(other.overlap);
        self.runs += other.runs;
        self.returns += other.returns;
        self.self_fences += other.self_fences;
        self.lease_expired += other.lease_expired;
    }
}
