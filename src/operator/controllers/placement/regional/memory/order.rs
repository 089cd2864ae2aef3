//! What is to be brought, and what tells one order from another.

use std::fmt;
use std::sync::Arc;

use domicile_core::connection::Rendered;
use domicile_core::facts::Epoch;
use domicile_core::injection::Origin;

use crate::controllers::placement::endpoint::Facade;
use crate::controllers::placement::secret;

/// What the Secret holds everywhere, and what its Service leads to, once both were stored and tried
/// in the hub.
#[derive(Clone)]
pub(in crate::controllers::placement) struct Order {
    pub(in crate::controllers::placement::regional) rendered: Arc<Rendered>,
    pub(in crate::controllers::placement::regional) origin: Origin,
    pub(in crate::controllers::placement::regional) epoch: Epoch,
    /// The policy that may move the tenant, and its epoch: under a newer one it is out of date.
    pub(in crate::controllers::placement::regional) guard: Option<(String, Epoch)>,
    /// The Service, if there is one.
    pub(in crate::controllers::placement::regional) facade: Option<Facade>,
    hash: String,
}

impl Order {
    pub(in crate::controllers::placement) fn new(
        rendered: Arc<Rendered>,
        origin: Origin,
        (epoch, guard): (Epoch, Option<(String, Epoch)>),
        facade: Option<Facade>,
    ) -> Self {
        let hash = secret::hash(&rendered);
        Self {
            rendered,
            origin,
            epoch,
            guard,
            facade,
            hash,
        }
    }

    /// What tells two of them apart.
    pub(super) fn stamp(&self, generation: Option<i64>) -> Stamp {
        Stamp {
            hash: self.hash.clone(),
            origin: self.origin.clone(),
            epoch: self.epoch,
            facade: self.facade.clone(),
            generation,
        }
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").finish_non_exhaustive()
    }
}

/// What was brought, and by which spec it was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::placement::regional) struct Stamp {
    hash: String,
    origin: Origin,
    epoch: Epoch,
    facade: Option<Facade>,
    generation: Option<i64>,
}
