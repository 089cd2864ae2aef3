//! Judges what the writers were told against what the servers hold. Pure: logs and tables in, a
//! verdict out.

mod history;
mod record;
mod residency;
mod verdict;
mod work;

pub use history::{Attempt, History, Outcome, Reign, histories};
pub use record::{Event, NotARecord, Record, parse};
pub use residency::contains;
pub use verdict::{
    Dual, LostRow, MIN_RATE, Phase, PhaseReport, Stored, Verdict, first_acknowledgement, judge,
    longest_silence, rate,
};
pub use work::{ACCOUNTS, Books, LIST_SPAN, OPENING_BALANCE, Work, audit, item};
