//! A copy of what an old primary alone holds, made by a Job of the user before that is undone.

use super::observation::{Answer, Observation, ServerView, Step};
use super::outcome::Outcome;
use super::returned::{Returned, fenced, report_of, was_replayed};
use super::state::Stored;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DumpState {
    /// It cannot be made, or not be looked at, until a person acts.
    Blocked,
    /// Its Job runs.
    Running,
    /// Its Job failed.
    Failed,
    /// Its Job is complete.
    Complete,
}

/// A copy, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dump {
    /// The name of its Job.
    pub job: String,
    /// How far it was.
    pub state: DumpState,
}

/// What one look at the Job of a copy has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpLook {
    /// There is none yet, and nothing stands in its way.
    Absent,
    /// It runs.
    Running,
    /// It failed.
    Failed,
    /// It is complete.
    Complete,
    /// It cannot be made, or not be looked at: the fact and the next step.
    Blocked(String),
}

/// The Job of a copy, as seen in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpView {
    /// Its name.
    pub job: String,
    /// What it does.
    pub look: DumpLook,
}

/// True when a copy is asked for and not complete: until then nothing may restart or rewrite this
/// fenced and reported server.
pub fn awaits_dump(seen: &Observation, view: &ServerView) -> bool {
    let asked = seen.settings.dump.is_some() && fenced(seen, view).is_some();
    let kept = |report: &Returned| {
        let dump = report.dump.as_ref();
        dump.is_some_and(|dump| dump.state == DumpState::Complete)
    };
    let report = report_of(seen, &view.server.region);
    asked && report.is_some_and(|report| may_hold_alone(seen, report) && !kept(report))
}

/// How far the copy of this server is, and what that means; [`awaits_dump`] is true of it.
pub fn dump_told(seen: &Observation, view: &ServerView) -> (DumpState, String) {
    let server = &view.server;
    let Some(DumpView { job, look }) = &view.dump else {
        let report = report_of(seen, &server.region);
        let before = report.and_then(|report| report.dump.as_ref());
        let state = before.map_or(DumpState::Blocked, |dump| dump.state);
        let text = format!("whether what {server} alone holds is copied is not looked at now");
        return (state, text);
    };
    let without = "or take `spec.dump` away to go on without a copy";
    match look {
        DumpLook::Absent | DumpLook::Running => {
            let text =
                format!("Job {job} copies what {server} alone holds, which is undone only after");
            (DumpState::Running, text)
        }
        DumpLook::Failed => {
            let text = format!(
                "Job {job} failed, and {server} is left as it is: delete the Job to have it \
                 tried again, {without}"
            );
            (DumpState::Failed, text)
        }
        DumpLook::Complete => {
            let text = format!("Job {job} has copied what {server} alone holds");
            (DumpState::Complete, text)
        }
        DumpLook::Blocked(fact) => {
            let text = format!("what {server} alone holds is not copied: {fact}, {without}");
            (DumpState::Blocked, text)
        }
    }
}

/// Has the copies made that are asked for, and stores how far they are.
pub(super) fn dump(seen: &Observation) -> Option<Outcome> {
    let mut servers = seen.servers.values().filter(|view| awaits_dump(seen, view));
    servers.find_map(|view| one(seen, view))
}

fn one(seen: &Observation, view: &ServerView) -> Option<Outcome> {
    let DumpView { job, look } = view.dump.as_ref()?;
    let (state, message) = dump_told(seen, view);
    if *look == DumpLook::Absent {
        let step = Step::Dump {
            server: view.server.clone(),
            epoch: seen.stored.epoch,
            job: job.clone(),
        };
        return Some(Outcome::new(Answer::Work(step), "DumpRunning", message));
    }
    let found = Dump {
        job: job.clone(),
        state,
    };
    let report = report_of(seen, &view.server.region)?;
    if report.dump.as_ref() == Some(&found) {
        return None;
    }
    let reason = match state {
        DumpState::Blocked => "DumpBlocked",
        DumpState::Running => "DumpRunning",
        DumpState::Failed => "DumpFailed",
        DumpState::Complete => "DumpComplete",
    };
    let mut stored = Stored::clone(&seen.stored);
    let mut reports = stored.returned.iter_mut();
    let report = reports.find(|known| known.region == view.server.region)?;
    report.dump = Some(found);
    Some(Outcome::new(
        Answer::Move(Box::new(stored)),
        reason,
        message,
    ))
}

/// False only when it is known that the server holds nothing of tenants alone. That no database
/// counts writes does not say so: statistics begin anew after a crash.
fn may_hold_alone(seen: &Observation, report: &Returned) -> bool {
    let replayed = was_replayed(seen, &report.region, report.timeline);
    !report.databases.is_empty() || (!replayed && report.bytes() != Some(0))
}
