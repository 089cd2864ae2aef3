//! One question to the guards, and the form of their answers.

use std::collections::BTreeSet;

use super::observation::{Guard, GuardName};
use super::state::{Accept, MoveKind};
use crate::names::RegionName;

/// What is being asked: may this move be made?
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// Where to.
    pub target: &'a RegionName,
    /// What for.
    pub kind: MoveKind,
    /// By the machine itself.
    pub automatic: bool,
    /// What the asker waives.
    pub accept: &'a BTreeSet<Accept>,
}

/// A guard's answer from its words.
pub(super) fn guard(name: GuardName, result: Result<String, String>) -> Guard {
    match result {
        Ok(message) => Guard {
            name,
            ok: true,
            message,
        },
        Err(message) => Guard {
            name,
            ok: false,
            message,
        },
    }
}
