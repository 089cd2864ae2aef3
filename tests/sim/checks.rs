//! The invariants of `faults.md`, checked where each can break.

mod promotion;
mod rest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domicile_core::facts::{Authority, Epoch, Facts, Role};
use domicile_core::failover::{Journal, MoveKind, Proof, State, Stored};
use domicile_core::health::Verdict;

use crate::draw::is_operators_own;
use crate::fault::{Fault, Kind, Ms, Place};
use crate::setup::Setup;
use crate::world::Decided;
use crate::world::database::{HOME, MEMBERS, Server};
use crate::world::hub::{Holder, Hub, Secret};
use crate::world::net::Net;
use crate::world::people::index;

/// What happened so lately that an operator may not have read it yet.
const LATELY: Ms = 2_200;

/// How long an agent may take to see its server again, to take its seat and to fence it.
const BACK: Ms = 3_500;

/// A promotion that happened.
#[derive(Debug, Clone)]
pub(crate) struct Promoted {
    pub epoch: Epoch,
    pub at: usize,
    pub when: Ms,
    pub proof: Proof,
    pub kind: MoveKind,
    /// A person had relaxed commits, and nobody could have seen it.
    pub hole: bool,
}

#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    commit: u32,
    at: Ms,
    /// By a server that had just come back.
    back: bool,
}

#[derive(Debug)]
pub(crate) struct Checks {
    pub broken: Option<String>,
    pub promotions: Vec<Promoted>,
    /// When a person relaxed commits, and where; and when the machine last read that.
    pub relaxed: Option<(Ms, usize)>,
    pub relaxed_seen: Option<Ms>,
    /// Changes of rows and settings on servers, heartbeats aside.
    pub database_writes: u64,
    pub last_row_change: Ms,
    acknowledged: Vec<Acknowledged>,
    /// The last moment at which the loss bound of the move under way was decided on.
    bounded_at: Ms,
    /// When each standby had no stream, for longer than what a probe may miss.
    loose: [VecDeque<Ms>; MEMBERS],
    /// Since when it has none, if it has none, and when it last had none.
    loose_since: [Option<Ms>; MEMBERS],
    last_loose: [Option<Ms>; MEMBERS],
    active_of: BTreeMap<Epoch, BTreeSet<usize>>,
    last_automatic: Option<Ms>,
    last_finisher: Option<Holder>,
    rerouting_since: Ms,
    /// Longest time for which two servers acknowledged, where that was assumed away.
    pub overlap: Ms,
    /// Writes that a returned server acknowledged before its agent fenced it.
    returns: u64,
    only_operators: bool,
    wall_jumps: bool,
}

impl Checks {
    pub(crate) fn new(stored: &Stored) -> Self {
        Self {
            broken: None,
            promotions: Vec::new(),
            relaxed: None,
            relaxed_seen: None,
            database_writes: 0,
            last_row_change: 0,
            acknowledged: Vec::new(),
            bounded_at: 0,
            loose: Default::default(),
            loose_since: [None; MEMBERS],
            last_loose: [None; MEMBERS],
            active_of: [(stored.epoch, [HOME].into())].into(),
            last_automatic: None,
            last_finisher: None,
            rerouting_since: 0,
            overlap: 0,
            returns: 0,
            only_operators: false,
            wall_jumps: false,
        }
    }

    /// What the schedule promises about the run.
    pub(crate) fn knows(&mut self, faults: &[Fault]) {
        self.only_operators = faults.iter().all(|fault| is_operators_own(&fault.kind));
        self.wall_jumps = faults.iter().any(|fault| jumps(&fault.kind));
    }

    pub(crate) fn terms(&self) -> u32 {
        self.promotions.len() as u32
    }

    pub(crate) fn fail(&mut self, text: impl Into<String>) {
        self.broken.get_or_insert_with(|| text.into());
    }

