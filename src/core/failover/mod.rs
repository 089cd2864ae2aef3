//! The failover machine: states, guards, and the one function that decides.

mod adopt;
mod ages;
mod begin;
#[cfg(test)]
mod bounds;
mod calm;
mod catching;
mod decide;
mod dump;
#[cfg(test)]
mod dumping;
#[cfg(test)]
mod edited;
mod expiry;
#[cfg(test)]
mod fixtures;
mod guards;
#[cfg(test)]
mod hazards;
mod in_sync;
mod law;
mod leases;
mod moving;
mod observation;
mod outage;
mod outcome;
pub mod plan;
mod promotion;
mod question;
#[cfg(test)]
mod questions;
mod requests;
#[cfg(test)]
mod rest;
mod returned;
#[cfg(test)]
mod returning;
#[cfg(test)]
mod scenarios;
mod standby;
mod state;
#[cfg(test)]
mod strays;
#[cfg(test)]
mod suspended;
mod synchrony;
#[cfg(test)]
mod timelines;
mod vantages;

pub use adopt::adopt;
pub use ages::{Age, Ages, Moments};
pub use calm::{home_is_ready, split_brain};
pub use decide::decide;
pub use dump::{Dump, DumpLook, DumpState, DumpView, awaits_dump, dump_told};
pub use guards::predicted_loss;
pub use in_sync::InSync;
pub use leases::{disarmed, is_armed};
pub use observation::{
    Answer, Decision, Guard, GuardName, Look, Observation, Refusal, Request, ServerView, Step,
    Tenant, Watched,
};
pub use returned::{
    Fork, MAX_DATABASES, Rejoin, Returned, awaits_rejoin, is_rejoined_by_machine,
    is_to_be_examined, must_be_copied,
};
pub use standby::stream_broken;
pub use state::{
    Accept, Claim, Evidence, FailbackMode, HISTORY_LIMIT, Journal, LossBound, Mode, MoveKind, Past,
    Promotion, Proof, Settings, Standby, State, Stored,
};
