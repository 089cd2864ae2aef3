//! The conditions of a policy beside the kstatus triple. Pure.

use domicile_api::conditions::{ConditionType, Conditions, Reason, Status};
use domicile_api::policy_status::StreamState;
use domicile_core::facts::{Engine, Role};
use domicile_core::failover::{
    Decision, DumpState, GuardName, Observation, ServerView, State, Stored, awaits_dump,
    awaits_rejoin, dump_told, home_is_ready, is_rejoined_by_machine, must_be_copied, stream_broken,
};
use domicile_core::health::Verdict;

/// Sets them all; `split` is what `split_brain` says of what was seen.
pub(super) fn describe(
    conditions: &mut Conditions,
    seen: &Observation,
    next: &Stored,
    decision: &Decision,
    split: Option<String>,
) {
    use ConditionType as C;
    let split_before = conditions.is_true(C::SplitBrain);
    let mut set = |type_, (status, reason, message): (Status, Reason, String)| {
        conditions.set(type_, status, reason, &message);
    };
    set(C::PrimaryHealthy, primary(seen, next));
    set(C::FailoverReady, failover_ready(decision));
    set(C::ReplicationHealthy, replication_healthy(seen, next));
    set(C::StandbyHealthy, standbys(seen, next));
    set(C::FailbackReady, failback(seen, next));
    let away = next.active != seen.settings.home.region;
    let place = if away {
        Reason::AwayFromHome
    } else {
        Reason::AtHome
    };
    set(
        C::FailedOver,
        (
            away.into(),
            place,
            format!("tenants are served in {}", next.active),
        ),
    );
    let halted = next.state == State::Halted && seen.stored.state == State::Halted;
    // A server that fell silent has agreed to nothing.
    let still = (split_before && halted).then(|| decision.message.clone());
    let (split, why, text) = match split.or(still) {
        Some(text) => (Status::True, Reason::TwoPrimaries, text),
        None => (Status::False, Reason::SinglePrimary, String::new()),
    };
    set(C::SplitBrain, (split, why, text));
    let paused = seen.settings.paused;
    let why = if paused {
        Reason::PausedByUser
    } else {
        Reason::NotPaused
    };
    set(C::Paused, (paused.into(), why, String::new()));
}

fn primary(seen: &Observation, next: &Stored) -> (Status, Reason, String) {
    let view = seen.server(&next.active);
    let verdict = view.map(|view| view.verdict);
    let name = &next.active;
    if view.is_some_and(|view| view.suspended) && verdict != Some(Verdict::Up) {
        let message = format!("Region {name} is suspended, so that its silence is no outage");
        return (Status::Unknown, Reason::RegionSuspended, message);
    }
    match verdict {
        Some(Verdict::Up) => (
            Status::True,
            Reason::PrimaryServing,
            format!("{name} answers"),
        ),
        Some(Verdict::Down) => (
            Status::False,
            Reason::PrimaryLost,
            format!("{name} does not answer"),
        ),
        Some(Verdict::Refusing(failure)) => (
            Status::Unknown,
            failure.into(),
            format!("{name} refuses Domicile's login"),
        ),
        Some(Verdict::Failing { .. } | Verdict::Recovering { .. }) => (
            Status::Unknown,
            Reason::Suspect,
            format!("{name} answers some probes"),
        ),
        Some(Verdict::Unknown) | None => (
            Status::Unknown,
            Reason::NotObserved,
            format!("{name} was not probed yet"),
        ),
    }
}

/// Ready when every guard holds but the one that asks whether there is an outage at all. That the
/// policy moves nobody by itself is told last: all else is in a person's way, too.
fn failover_ready(decision: &Decision) -> (Status, Reason, String) {
    let Some(target) = &decision.candidate else {
        let message = "there is no standby".to_owned();
        return (Status::False, Reason::NoEligibleStandby, message);
    };
    let guards = || decision.guards.iter().filter(|guard| !guard.ok);
    let ours = [GuardName::Armed, GuardName::SecondVantage];
    if let Some(guard) = guards().find(|guard| !ours.contains(&guard.name)) {
        let message = guard.message.clone();
        return (Status::False, Reason::NoEligibleStandby, message);
    }
    match guards().find(|guard| guard.name == GuardName::Armed) {
        Some(guard) => (
            Status::False,
            Reason::NotArmed,
            format!(
                "{target} could take over, but not by itself: {}",
                guard.message
            ),
        ),
        None => (
            Status::True,
            Reason::StandbyEligible,
            format!("{target} could take over"),
        ),
    }
}

