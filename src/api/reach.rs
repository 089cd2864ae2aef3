//! What a server is seen to be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reachable {
    /// It answers.
    True,
    /// It does not.
    False,
    /// Not probed yet, or between two verdicts.
    Unknown,
}

/// Whether a server takes writes by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServerRole {
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
}
