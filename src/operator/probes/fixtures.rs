//! What a server might tell, for tests.

use domicile_core::facts::{Facts, Lsn, Role, Synchrony};
use domicile_core::time::Mono;

/// A server of version 18 that serves nobody.
pub(crate) fn facts(role: Role) -> Facts {
    Facts {
        system_identifier: "7".into(),
        major_version: 18,
        version: "18.4".into(),
        role,
        timeline: 1,
        position: Lsn(1),
        recovered: None,
        received: None,
        receiver: None,
        senders: Vec::new(),
        synchrony: Synchrony::default(),
        authority: None,
        heartbeat: None,
        tenant_sessions: 0,
        open_logins: 0,
        missing_rights: Vec::new(),
        slow_logins: false,
        sampled: Mono(0),
        round_trip_ms: 1,
    }
}
