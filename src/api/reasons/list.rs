//! The list: one of each file, in the order of the reference.
use super::closed::reasons;
use super::{common::common, moves::moves, placement::placement};

common! { placement moves reasons : }
