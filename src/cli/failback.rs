//! `failback`: a planned move home without loss. YAML twin: a `FailoverOperation` of this type.

use domicile_api::operation::MoveType;

use crate::args::FailbackArgs;
use crate::error::CliError;
use crate::operation::{self, Wish};
use crate::output::Outcome;
use crate::session::Session;

/// Creates the operation and follows it.
///
/// # Errors
/// See [`operation::run`].
pub async fn run(session: &mut Session<'_>, args: &FailbackArgs) -> Result<Outcome, CliError> {
    let FailbackArgs { common } = args;
    let wish = Wish::new(MoveType::Failback, None, common);
    operation::run(session, &wish, common).await
}
