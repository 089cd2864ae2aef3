//! An old primary that came back: what only it holds, and its way back to a standby.

use jiff::Timestamp;

use super::dump::{Dump, awaits_dump};
use super::observation::{Answer, Observation, ServerView, Step};
use super::outcome::{Outcome, is_fenced};
use super::state::{LossBound, Past, Proof};
use crate::facts::{Engine, Epoch, Facts, Lsn, Role};
use crate::names::RegionName;

/// Most databases that a report names.
pub const MAX_DATABASES: usize = 16;

/// Rests between two requests for the same, in milliseconds: what runs a server needs a while.
const PAUSE_MS: u64 = 3000;

/// What becomes of an old primary that came back, once it is fenced and what it holds is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejoin {
    /// It waits for a person.
    Manual,
    /// What only it holds is undone, and it follows the active server.
    Rewind,
    /// The same; where that is not possible its data is thrown away and copied anew.
    Reclone,
}

/// Where two histories part: the old primary's timeline, and how far the new one had replayed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fork {
    /// The timeline that both share up to here.
    pub timeline: u32,
    /// The end of what both hold, as far as is known: it is never later.
    pub position: Lsn,
    /// The new primary left that timeline no later than here; absent when it does not know.
    pub latest: Option<Lsn>,
}

/// What was found on an old primary that came back, once it was fenced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Returned {
    /// Its region.
    pub region: RegionName,
    /// The epoch that it is fenced under.
    pub epoch: Epoch,
    /// The timeline that it wrote last.
    pub timeline: u32,
    /// The end of its WAL.
    pub position: Lsn,
    /// Where its history leaves that of the active server; absent when no move tells.
    pub fork: Option<Fork>,
    /// Where it left the timeline of the fork for one of its own; absent when that is not known, or
    /// it did not.
    pub left: Option<Lsn>,
    /// Databases of tenants that may have been written to past the fork: those whose statistics,
    /// which begin anew after a crash, count writes. At most [`MAX_DATABASES`].
    pub databases: Vec<String>,
    /// When it was found so.
    pub found: Timestamp,
    /// The copy of what it alone holds, as far as it is; absent when none was asked for.
    pub dump: Option<Dump>,
}

impl Returned {
    /// WAL that only this server holds, its own housekeeping included: an upper bound, in bytes.
    pub fn bytes(&self) -> Option<u64> {
        let fork = self.fork?;
        Some(self.position.0.saturating_sub(fork.position.0))
    }

    /// The finding in words.
    pub fn told(&self) -> String {
        let wal = match self.bytes() {
            Some(bytes) => format!("at most {bytes} bytes of WAL"),
            None => "an unknown amount of WAL".to_owned(),
        };
        let touched = if self.databases.is_empty() {
            "no tenant's database counts writes since its statistics began, anew after a crash"
                .to_owned()
        } else {
            format!("may have writes of its own: {}", self.databases.join(", "))
        };
        let mut told = format!(
            "{} is fenced at {} on timeline {} and alone holds {wal}; {touched}",
            self.region, self.position, self.timeline
        );
        if let Some(fact) = self.confusion(self.timeline) {
            told = format!("{told}; {fact}");
        }
        told
    }

    /// Why `pg_rewind` may take the old primary's history, now on `timeline`, for that of the new
    /// one and undo nothing. It does so where both left the shared timeline at one position: their
    /// next timelines then have one number and one beginning, with different contents.
    fn confusion(&self, timeline: u32) -> Option<String> {
        let fork = self.fork.filter(|fork| fork.timeline != timeline)?;
        let shared = fork.timeline;
        match (self.left, fork.latest) {
            (Some(left), Some(latest)) if left > latest.max(fork.position) => None,
            (Some(left), _) => Some(format!(
                "it left timeline {shared} at {left}, where the new primary may have left it too: \
                 pg_rewind cannot tell them apart"
            )),
            (None, _) => Some(format!(
                "it left timeline {shared}, and where is not known: pg_rewind may take its history \
                 for that of the new primary"
            )),
        }
    }
}

