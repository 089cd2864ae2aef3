//! What a plan says. The JSON of these types is the interface; text is rendered from it.

use serde::Serialize;

use crate::report::Health;

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The region that is thought lost.
    pub lost: String,
    /// Degraded when a tenant would stay down, or wait.
    pub health: Health,
    /// Counts, in words.
    pub summary: String,
    /// The policies that it concerns.
    pub policies: Vec<PolicyPlan>,
    /// The tenants that it concerns.
    pub tenants: Vec<TenantPlan>,
    /// What was not known and how it was taken.
    pub assumed: Vec<String>,
    /// What could not be read.
    pub unread: Vec<String>,
    /// What to do when it happens.
    pub next: Vec<String>,
}

/// What one policy would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPlan {
    /// Its name.
    pub policy: String,
    /// `Moves`, `AsksThenMoves`, `StaysDown`, `StandbyLost` or `Busy`.
    pub fate: &'static str,
    /// The region moved to, or the best there is.
    pub to: String,
    /// Tenants that its servers hold.
    pub tenants: usize,
    /// Tenants that the other region serves already.
    pub already_there: usize,
    /// The proof against two writers.
    pub proof: String,
    /// Loss when the server dies at once, in seconds, or `unknown`.
    pub crash_loss: String,
    /// Loss when it is cut off and goes on writing, in seconds, or `unknown`.
    pub partition_loss: String,
    /// How long it may take, in seconds, by its parts; absent when it does not move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rto: Option<Rto>,
    /// What forbids the move, in the words of the guards.
    pub why: Vec<String>,
}

/// What `failover.md` allows for the time to recover, with what the policy says of detection, in
/// seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rto {
    /// The sum.
    pub total: u32,
    /// Until the threshold of failed probes is reached.
    pub detect: u32,
    /// For asking the other vantages.
    pub confirm: u32,
    /// Until the proof of the fence holds.
    pub fence: u32,
    /// For replaying what was received.
    pub catch_up: u32,
    /// For the promotion.
    pub promote: u32,
    /// For turning Secrets and workloads.
    pub reroute: u32,
}

/// What becomes of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantPlan {
    /// Its namespace.
    pub namespace: String,
    /// Its placement.
    pub placement: String,
    /// The server that serves it now.
    pub from: String,
    /// `Moves`, `AsksThenMoves`, `StaysDown`, `WritesWait`, `Unprotected` or `Unknown`.
    pub fate: &'static str,
    /// Where to; empty when it does not move.
    pub to: String,
    /// Why.
    pub why: String,
}
