//! How each database does it: every effect on a database server, and every read of one.
//!
//! A provider decides nothing. It carries out one step, idempotent per epoch and conditional on the
//! server's own `domicile.authority` row, and says what it found.

mod applied;
mod error;
mod generic;
mod managed;
mod patroni;
mod scram;
mod session;

pub use applied::Applied;
pub use error::{Class, EngineFailure, ProviderError};
pub use generic::{
    Adoption, Dropped, Fenced, Generic, HeldTenant, Login, Obstacle, Refused, Seat, Settled,
    Standing, TenantPlan, Why,
};
pub use managed::Managed;
pub use patroni::{Patroni, PatroniEndpoint, Upstream};
pub use scram::{Verifier, scram_verifier};
pub use session::Endpoint;
