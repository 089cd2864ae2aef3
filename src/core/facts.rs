//! What one read of a database server tells.

use std::fmt;
use std::str::FromStr;

use crate::time::Mono;

/// A write authority's number: it only grows, and every effect on a database presents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub i64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A write-ahead-log position, as PostgreSQL's `pg_lsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The text was not of the form `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NotAnLsn;

impl fmt::Display for NotAnLsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a WAL position is two hexadecimal numbers with a slash between")
    }
}

impl std::error::Error for NotAnLsn {}

impl FromStr for Lsn {
    type Err = NotAnLsn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once('/').ok_or(NotAnLsn)?;
        let part = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| NotAnLsn);
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

/// What keeps a server up and promotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Engine {
    /// Nothing that Domicile asks: it is promoted by SQL, and rejoined by a person.
    #[default]
    Sql,
    /// Patroni. It promotes and rejoins. A server of its region may take over by Patroni's own
    /// will, and that one waits for no standby of another region.
    Patroni,
}

/// Whether the server takes writes by its own account (`pg_is_in_recovery()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
}

/// The one row of `domicile.authority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The epoch under which the server was last given, or last lost, the right to write.
    pub epoch: Epoch,
    /// False while fenced.
    pub writable: bool,
}

/// The one row of `domicile.heartbeat`: written on the primary, read wherever it was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// Grows by one per beat of one leader.
    pub sequence: i64,
    /// Who wrote it. Times of another leader are unknown, not compared.
    pub leader: String,
    /// The writer's monotonic clock when it sent the beat.
    pub at: Mono,
    /// The epoch that the writer held.
    pub epoch: Epoch,
}

/// A standby's connection to its primary, seen from the standby (`pg_stat_wal_receiver`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receiver {
    /// The name under which the primary lists this standby (`application_name`).
    pub name: String,
    /// Milliseconds since the primary's last message, by the standby's own clock.
    pub silent_ms: u64,
    /// Longest silence of a live but idle stream, in milliseconds: half of
    /// `wal_receiver_timeout`, when the receiver asks for a sign of life.
    pub patience_ms: u64,
    /// The timeline being received.
    pub timeline: u32,
}

/// A standby, seen from the primary (`pg_stat_replication`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sender {
    /// Its `application_name`.
    pub name: String,
    /// `state = 'streaming'`.
    pub streaming: bool,
    /// `sync_state = 'sync'`.
    pub synchronous: bool,
    /// What it has replayed.
    pub replayed: Option<Lsn>,
}

/// How the server acknowledges commits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Synchrony {
    /// `synchronous_standby_names`, as set.
    pub names: String,
    /// True when the server, or a setting of a database or role that is no tenant's, lets a commit
    /// be acknowledged before the synchronous standby has flushed it (`synchronous_commit` below
    /// `on`), or two standbys have the one name that commits wait for. What a tenant sets for
    /// itself speaks of its own commits alone, and is put right (ADR 37).
    pub relaxed: bool,
}

/// One successful read of one server, all of it from one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facts {
    /// `pg_control_system().system_identifier`: the same on a primary and its standbys, and on no
    /// other server.
    pub system_identifier: String,
    /// `server_version_num` / 10000.
    pub major_version: u32,
    /// `server_version`, for people.
    pub version: String,
    /// Primary or standby.
    pub role: Role,
    /// The timeline written (primary) or last replayed (standby).
    pub timeline: u32,
    /// Primary: WAL written, so that all that was acknowledged lies before it. Standby: WAL
    /// replayed.
    pub position: Lsn,
    /// Primary: where its last recovery ended, when it began with one. What it writes since then
    /// lies behind that, and so its timeline began no later.
    pub recovered: Option<Lsn>,
    /// Standby: WAL received and flushed.
    pub received: Option<Lsn>,
    /// Standby: its stream, when there is one.
    pub receiver: Option<Receiver>,
    /// Primary: its standbys.
    pub senders: Vec<Sender>,
    /// How it acknowledges commits.
    pub synchrony: Synchrony,
    /// The authority row; absent before Domicile made it.
    pub authority: Option<Authority>,
    /// The heartbeat row; absent before the first beat.
    pub heartbeat: Option<Heartbeat>,
    /// Sessions of tenants, read-only ones too: what a tenant granted to its reader is not known.
    pub tenant_sessions: u32,
    /// Logins of tenants that may log in (`rolcanlogin`).
    pub open_logins: u32,
    /// Rights that the login lacks, by name; empty when it can do all it must.
    pub missing_rights: Vec<String>,
    /// Opens and closes logins one by one, which from 16 on takes the square of the tenants: it
    /// lacks [`crate::admin::SET_LOGINS`].
    pub slow_logins: bool,
    /// When the read began, on the reader's clock.
    pub sampled: Mono,
    /// How long the read took, in milliseconds.
    pub round_trip_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    #[test]
    fn positions_read_as_they_are_written() {
        let lsn: Result<Lsn, _> = "16/B374D848".parse();
        assert_eq!(lsn, Ok(Lsn(0x16_B374_D848)));
        assert_eq!(lsn.map(|l| l.to_string()), Ok("16/B374D848".into()));
        assert!("16".parse::<Lsn>().is_err());
    }
}
