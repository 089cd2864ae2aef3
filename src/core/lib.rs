//! What should happen, pure: no clock, no I/O, no panic.

pub mod admin;
pub mod names;
