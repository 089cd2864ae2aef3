//! The failover machine: states, guards, and the one function that decides.

mod state;

pub use state::{
    Accept, Evidence, FailbackMode, HISTORY_LIMIT, Journal, LossBound, Mode, MoveKind, Past,
    Promotion, Proof, Settings, Standby, State, Stored,
};
