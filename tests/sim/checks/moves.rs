//! What must hold when a state is stored: epochs, the order of moves, and why one begins.

use domicile_core::failover::{Journal, Mode, MoveKind, State, Stored};
use domicile_core::health::Verdict;

use super::{Checks, Promoted};
use crate::fault::Ms;
use crate::world::Decided;
use crate::world::hub::{Holder, Hub, Progress};
use crate::world::people::index;

impl Checks {
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
        self.spends(before, next, hub);
        self.turns_to(before, next);
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

    /// I2: no statement of a move may pass for one of the time before it. And nobody moves tenants
    /// unasked where a person is to be asked.
    fn spends(&mut self, before: &Stored, next: &Stored, hub: &Hub) {
        if is_calm(next.state) {
            self.calm_epoch = self.calm_epoch.max(next.epoch);
        } else if next.state != State::Halted && next.epoch <= self.calm_epoch {
            self.fail(format!(
                "I2: {} -> {} under epoch {}, which is not a move's own",
                before.state, next.state, next.epoch
            ));
        }
        let journal = next.journal.as_ref();
        let over = journal.and_then(|journal| hub.operations.get(&journal.operation));
        let asks = next.state == State::AwaitingApproval && before.state != next.state;
        if asks && over.is_some_and(|operation| operation.progress == Progress::Ended) {
            self.fail("unasked: a question that nobody can answer, as its operation has ended");
        }
        let own = journal.filter(|j| j.automatic && j.kind == MoveKind::Failover);
        let begins = is_calm(before.state) && next.state == State::Fencing;
        let Some(journal) = own.filter(|_| begins && self.mode != Mode::Automatic) else {
            return;
        };
        let operation = hub.operations.get(&journal.operation);
        let agreed = operation.is_some_and(|operation| {
            let mut given = operation.approvals.iter();
            given.any(|(epoch, to, _)| (*epoch, to) == (before.epoch, &journal.to))
        });
        if !agreed {
            self.fail("unasked: a failover begins that nobody approved");
        }
    }

    /// I3: tenants are led to a server that was promoted for this, or that a person promoted.
    fn turns_to(&mut self, before: &Stored, next: &Stored) {
        let at = index(&next.active);
        let known = |it: &Promoted| (it.epoch, it.at) == (next.epoch, at);
        if next.active != before.active && !self.promotions.iter().any(known) {
            self.fail(format!(
                "I3: {} becomes active and was not promoted under epoch {}",
                next.active, next.epoch
            ));
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
}

/// No move is under way.
fn is_calm(state: State) -> bool {
    match state {
        State::Steady
        | State::Suspect
        | State::Outage
        | State::Blocked
        | State::AwaitingApproval => true,
        State::Draining
        | State::Fencing
        | State::CatchingUp
        | State::Aborting
        | State::Promoting
        | State::Rerouting
        | State::Verifying
        | State::Halted => false,
    }
}