    /// I1 and the ledger for I5: a server told a client that its write is safe.
    pub(crate) fn acknowledges(&mut self, now: Ms, server: &Server, commit: u32, hole: bool) {
        let (at, term) = (server.at, server.term);
        let Some(superseder) = self.promotions.get(term as usize).cloned() else {
            if !hole {
                let back = server.settled > 0 && server.settled + BACK > now;
                self.acknowledged.push(Acknowledged {
                    commit,
                    at: now,
                    back,
                });
            }
            return;
        };
        // Case 21 of `failover.md`: a server that stood still, or was down, when its agent had to
        // fence it takes writes until that agent sees it again.
        let back = server.settled + BACK > now && server.settled + BACK > superseder.when;
        if superseder.proof == Proof::LeaseExpired && back {
            self.returns += 1;
        } else if superseder.proof == Proof::Assumed || superseder.hole {
            self.overlap = self.overlap.max(now - superseder.when);
        } else if !hole {
            self.fail(format!(
                "I1: server {at} acknowledged a write {} ms after server {} was promoted on {}",
                now - superseder.when,
                superseder.at,
                superseder.proof
            ));
        }
    }

    /// A person relaxed commits on this server, and no operator has read it since.
    fn relaxed_unread(&self, at: usize) -> bool {
        let unread = |since| self.relaxed_seen.is_none_or(|seen| seen <= since);
        self.relaxed
            .is_some_and(|(since, server)| server == at && unread(since))
    }

    /// An operator read a server.
    pub(crate) fn reads(&mut self, now: Ms, server: usize, facts: &Facts) {
        let relaxed = self.relaxed.is_some_and(|(_, at)| at == server);
        if relaxed && facts.role == Role::Primary && facts.synchrony.names.is_empty() {
            self.relaxed_seen = Some(now);
        }
    }

    pub(crate) fn row_changes(&mut self, now: Ms, at: usize, before: Authority, next: Authority) {
        self.last_row_change = now;
        if before.epoch > next.epoch {
            self.fail(format!(
                "I10: the row of server {at} went from {before:?} to {next:?}"
            ));
        }
    }

    /// I2, I9, I18 and the order of moves, when a state is stored.
    pub(crate) fn stores(
        &mut self,
        now: Ms,
        before: &Stored,
        next: &Stored,
        decided: &Decided,
        hub: &Hub,
    ) {
        if next.epoch < before.epoch {
            self.fail("I2: the epoch went back");
        }
        let under_way = matches!(
            before.state,
            State::Draining | State::Fencing | State::CatchingUp
        );
        let given_up = matches!(next.state, State::Aborting | State::Outage);
        if under_way && given_up && next.epoch == before.epoch {
            self.fail("I2: a move is given up and its epoch goes on");
        }
        let bound = |stored: &Stored| stored.journal.as_ref().and_then(|j| j.loss.zip(j.loss_at));
        if bound(next).is_some() && bound(next) != bound(before) {
            self.bounded_at = decided.at;
        }
        if next.state == State::Rerouting && before.state != State::Rerouting {
            self.rerouting_since = now;
        }
        let late = now.saturating_sub(self.rerouting_since) > 119_000;
        if next.state == State::Verifying && hub.placement.epoch != next.epoch && !late {
            self.fail("I15: the tenants are not repointed");
        }
        self.active_of
            .entry(next.epoch)
            .or_default()
            .insert(index(&next.active));
        let known = before.journal.as_ref().map(|journal| &journal.operation);
        let begun = next
            .journal
            .as_ref()
            .filter(|j| Some(&j.operation) != known);
        if let Some(journal) = begun {
            self.begins(now, before, next, journal, decided, hub);
        }
    }

    fn begins(
        &mut self,
        now: Ms,
        before: &Stored,
        next: &Stored,
        journal: &Journal,
        decided: &Decided,
        hub: &Hub,
    ) {
        let asked = hub
            .operations
            .get(&journal.operation)
            .filter(|o| !o.automatic);
        if asked.is_some_and(|operation| operation.expected != before.epoch) {
            self.fail("replay: an operation of an older epoch is run");
        }
        let unfinished = matches!(before.state, State::AwaitingApproval | State::Blocked);
        if before.journal.is_some() && !unfinished {
            self.fail("G8: a move begins within another");
        }
        let unasked = journal.automatic && journal.kind == MoveKind::Failover;
        if !unasked {
            return;
        }
        if decided.active != Verdict::Down {
            self.fail(format!("early: a failover begins on {:?}", decided.active));
        }
        if decided.most_dead {
            self.fail("I9: a failover begins while most regions look dead");
        }
        if decided.stream_of[index(&journal.to)] {
            self.fail("I18: a failover begins while the standby hears from the primary");
        }
        let cooldown = decided.cooldown_ms;
        // Stored moments are whole seconds.
        let rested = self
            .last_automatic
            .is_none_or(|last| now + 1_000 >= last + cooldown);
        // Another leader has only the wall to tell how long ago it was.
        let same = self.last_finisher == Some(decided.by);
        if next.state == State::Fencing && !rested && (same || !self.wall_jumps) {
            self.fail("I9: a second failover within the cooldown");
        }
    }

