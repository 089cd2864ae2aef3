//! What should happen, pure: no clock, no I/O, no panic.

pub mod admin;
pub mod agent;
pub mod binding;
pub mod connection;
pub mod endpoint;
pub mod facts;
pub mod failover;
pub mod health;
pub mod injection;
pub mod json_path;
pub mod lease;
pub mod names;
pub mod pace;
pub mod placement;
pub mod replica;
pub mod rotation;
pub mod time;
pub mod turns;
