//! The words by which tenants and servers find each other.

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
