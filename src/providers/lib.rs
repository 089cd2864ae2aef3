//! How each database does it: every effect on a database server, and every read of one.
//!
//! A provider decides nothing. It carries out one step, idempotent per epoch and conditional on the
//! server's own `domicile.authority` row, and says what it found.

mod error;
mod generic;
mod scram;
mod session;

pub use error::{Class, ProviderError};
pub use generic::{Applied, Fenced, Generic, HeldTenant, Login, Seat, TenantPlan};
pub use scram::{Verifier, scram_verifier};
pub use session::Endpoint;
