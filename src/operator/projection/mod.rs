//! A Secret in a workload of any kind: what is added, where a kind keeps it, and how it is taken
//! back. For service bindings and placements.

pub(crate) mod asked;
pub(crate) mod decide;
pub(crate) mod insert;
pub(crate) mod kinds;
pub(crate) mod mapping;
pub(crate) mod places;
pub(crate) mod project;

pub(crate) use asked::{Asked, Mount};
