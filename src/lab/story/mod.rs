//! The story that demo and end-to-end tests tell, in steps that can be put together.

pub mod collect;
pub mod objects;
pub mod watch;
