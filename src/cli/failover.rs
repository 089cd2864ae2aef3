//! `failover`: a move away from a lost region. YAML twin: a `FailoverOperation` of this type.

use domicile_api::operation::MoveType;

use crate::args::FailoverArgs;
use crate::error::CliError;
use crate::operation::{self, Wish};
use crate::output::Outcome;
use crate::session::Session;

/// Creates the operation and follows it.
///
/// # Errors
/// See [`operation::run`].
pub async fn run(session: &mut Session<'_>, args: &FailoverArgs) -> Result<Outcome, CliError> {
    let FailoverArgs { common, to, accept } = args;
    let mut accept = accept.clone();
    accept.sort();
    accept.dedup();
    let wish = Wish {
        accept,
        ..Wish::new(MoveType::Failover, to.clone(), common)
    };
    operation::run(session, &wish, common).await
}
