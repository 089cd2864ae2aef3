//! Every reason that a condition or an event of ours may carry: a closed list.

mod closed;
mod common;
mod list;
mod moves;
mod placement;
mod probe;
#[cfg(test)]
mod tests;

pub use list::Reason;
