//! `switchover`: a planned move without loss. YAML twin: a `FailoverOperation` of this type.

use domicile_api::operation::MoveType;

use crate::args::MoveArgs;
use crate::error::CliError;
use crate::operation::{self, Wish};
use crate::output::Outcome;
use crate::session::Session;

/// Creates the operation and follows it.
///
/// # Errors
/// See [`operation::run`].
pub async fn run(session: &mut Session<'_>, args: &MoveArgs) -> Result<Outcome, CliError> {
    let MoveArgs { common, to } = args;
    let wish = Wish::new(MoveType::Switchover, to.clone(), common);
    operation::run(session, &wish, common).await
}
