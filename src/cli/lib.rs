//! `kubectl domicile`: one file per verb. Text is rendered from the JSON that `-o json` prints, and
//! each verb that changes desired state has a YAML twin.

pub mod admin_sql;
pub mod advice;
pub mod approve;
pub mod args;
pub mod client;
pub mod error;
pub mod explain;
pub mod failback;
pub mod failover;
pub mod findings;
pub mod json;
pub mod kinds;
pub mod onboard;
pub mod operation;
pub mod output;
pub mod pause;
pub mod plan;
pub mod report;
pub mod resume;
pub mod rotate;
pub mod session;
pub mod status;
pub mod switchover;
pub mod text;
pub mod world;

pub use args::Cli;
pub use error::CliError;
pub use output::{Exit, Outcome};
pub use session::Terminal;

use args::Verb;
use session::Session;

/// Runs one command: `now` is the caller's clock, `terminal` takes progress and gives answers.
///
/// # Errors
/// Whatever kept the verb from ending: an unreachable cluster, a missing object, a refusal.
pub async fn run(
    cli: Cli,
    now: jiff::Timestamp,
    terminal: &mut dyn Terminal,
) -> Result<Outcome, CliError> {
    let Cli { global, verb } = cli;
    // These only print; they work where no cluster is.
    if let Verb::Onboard(args) = &verb {
        return Ok(Outcome::text(onboard::run(args)));
    }
    if let Verb::AdminSql(args) = &verb
        && args.role.is_some()
    {
        return admin_sql::offline(args);
    }
    if let Verb::Plan(args) = &verb
        && !args.file.is_empty()
    {
        return plan::offline(args, now, global.output);
    }
    let mut session = Session::open(&global, now, terminal).await?;
    match verb {
        Verb::Status(args) => status::run(&mut session, &args).await,
        Verb::Explain(args) => explain::run(&mut session, &args).await,
        Verb::Plan(args) => plan::run(&mut session, &args).await,
        Verb::Switchover(args) => switchover::run(&mut session, &args).await,
        Verb::Failover(args) => failover::run(&mut session, &args).await,
        Verb::Failback(args) => failback::run(&mut session, &args).await,
        Verb::Approve(args) => approve::run(&mut session, &args).await,
        Verb::Pause(args) => pause::run(&mut session, &args).await,
        Verb::Resume(args) => resume::run(&mut session, &args).await,
        Verb::Rotate(args) => rotate::run(&mut session, &args).await,
        Verb::Onboard(args) => Ok(Outcome::text(onboard::run(&args))),
        Verb::AdminSql(args) => admin_sql::run(&mut session, &args).await,
    }
}

#[cfg(test)]
mod schema_tests;