    /// A move ended, and the time until the next automatic one begins to run.
    pub(crate) fn finished(&mut self, now: Ms, before: &Stored, next: &Stored, by: Holder) {
        let ended = before.journal.as_ref().filter(|_| next.journal.is_none());
        let done = next
            .history
            .first()
            .zip(ended)
            .is_some_and(|(past, journal)| {
                past.operation == journal.operation && past.kind == MoveKind::Failover
            });
        if done {
            (self.last_automatic, self.last_finisher) = (Some(now), Some(by));
        }
    }

    /// Fence first: a primary that answers, and was not fenced, would go on beside the new one.
    pub(crate) fn decides_to_promote(
        &mut self,
        now: Ms,
        to: usize,
        servers: &[Server],
        net: &Net,
        operator: usize,
    ) {
        let open = |other: &&Server| {
            let calm = now > 4_000 + other.settled.max(self.last_row_change);
            other.at != to
                && other.at < MEMBERS
                && other.role == Role::Primary
                && other.answers(now)
                && net.clean(Place::Operator(operator), Place::Server(other.at))
                && calm
                && (other.row().writable || !other.sessions.is_empty())
        };
        if servers.iter().any(|other| open(&other)) && net.quiet_since + 4_000 < now {
            self.fail("fence first: a primary that answers is not fenced at the promotion");
        }
    }

    /// I8: the home server streamed for long enough before the machine asks for the way home.
    pub(crate) fn asks_for_failback(&mut self, now: Ms, setup: &Setup) {
        let stable = Ms::from(setup.settings.stable_seconds) * 1000;
        // It reads once a second, so that it cannot know of the last moments.
        let (from, to) = (now.saturating_sub(stable), now.saturating_sub(LATELY));
        if self.loose[HOME]
            .iter()
            .any(|at| (from + LATELY..to).contains(at))
        {
            self.fail("I8: the way home begins before the home server was stable");
        }
    }

    /// The world looked at a standby's stream.
    pub(crate) fn streams(&mut self, now: Ms, at: usize, whole: bool) {
        let loose = &mut self.loose[at];
        if whole {
            self.loose_since[at] = None;
        } else {
            self.last_loose[at] = Some(now);
            let since = *self.loose_since[at].get_or_insert(now);
            if now >= since + LATELY {
                loose.push_back(now);
            }
        }
        while loose.front().is_some_and(|first| first + 10_000 < now) {
            loose.pop_front();
        }
    }

    /// The standby heard from its primary without a break for some seconds.
    pub(crate) fn hears(&self, now: Ms, at: usize) -> bool {
        self.last_loose[at].is_none_or(|last| now > last + 3_000)
    }

    /// I3, I4, I15: a Secret is published.
    pub(crate) fn publishes(
        &mut self,
        tried: Ms,
        before: Secret,
        next: Secret,
        servers: &[Server],
        setup: &Setup,
    ) {
        if next.epoch < before.epoch {
            self.fail(format!(
                "I3: the Secret goes from epoch {} to {}",
                before.epoch, next.epoch
            ));
        }
        let lawful = self.active_of.get(&next.epoch);
        if !lawful.is_some_and(|active| active.contains(&next.region)) {
            let text = format!(
                "I3: the Secret names a server that is not active at {}",
                next.epoch
            );
            self.fail(text);
        }
        let server = &servers[next.region];
        let held = Authority {
            epoch: next.epoch,
            writable: true,
        };
        // What changed since the credential was tried may have been otherwise then.
        let settled = tried > 1_000 + server.settled.max(self.last_row_change);
        let opens = server.role == Role::Primary && server.row() == held && server.running;
        if settled && !opens {
            self.fail("I15: a credential is published that lets nobody in");
        }
        if setup.law(next.region) != setup.law(HOME) {
            self.fail("I4: the Secret names a server under another law");
        }
    }
}

/// A wall clock jumps, at once or in some state.
fn jumps(kind: &Kind) -> bool {
    if let Kind::When { then, .. } = kind {
        return jumps(then);
    }
    matches!(kind, Kind::WallJump { .. })
}
