//! Every place where the tenant's data lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{PolicyView, RegionView, ServerError};
use crate::names::{Jurisdiction, RegionName, ServerId};

/// What a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// The server that takes writes.
    Primary,
    /// A physical standby, or a former primary that will become one again.
    Standby,
    /// A read replica of one of them, in the same region.
    ReadReplica,
    /// The backups of one of them.
    Backup,
    /// The tenant's Secret, in the region's own cluster.
    Secret,
}

/// One place where the tenant's data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What it is.
    pub kind: CopyKind,
    /// Where it is.
    pub region: RegionName,
    /// Under which law; absent when the Region does not exist.
    pub jurisdiction: Option<Jurisdiction>,
    /// Whether the tenant allows that law. An unknown law is not allowed.
    pub compliant: bool,
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CopyKind::Primary => "the primary",
            CopyKind::Standby => "a standby",
            CopyKind::ReadReplica => "a read replica",
            CopyKind::Backup => "backups",
            CopyKind::Secret => "its Secret",
        };
        write!(f, "{kind} in {}", self.region)
    }
}

/// All copies, the primary first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copies(pub Vec<Copy>);

impl Copies {
    /// The copies that lie outside the law.
    pub fn outside(&self) -> Vec<&Copy> {
        self.0.iter().filter(|copy| !copy.compliant).collect()
    }
}

/// The copies of a tenant that `active` serves. A tenant without a policy has one copy.
pub fn copies(
    active: &ServerId,
    policy: Option<&PolicyView>,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Copies {
    let copy = |kind, region: &RegionName| {
        let jurisdiction = regions
            .get(region)
            .map(|region| region.jurisdiction.clone());
        let compliant = jurisdiction
            .as_ref()
            .is_some_and(|law| allowed.contains(law));
        Copy {
            kind,
            region: region.clone(),
            jurisdiction,
            compliant,
        }
    };
    let others = policy
        .into_iter()
        .flat_map(|policy| std::iter::once(&policy.primary).chain(&policy.standbys))
        .filter(|server| *server != active);
    let all = || std::iter::once(active).chain(others.clone());
    let replicated = |server: &&ServerId| {
        let region = regions.get(&server.region);
        let view = region.and_then(|region| region.server(&server.server));
        view.is_some_and(|view| view.replicated)
    };
    let replicas: BTreeSet<_> = all().filter(replicated).map(|s| &s.region).collect();
    let backups: BTreeSet<_> = all()
        .filter_map(|server| regions.get(&server.region))
        .flat_map(|region| &region.backups)
        .collect();
    let kinds = std::iter::once(CopyKind::Primary).chain(std::iter::repeat(CopyKind::Standby));
    let servers = kinds.zip(all().map(|server| &server.region));
    let replicas = replicas
        .into_iter()
        .map(|region| (CopyKind::ReadReplica, region));
    let backups = backups.into_iter().map(|region| (CopyKind::Backup, region));
    Copies(
        servers
            .chain(replicas)
            .chain(backups)
            .map(|(kind, region)| copy(kind, region))
            .collect(),
    )
}

/// Whether the backups of a server lie within the law.
pub(super) fn backed_up(
    server: &ServerId,
    allowed: &BTreeSet<Jurisdiction>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Result<(), ServerError> {
    let region = regions.get(&server.region);
    let backups = region.into_iter().flat_map(|region| &region.backups);
    for backup in backups {
        let law = regions.get(backup).map(|backup| &backup.jurisdiction);
        if law.is_none_or(|law| !allowed.contains(law)) {
            return Err(ServerError::BackupOutside {
                server: server.clone(),
                backup: backup.clone(),
                jurisdiction: law.cloned(),
            });
        }
    }
    Ok(())
}

/// Where some tenants allow nothing of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Closed {
    /// The regions in which one of them allows no server: by their own law, or by that of the
    /// backups of their servers.
    pub to_servers: BTreeSet<RegionName>,
    /// The regions in which one of them allows no backups: by their own law alone. What lies there
    /// is a copy that is not backed up again.
    pub to_backups: BTreeSet<RegionName>,
}

/// The regions that are closed to some tenants, from what each allows. An unknown law allows none.
pub fn closed<'a>(
    laws: impl IntoIterator<Item = Option<&'a BTreeSet<Jurisdiction>>>,
    regions: &BTreeMap<RegionName, RegionView>,
) -> Closed {
    let laws: BTreeSet<_> = laws.into_iter().collect();
    let outside = |jurisdiction: &Jurisdiction| {
        let mut laws = laws.iter();
        laws.any(|law| law.is_none_or(|law| !law.contains(jurisdiction)))
    };
    let somebody = !laws.is_empty();
    let away = |name: &RegionName| {
        let backup = regions.get(name);
        backup.map_or(somebody, |backup| outside(&backup.jurisdiction))
    };
    let of = |which: &dyn Fn(&RegionView) -> bool| {
        let found = regions.iter().filter(|(_, view)| which(view));
        found.map(|(name, _)| name.clone()).collect()
    };
    Closed {
        to_servers: of(&|view| outside(&view.jurisdiction) || view.backups.iter().any(away)),
        to_backups: of(&|view| outside(&view.jurisdiction)),
    }
}