fn replication_healthy(seen: &Observation, next: &Stored) -> (Status, Reason, String) {
    let mut worst = (
        Status::True,
        Reason::Streaming,
        "every standby streams".to_owned(),
    );
    for view in seen
        .servers
        .values()
        .filter(|view| view.server.region != next.active)
    {
        let name = &view.server;
        match stream(view) {
            StreamState::Streaming => {}
            StreamState::Broken => {
                return (
                    Status::False,
                    Reason::ReplicationBroken,
                    format!("{name} does not stream"),
                );
            }
            StreamState::Unknown => {
                let text = format!("{name} does not answer");
                worst = (Status::Unknown, Reason::ReplicationUnknown, text);
            }
        }
    }
    worst
}

fn standbys(seen: &Observation, next: &Stored) -> (Status, Reason, String) {
    for view in seen
        .servers
        .values()
        .filter(|view| view.server.region != next.active)
    {
        let name = &view.server;
        let Some(facts) = view.now() else {
            return (
                Status::False,
                Reason::StandbyUnreachable,
                format!("{name} does not answer"),
            );
        };
        if awaits_dump(seen, view) {
            let (state, text) = dump_told(seen, view);
            return (Status::False, dump_reason(state), text);
        }
        if is_rejoined_by_machine(seen, view) {
            let text = format!("{name} is being made a standby of {}", next.active);
            return (Status::False, Reason::Rejoining, text);
        }
        if awaits_rejoin(seen, view) {
            return (
                Status::False,
                Reason::AwaitingRejoin,
                awaiting(seen, view, next),
            );
        }
        if facts.role == Role::Primary {
            let text = format!("{name} came back as a primary and is being fenced");
            return (Status::False, Reason::Quarantined, text);
        }
    }
    (
        Status::True,
        Reason::StandbysHealthy,
        "every standby is a standby".to_owned(),
    )
}

fn dump_reason(state: DumpState) -> Reason {
    match state {
        DumpState::Blocked => Reason::DumpBlocked,
        DumpState::Running => Reason::DumpRunning,
        DumpState::Failed => Reason::DumpFailed,
        DumpState::Complete => Reason::DumpComplete,
    }
}

/// What a person does to a fenced old primary.
fn awaiting(seen: &Observation, view: &ServerView, next: &Stored) -> String {
    let (name, active) = (&view.server, &next.active);
    let Some(fact) = must_be_copied(seen, view) else {
        return format!(
            "{name} is fenced and must be rejoined as a standby of {active}, by pg_rewind or a new \
             base backup"
        );
    };
    let how = match view.engine {
        Engine::Sql => String::new(),
        Engine::Patroni => format!(
            ": stop Patroni in {}, empty its data directories, remove its cluster with \
             `patronictl remove`, and start it as a standby cluster of {active}",
            view.server.region
        ),
    };
    format!("{name} is fenced, and {fact}; make it a standby of {active} by a new base backup{how}")
}

fn failback(seen: &Observation, next: &Stored) -> (Status, Reason, String) {
    let home = &seen.settings.home.region;
    if next.active == *home {
        return (Status::False, Reason::AtHome, String::new());
    }
    let planned = format!("run: kubectl domicile failback {}", seen.settings.name);
    if home_is_ready(seen) {
        (Status::True, Reason::HomeInSync, planned)
    } else if seen.home_in_sync_ms.is_some() {
        let text = format!("{home} streams; it must do so for `spec.failback.stableSeconds`");
        (Status::False, Reason::Stabilizing, text)
    } else {
        (
            Status::False,
            Reason::HomeNotInSync,
            format!("{home} does not follow {}", next.active),
        )
    }
}

/// What a standby says of its stream.
pub(super) fn stream(view: &ServerView) -> StreamState {
    match view.now() {
        None => StreamState::Unknown,
        Some(facts) if facts.role == Role::Standby && !stream_broken(facts) => {
            StreamState::Streaming
        }
        Some(_) => StreamState::Broken,
    }
}
