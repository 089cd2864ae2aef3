//! What a region is seen to be doing.

use domicile_core::admin::MAINTENANCE_DATABASE;
use serde::Serialize;

use super::{How, Region};
use crate::postgres::{Activity, Server};

/// Role, timeline, position, and the state of replication, of a standby or of a primary.
const LOOK: &str = "
    SELECT 'standby', received_tli, pg_last_wal_replay_lsn(), status
    FROM (SELECT 1) AS here LEFT JOIN pg_stat_wal_receiver ON true
    WHERE pg_is_in_recovery()
    UNION ALL
    SELECT 'primary', ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
        pg_current_wal_lsn(), (
        SELECT string_agg(concat_ws(' ', application_name, state, sync_state), ', ')
        FROM pg_stat_replication)
    WHERE NOT pg_is_in_recovery()";

/// What a region is seen to be doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// Its name.
    pub region: String,
    /// The law it lies under.
    pub jurisdiction: String,
    /// Address and port of its server.
    pub endpoint: String,
    /// What its server's processes do.
    pub activity: Activity,
    /// How it is lost, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<How>,
    /// `primary` or `standby`, as the server says; absent when it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The server's timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// How far the server has written or replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// For a standby: the state of its WAL receiver; for a primary: standbys and their state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<String>,
}

/// Asks a region's server, when it runs.
pub(super) fn observe(region: &Region, server: &Server, lost: Option<&How>) -> RegionStatus {
    let activity = server.activity();
    let mut status = RegionStatus {
        region: region.name.to_owned(),
        jurisdiction: region.jurisdiction.to_owned(),
        endpoint: format!("{}:{}", server.address(), server.port()),
        activity,
        lost: lost.copied(),
        role: None,
        timeline: None,
        position: None,
        replication: None,
    };
    if activity != Activity::Running {
        return status;
    }
    // A server that does not answer shows as one without a role.
    if let Ok(row) = server.superuser_sql(MAINTENANCE_DATABASE, LOOK) {
        let mut columns = row
            .split('|')
            .map(|text| Some(text.to_owned()).filter(|t| !t.is_empty()));
        status.role = columns.next().flatten();
        status.timeline = columns.next().flatten().and_then(|text| text.parse().ok());
        status.position = columns.next().flatten();
        status.replication = columns.next().flatten();
    }
    status
}
