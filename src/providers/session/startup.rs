//! The settings that a session brings with it, whatever a tenant set for its database.

use std::time::Duration;

use super::Identity;

/// Longest wait for what a tenant has locked while the authority row is held: everybody else on the
/// server waits for that row.
pub(crate) const HELD_UP: Duration = Duration::from_millis(500);

/// What holds in the database of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hosted {
    /// The server's major version: an unknown setting would keep the session out.
    pub(crate) major: u32,
    /// Whether the login may turn event triggers off for itself (17 and newer).
    pub(crate) triggers_off: bool,
}

/// Settings that the owner of a database may give to everybody's sessions in it, and that would
/// end, mislead or stall Domicile's.
const PINNED: &str = "-c search_path=pg_catalog,pg_temp -c default_transaction_read_only=off \
    -c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off \
    -c idle_session_timeout=0 -c tcp_user_timeout=0 -c exit_on_error=off -c jit=off \
    -c local_preload_libraries= -c standard_conforming_strings=on -c client_min_messages=warning";

/// Settings that come with the startup packet hold from before the first statement and win over
/// what a tenant set for its database.
pub(super) fn options(who: &Identity<'_>, limit: Duration) -> String {
    let ms = limit.as_millis();
    let mut lock_ms = (ms / 3).max(1);
    if who.hosted.is_some() {
        lock_ms = lock_ms.min(HELD_UP.as_millis());
    }
    let mut options = format!(
        "{PINNED} -c statement_timeout={ms} -c lock_timeout={lock_ms} \
         -c idle_in_transaction_session_timeout={ms}"
    );
    if let Some(Hosted {
        major,
        triggers_off,
    }) = who.hosted
    {
        if major >= 17 {
            options.push_str(" -c transaction_timeout=0");
        }
        if triggers_off {
            // Before the role, which may not do this.
            options.push_str(" -c event_triggers=off");
        }
    }
    if let Some(role) = who.role {
        options.push_str(" -c role=");
        options.push_str(role);
    }
    if who.local_commit {
        options.push_str(" -c synchronous_commit=local");
    }
    options
}
