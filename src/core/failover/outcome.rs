//! What one state answers, and what several states ask.

use super::observation::{Answer, Guard, Observation, ServerView};
use super::state::{State, Stored};
use crate::facts::{Facts, Role};
use crate::names::RegionName;

/// How soon the machine looks again while a move is under way, in milliseconds.
pub(super) const SOON_MS: u64 = 200;

/// The answer of one state, with its reason.
pub(super) struct Outcome {
    pub answer: Answer,
    pub reason: &'static str,
    pub message: String,
}

impl Outcome {
    pub(super) fn new(answer: Answer, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            answer,
            reason,
            message: message.into(),
        }
    }
}

/// True when this server takes no tenant's write under any epoch up to the stored one: it said so
/// itself, at the newest epoch, and no writer is left.
pub(super) fn is_fenced(seen: &Observation, facts: &Facts) -> bool {
    facts
        .authority
        .is_some_and(|row| row.epoch == seen.stored.epoch && !row.writable)
        && facts.tenant_sessions == 0
        && facts.open_logins == 0
}

/// A server other than `keep` that answers, takes writes by its own account, and is not fenced.
pub(super) fn stray_primary<'a>(
    seen: &'a Observation,
    keep: &RegionName,
) -> Option<(&'a ServerView, &'a Facts)> {
    stray_primaries(seen, keep).next()
}

/// All of them.
pub(super) fn stray_primaries<'a>(
    seen: &'a Observation,
    keep: &RegionName,
) -> impl Iterator<Item = (&'a ServerView, &'a Facts)> {
    let others = seen.servers.values();
    let others = others.filter(move |view| view.server.region != *keep);
    let answering = others.filter_map(|view| view.now().map(|facts| (view, facts)));
    answering.filter(|(_, facts)| facts.role == Role::Primary && !is_fenced(seen, facts))
}

/// Freezes automation: a contradiction, or a failure after the point of no return. A question ends
/// here: nothing was begun that could go on without an answer to it.
pub(super) fn halt(seen: &Observation, reason: &'static str, message: String) -> Outcome {
    let asked = seen.stored.state == State::AwaitingApproval;
    let stored = Stored {
        claim: None,
        journal: seen.stored.journal.clone().filter(|_| !asked),
        ..seen.stored.enter(State::Halted, seen.now.wall)
    };
    Outcome::new(Answer::Move(Box::new(stored)), reason, message)
}

/// The messages of the guards that forbid.
pub(super) fn objections(guards: &[Guard]) -> String {
    let texts: Vec<_> = guards
        .iter()
        .filter(|g| !g.ok)
        .map(|g| format!("{}: {}", g.name.as_str(), g.message))
        .collect();
    texts.join("; ")
}
