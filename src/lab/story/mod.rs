//! The story that demo and end-to-end tests tell, in steps that can be put together.

pub mod agents;
pub mod audit;
pub mod bench;
pub mod collect;
pub mod demo;
pub mod hands;
pub mod moves;
pub mod objects;
pub mod operator;
pub mod report;
pub mod screen;
pub mod soak;
pub mod stage;
mod tables;
pub mod times;
pub mod watch;
pub mod writer;

pub use agents::Agents;
pub use moves::Moved;
pub use report::{Residency, TenantReport};
pub use stage::{Parts, Stage, Tenant};