/// True when a server other than the active one answers and is fenced: it waits to be rejoined.
pub fn awaits_rejoin(seen: &Observation, view: &ServerView) -> bool {
    fenced(seen, view).is_some_and(|facts| facts.role == Role::Primary)
}

/// True when it is not known yet what a fenced old primary holds, or where it left the common
/// timeline: it is to be asked.
pub fn is_to_be_examined(seen: &Observation, view: &ServerView) -> bool {
    let known = |report: &Returned, now: &Facts| {
        let told = view.engine == Engine::Patroni;
        report.left.is_some() || !told || report.confusion(now.timeline).is_none()
    };
    let report = report_of(seen, &view.server.region);
    awaits_rejoin(seen, view)
        && !report
            .zip(view.now())
            .is_some_and(|(it, now)| known(it, now))
}

/// Why a fenced old primary must be copied anew, by a person, and not rewound; `None` when it need
/// not, or is not reported yet.
pub fn must_be_copied(seen: &Observation, view: &ServerView) -> Option<String> {
    report_of(seen, &view.server.region)?.confusion(view.now()?.timeline)
}

/// True when the machine itself brings this fenced server back, and may.
pub fn is_rejoined_by_machine(seen: &Observation, view: &ServerView) -> bool {
    let able = view.engine == Engine::Patroni && !seen.settings.paused;
    let report = report_of(seen, &view.server.region);
    let known = fenced(seen, view).is_some()
        && report.is_some_and(|report| report.fork.is_some())
        && must_be_copied(seen, view).is_none();
    able && seen.settings.rejoin != Rejoin::Manual && (known || halfway(seen, view).is_some())
}

/// True when a server is an old primary that was reported, and holds the fence that it had then: it
/// may be on a timeline that is newer than the active server's, and nobody promoted it to serve.
pub(super) fn keeps_its_fence(seen: &Observation, view: &ServerView) -> bool {
    let region = &view.server.region;
    let report = seen.stored.returned.iter().find(|it| it.region == *region);
    let holds = |facts: &Facts| {
        let row = facts.authority.filter(|row| !row.writable);
        let closed = facts.open_logins == 0 && facts.tenant_sessions == 0;
        closed && row.map(|row| row.epoch) == report.map(|report| report.epoch) && row.is_some()
    };
    *region != seen.stored.active && view.now().is_some_and(holds)
}

/// The epoch that a server is fenced under which was halfway to a timeline of its own when a later
/// one was issued. As a standby of nobody it can take no newer fence: it goes the other half first.
fn halfway(seen: &Observation, view: &ServerView) -> Option<Epoch> {
    let facts = view.now().filter(|it| it.role == Role::Standby)?;
    let epoch = facts.authority?.epoch;
    (keeps_its_fence(seen, view) && epoch < seen.stored.epoch).then_some(epoch)
}

/// Writes down what an old primary holds, before anything undoes it.
pub(super) fn report(seen: &Observation) -> Option<Outcome> {
    let views = seen.servers.values();
    let found = views
        .filter(|view| is_to_be_examined(seen, view))
        .filter_map(|view| found(seen, view));
    let mut news = found.filter(|found| {
        let known = report_of(seen, &found.region);
        known.is_none_or(|known| (known.timeline, known.left) != (found.timeline, found.left))
    });
    let found = news.next()?;
    let message = found.told();
    let mut stored = seen.stored.clone();
    stored.returned.retain(|known| known.region != found.region);
    stored.returned.push(found);
    let answer = Answer::Move(Box::new(stored));
    Some(Outcome::new(answer, "OldPrimaryReported", message))
}

/// What an old primary holds, once it was asked.
fn found(seen: &Observation, view: &ServerView) -> Option<Returned> {
    let (facts, touched) = (view.now()?, view.touched.as_ref()?);
    let region = &view.server.region;
    let last = last_move_from(seen, region);
    let fork = last.and_then(|past| past.fork);
    let replayed = was_replayed(seen, region, facts.timeline);
    let databases = touched.iter().filter(|_| !replayed);
    Some(Returned {
        region: region.clone(),
        epoch: seen.stored.epoch,
        timeline: facts.timeline,
        position: facts.position,
        fork,
        left: fork.and_then(|fork| left(view, facts, fork)),
        databases: databases.take(MAX_DATABASES).cloned().collect(),
        found: seen.now.wall,
        // The same server, asked again: what was copied of it stays copied.
        dump: report_of(seen, region).and_then(|known| known.dump.clone()),
    })
}

