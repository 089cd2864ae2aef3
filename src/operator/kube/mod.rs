//! Everything between the controllers and the API server.

pub mod apply;
pub mod backoff;
pub mod cache;
pub mod cas;
pub mod client;
pub mod events;
pub mod invalid;
pub mod lease;
pub mod pages;
pub mod wake;
pub mod way;
