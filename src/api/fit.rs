//! The words by which tenants, regions and servers find each other.

use crate::words::words;

words! {
    /// How a tenant shares its server.
    Isolation = domicile_core::placement::Isolation {
        /// With other tenants.
        Shared,
        /// With nobody: the server holds one tenant.
        Dedicated,
    }
}

words! {
    /// What a database is for.
    Plane = domicile_core::placement::Plane {
        /// What the application knows of all tenants.
        Control,
        /// The data of one tenant.
        Tenant,
    }
}

words! {
    /// What a region is meant to do now.
    RegionState = domicile_core::placement::RegionState {
        /// It takes tenants.
        Active,
        /// It will take tenants: its placements wait.
        Planned,
        /// It has no server of its own: `servedBy` holds its tenants, whose condition
        /// `ResidencyEffective` is False.
        MetadataOnly,
        /// It keeps the tenants that it has and takes no new ones.
        Draining,
        /// It is paused on purpose, such as a staging region at night: it takes no new tenants, its
        /// silence is no outage, and no failover leads from or to it by itself.
        Suspended,
    }
}

/// The state of a region that does not say.
pub(crate) fn active() -> RegionState {
    RegionState::Active
}

/// Every plane: what a server takes that does not say.
pub(crate) fn all_planes() -> Vec<Plane> {
    vec![Plane::Control, Plane::Tenant]
}

/// The plane of a placement that does not say.
pub(crate) fn tenant_plane() -> Plane {
    Plane::Tenant
}

/// The isolation of a placement or server that does not say.
pub(crate) fn shared() -> Isolation {
    Isolation::Shared
}
