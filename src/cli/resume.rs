//! `resume`: automatic moves of a policy are allowed again. YAML twin: `spec.paused: false`.

use crate::args::PolicyArgs;
use crate::error::CliError;
use crate::output::Outcome;
use crate::pause::set;
use crate::session::Session;

/// Resumes the policy.
///
/// # Errors
/// When the policy does not exist or may not be changed.
pub async fn run(session: &mut Session<'_>, args: &PolicyArgs) -> Result<Outcome, CliError> {
    set(session, args, false).await
}
