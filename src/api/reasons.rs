//! Every reason that a condition or an event of ours may carry: a closed list.

mod closed;
mod list;
mod probe;
#[cfg(test)]
mod tests;

pub use list::Reason;
