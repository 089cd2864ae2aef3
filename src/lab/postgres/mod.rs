//! Real PostgreSQL servers: obtained, started, cloned, lost and rejoined.
//!
//! A [`Server`] runs either on a loopback address, as a child of this process, or inside the
//! lab's private space ([`Place`]). All calls block; each has a limit.

mod binaries;
mod engine;
mod files;
mod launch;
mod loopback;
mod patroni;
mod place;
mod process;
mod replica;
mod server;
mod settings;
mod spec;
mod sql;
#[cfg(test)]
mod tests;
mod v18;

pub use binaries::{Binaries, OLDEST};
pub use engine::{Engine, REST_PORT};
pub use loopback::Loopback;
pub use patroni::REST_USER;
pub use place::Place;
pub use process::Activity;
pub use replica::Rejoined;
pub use server::Server;
pub use settings::{ADMIN, REPLICATOR, SUPERUSER, Settings};
pub use spec::{Passwords, ServerSpec, TlsMaterial};
