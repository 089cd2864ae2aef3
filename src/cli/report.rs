//! What a report says. The JSON of these types is the interface; text is rendered from it.

use serde::Serialize;

use crate::output::Exit;

/// How an object is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Health {
    /// As wanted.
    Healthy,
    /// On its way.
    Progressing,
    /// It needs a person, or works with less protection than it should.
    Degraded,
}

impl Health {
    /// The exit code of a report that says this.
    pub fn exit(self) -> Exit {
        match self {
            Self::Healthy => Exit::Ok,
            Self::Progressing | Self::Degraded => Exit::Degraded,
        }
    }
}

/// One object on one screen: state, why, what next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `KIND/NAME`, as `explain` takes it.
    pub object: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// In one word.
    pub health: Health,
    /// The state, or the reason of `Ready`.
    pub state: String,
    /// How long it has been so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub age: String,
    /// The message of `Ready`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Facts worth a line each.
    pub facts: Vec<Fact>,
    /// What is not as it should be, most telling first.
    pub why: Vec<Finding>,
    /// What happened, oldest first.
    pub steps: Vec<Step>,
    /// Other objects that matter here.
    pub related: Vec<Related>,
    /// What to do, as commands where there is one.
    pub next: Vec<String>,
}

/// A named fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Its name.
    pub name: String,
    /// What it is.
    pub value: String,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it was read: a condition's or a guard's name, or a field.
    pub source: String,
    /// For machines.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub age: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When.
    pub time: String,
    /// What.
    pub name: String,
    /// How it went and how long it took.
    pub outcome: String,
}

/// Another object that matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// `KIND/NAME`.
    pub object: String,
    /// In one word.
    pub health: Health,
    /// Why.
    pub state: String,
    /// For people.
    pub message: String,
}

/// All at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The worst of all rows.
    pub health: Health,
    /// Counts, in words.
    pub summary: String,
    /// One row per policy.
    pub policies: Vec<PolicyRow>,
    /// One row per region.
    pub regions: Vec<RegionRow>,
    /// One row per placement.
    pub placements: Vec<PlacementRow>,
    /// One row per operation that has not ended.
    pub operations: Vec<OperationRow>,
    /// What this user may not read.
    pub unread: Vec<String>,
    /// What to do.
    pub next: Vec<String>,
}

/// A policy at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRow {
    /// Its name.
    pub policy: String,
    /// In one word.
    pub health: Health,
    /// The machine's state.
    pub state: String,
    /// Where tenants are now.
    pub active: String,
    /// Where they belong.
    pub home: String,
    /// The write authority's number.
    pub epoch: String,
    /// The proof against two writers.
    pub split_brain: String,
    /// Most seconds of loss, or `unknown`.
    pub loss: String,
}

/// A region at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegionRow {
    /// Its name.
    pub region: String,
    /// The law that holds there.
    pub jurisdiction: String,
    /// In one word.
    pub health: Health,
    /// The reason of `Ready`.
    pub reason: String,
    /// Tenants at home there.
    pub placements: String,
}

/// A placement at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacementRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub placement: String,
    /// In one word.
    pub health: Health,
    /// The reason of `Ready`.
    pub reason: String,
    /// Where it belongs.
    pub home: String,
    /// Where it is now.
    pub active: String,
}

/// An operation at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationRow {
    /// Its name.
    pub operation: String,
    /// Why it was made.
    #[serde(rename = "type")]
    pub kind: String,
    /// The policy.
    pub policy: String,
    /// The region to move to.
    pub target: String,
    /// How far it is.
    pub state: String,
    /// For people.
    pub message: String,
}
