//! Which workloads of a placement may roll now: all at once, or in waves with a pause between them.
//!
//! What it goes by is observed anew each time, so an operator that is restarted between two waves
//! goes on where the one before stopped.

use jiff::{SignedDuration, Timestamp};

use crate::names::ServerId;

/// How fast a placement's workloads roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Most workloads of one wave; all when absent.
    pub wave: Option<u32>,
    /// Seconds from the end of a wave to the next one.
    pub pause_seconds: u32,
}

/// How far one workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What its pods have is not what they are to have, and a write makes them roll.
    Behind {
        /// What they have leads nowhere any more.
        stranded: bool,
    },
    /// It is rolling.
    Rolling,
    /// Its pods are replaced when somebody says so: nobody waits for that.
    Held,
    /// All its pods have what they are to have, since that moment.
    Current(Timestamp),
}

/// What the Secret led to when a workload got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The server.
    pub server: ServerId,
    /// The generation of the credentials.
    pub generation: i64,
}

/// Who rolls, and when to look again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The places of those that may roll now, in order.
    pub go: Vec<usize>,
    /// The moment when the pause ends, when that is what the others wait for.
    pub pause_until: Option<Timestamp>,
}

/// Who may roll now, of workloads in the order in which they are to. With `hurry`, the credentials
/// before are soon closed.
///
/// A wave begins when no workload rolls and the pause since the last one that became current is
/// over. Whoever is stranded waits for nothing: his pods cannot work as they are, and to spare him
/// a restart keeps him down. A moment that lies ahead is of another clock, and no reason to wait.
pub fn turn(stages: &[Stage], pace: Pace, hurry: bool, now: Timestamp) -> Turn {
    let behind = |wanted: bool| {
        let stages = stages.iter().enumerate();
        stages.filter_map(move |(at, stage)| match stage {
            Stage::Behind { stranded } if *stranded == wanted => Some(at),
            Stage::Behind { .. } | Stage::Rolling | Stage::Held | Stage::Current(_) => None,
        })
    };
    let stranded: Vec<usize> = behind(true).collect();
    let Some(wave) = pace.wave.filter(|_| !hurry) else {
        let mut go: Vec<usize> = stranded.into_iter().chain(behind(false)).collect();
        go.sort_unstable();
        return Turn {
            go,
            pause_until: None,
        };
    };
    if !stranded.is_empty() || stages.contains(&Stage::Rolling) || behind(false).next().is_none() {
        return Turn {
            go: stranded,
            pause_until: None,
        };
    }
    let last = stages.iter().filter_map(|stage| match stage {
        Stage::Current(since) if *since <= now => Some(*since),
        Stage::Current(_) | Stage::Behind { .. } | Stage::Rolling | Stage::Held => None,
    });
    let pause = SignedDuration::from_secs(i64::from(pace.pause_seconds));
    let pause_until = last.max().and_then(|last| last.checked_add(pause).ok());
    match pause_until.filter(|until| now < *until) {
        Some(until) => Turn {
            go: Vec::new(),
            pause_until: Some(until),
        },
        None => Turn {
            go: behind(false).take(wave as usize).collect(),
            pause_until: None,
        },
    }
}

/// Whether what a workload carries leads nowhere: another server serves, or its logins are closed.
/// `overlap` says that the logins before the present ones are still open.
pub fn is_stranded(carried: &Origin, present: &Origin, overlap: bool) -> bool {
    let open = present.generation.saturating_sub(i64::from(overlap));
    carried.server != present.server || carried.generation < open
}

#[cfg(test)]
mod tests;
