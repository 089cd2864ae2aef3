//! The invariants of `faults.md`, checked where each can break.

mod moves;
mod promotion;
mod rest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domicile_core::facts::{Authority, Epoch, Facts, Role};
use domicile_core::failover::{Mode, MoveKind, Proof, Stored};

use crate::draw::is_operators_own;
use crate::fault::{Fault, Kind, Ms, Place};
use crate::setup::Setup;
use crate::world::database::{HOME, MEMBERS, Server};
use crate::world::hub::{Holder, Secret};
use crate::world::net::Net;

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
    /// When a row was last changed, and when a setting of a server.
    pub last_row_change: Ms,
    pub last_setting: Ms,
    /// Who starts a failover.
    mode: Mode,
    /// The highest epoch of a time without a move.
    calm_epoch: Epoch,
    /// When each server was last closed: its row, and then its sessions.
    closed: [Option<Ms>; MEMBERS],
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
    /// A person demoted the old primary of a move.
    pub demoted: bool,
}

impl Checks {
    pub(crate) fn new(stored: &Stored, mode: Mode) -> Self {
        Self {
            broken: None,
            promotions: Vec::new(),
            relaxed: None,
            relaxed_seen: None,
            last_row_change: 0,
            last_setting: 0,
            mode,
            calm_epoch: stored.epoch,
            closed: [None; MEMBERS],
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
            demoted: false,
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
        if server.by_hand {
            // Two primaries by a person's hand, which no machine can help.
            return;
        }
        // The move that replaced this very server: what a later one proved is said of another.
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
        // What was assumed or allowed of a server ends once it was closed.
        let closed = self.closed.get(at).copied().flatten();
        if closed.is_some_and(|closed| closed > superseder.when) {
            self.fail(format!(
                "I1: server {at} was closed and acknowledged a write"
            ));
        } else if superseder.proof == Proof::LeaseExpired && back {
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

    /// A server whose row is closed has no session left.
    pub(crate) fn closes(&mut self, now: Ms, at: usize) {
        if let Some(closed) = self.closed.get_mut(at) {
            *closed = Some(now);
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

    /// I8: the home server streamed for long enough before the machine asks for the way home: twice
    /// as long after each time that it went home, up to a limit.
    pub(crate) fn asks_for_failback(&mut self, now: Ms, setup: &Setup, stored: &Stored) {
        let home = stored.history.iter();
        let home = home.filter(|past| past.kind == MoveKind::Failback).count();
        let seconds = Ms::from(setup.settings.stable_seconds) << home;
        let stable = seconds.min(setup.settings.max_stable_seconds.into()) * 1000;
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
        while loose.front().is_some_and(|first| first + 60_000 < now) {
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