/// Where a server left the timeline of the fork. What runs it writes its list anew only when the
/// last number does not fit the present timeline, so that a list may tell of an earlier one of the
/// same number. This server served on the shared timeline, and its list ended before that then: one
/// that ends right before a later timeline was written since. It had written what the new primary
/// replayed of it.
fn left(view: &ServerView, facts: &Facts, fork: Fork) -> Option<Lsn> {
    let (last, _) = view.ends.last()?;
    let fits = last.checked_add(1) == Some(facts.timeline);
    let shared = |(timeline, _): &&(u32, Lsn)| *timeline == fork.timeline;
    let (_, end) = view.ends.iter().find(shared).filter(|_| fits)?;
    let until = facts.recovered.unwrap_or(facts.position);
    (fork.position..=until).contains(end).then_some(*end)
}

/// Brings back an old primary: one that is fenced under this epoch, and whose report is stored.
///
/// A server that was started by its own engine meanwhile has a timeline of its own, whose number
/// the active server's history may hold too, with another content. Nobody could tell them apart, so
/// it first gets a timeline that the active server never had.
pub(super) fn rejoin(seen: &Observation, active: &ServerView, now: &Facts) -> Option<Outcome> {
    let due = |view: &&ServerView| {
        is_rejoined_by_machine(seen, view)
            && !awaits_dump(seen, view)
            && view.asked_ms.is_none_or(|passed| passed >= PAUSE_MS)
            && view
                .now()
                .is_some_and(|it| it.system_identifier == now.system_identifier)
    };
    let view = seen.servers.values().find(due)?;
    let facts = view.now()?;
    let fork = report_of(seen, &view.server.region).and_then(|report| report.fork);
    let apart =
        facts.timeline > now.timeline || fork.is_some_and(|fork| fork.timeline == facts.timeline);
    let step = if facts.role == Role::Primary && apart {
        Step::Rejoin {
            server: view.server.clone(),
            upstream: active.server.clone(),
            epoch: seen.stored.epoch,
            how: seen.settings.rejoin,
        }
    } else {
        let epoch = halfway(seen, view).unwrap_or(seen.stored.epoch);
        Step::Outgrow(view.server.clone(), epoch)
    };
    let message = format!(
        "{} is being made a standby of {}",
        view.server, active.server
    );
    Some(Outcome::new(
        Answer::Work(step),
        "OldPrimaryRejoining",
        message,
    ))
}

/// What a server other than the active one says, when it is fenced under this epoch.
pub(super) fn fenced<'a>(seen: &Observation, view: &'a ServerView) -> Option<&'a Facts> {
    let other = view.server.region != seen.stored.active;
    view.now().filter(|facts| other && is_fenced(seen, facts))
}

pub(super) fn report_of<'a>(seen: &'a Observation, region: &RegionName) -> Option<&'a Returned> {
    let mut reports = seen.stored.returned.iter();
    reports.find(|report| report.region == *region && report.epoch == seen.stored.epoch)
}

/// True when all that tenants wrote on this timeline was replayed elsewhere before they were let in
/// there.
pub(super) fn was_replayed(seen: &Observation, region: &RegionName, timeline: u32) -> bool {
    last_move_from(seen, region).is_some_and(|past| {
        past.proof == Some(Proof::Confirmed)
            && past.loss == LossBound::Seconds(0)
            && past.fork.is_some_and(|fork| fork.timeline == timeline)
    })
}

/// The move by which a region ceased to serve.
fn last_move_from<'a>(seen: &'a Observation, region: &RegionName) -> Option<&'a Past> {
    seen.stored.history.iter().find(|past| past.from == *region)
}
