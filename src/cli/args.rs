//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Format;

/// Domicile: where each tenant's data lives, why, and how to move it.
#[derive(Debug, Parser)]
#[command(name = "kubectl-domicile", bin_name = "kubectl domicile", version)]
pub struct Cli {
    /// Flags of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags of every verb, named as kubectl names them.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// The kubeconfig's context to use
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The kubeconfig to use
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// The user to act as
    #[arg(long = "as", global = true)]
    pub user: Option<String>,
    /// The namespace of placements
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Placements of all namespaces
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// The format of the output
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Everything at a glance, or one policy; exits with 2 unless all is healthy
    Status(StatusArgs),
    /// Why an object is as it is, and what to do next
    Explain(ExplainArgs),
    /// Foretell who would move and who would stay down if a region were lost; exits with 2 unless
    /// all would be served
    Plan(PlanArgs),
    /// Move a policy's tenants to a standby as planned, without loss
    Switchover(MoveArgs),
    /// Move a policy's tenants to a standby because the active region is lost
    Failover(FailoverArgs),
    /// Bring a policy's tenants home as planned, without loss
    Failback(FailbackArgs),
    /// Agree to an operation that awaits approval
    Approve(ApproveArgs),
    /// Stop automatic moves of a policy
    Pause(PolicyArgs),
    /// Allow automatic moves of a policy again
    Resume(PolicyArgs),
    /// Publish other logins of a placement, with new passwords; those before stay open for a while
    Rotate(RotateArgs),
    /// Print the `RoleBinding` that lets the operator serve a namespace
    Onboard(OnboardArgs),
    /// Print the SQL that makes Domicile's login on a database server
    AdminSql(AdminSqlArgs),
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this `FailoverPolicy`: NAME or policy/NAME
    pub policy: Option<String>,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// KIND/NAME: region/…, placement/…, policy/… or operation/…
    pub object: String,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The region that is thought lost
    #[arg(long, value_name = "REGION")]
    pub lose: String,
    /// Ask these files, or the files of these folders, instead of a cluster; may be given more
    /// than once
    #[arg(short, long, value_name = "PATH")]
    pub file: Vec<PathBuf>,
    /// Where no status tells, take each policy's first standby as synchronous
    #[arg(long)]
    pub synchronous: bool,
}

/// What the three moves share.
#[derive(Debug, Clone, Args)]
pub struct CommonMoveArgs {
    /// The `FailoverPolicy`
    pub policy: String,
    /// The epoch that must still hold; read from the policy's status when absent
    #[arg(long)]
    pub expected_epoch: Option<i64>,
    /// Why, for the record
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Print the YAML twin and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Follow the operation to its end
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub wait: bool,
    /// Most seconds to follow it
    #[arg(long, default_value_t = 600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// `switchover`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// What the moves share.
    #[command(flatten)]
    pub common: CommonMoveArgs,
    /// The region to move to; the only standby when absent
    #[arg(long, value_name = "REGION")]
    pub to: Option<String>,
}

/// `failover`.
#[derive(Debug, Args)]
pub struct FailoverArgs {
    /// What the moves share.
    #[command(flatten)]
    pub common: CommonMoveArgs,
    /// The region to move to; the only standby when absent
    #[arg(long, value_name = "REGION")]
    pub to: Option<String>,
    /// A guard to waive; may be given more than once
    #[arg(long, value_enum, value_delimiter = ',')]
    pub accept: Vec<AcceptArg>,
}

/// `failback`.
#[derive(Debug, Args)]
pub struct FailbackArgs {
    /// What the moves share.
    #[command(flatten)]
    pub common: CommonMoveArgs,
}

/// A guard that a failover waives by name. There is none for the jurisdiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum AcceptArg {
    /// More loss than the objective allows
    #[value(name = "DataLoss", alias = "data-loss")]
    DataLoss,
    /// A weaker fencing proof than the policy's minimum
    #[value(name = "UnprovenFencing", alias = "unproven-fencing")]
    UnprovenFencing,
    /// A failover during the cooldown
    #[value(name = "Cooldown", alias = "cooldown")]
    Cooldown,
}

impl AcceptArg {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataLoss => "DataLoss",
            Self::UnprovenFencing => "UnprovenFencing",
            Self::Cooldown => "Cooldown",
        }
    }
}

/// `approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The `FailoverOperation`
    pub operation: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `pause` and `resume`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// The `FailoverPolicy`
    pub policy: String,
    /// Print the YAML twin and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The `TenantPlacement`: NAME or placement/NAME
    pub placement: String,
    /// Print the YAML twin and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `onboard`.
#[derive(Debug, Args)]
pub struct OnboardArgs {
    /// The namespace that is to hold placements
    #[arg(value_name = "NAMESPACE")]
    pub tenant_namespace: String,
    /// The namespace that the operator runs in
    #[arg(long, default_value = "domicile-system")]
    pub operator_namespace: String,
    /// The name that the chart gave its resources
    #[arg(long, default_value = "domicile")]
    pub fullname: String,
    /// Serve the namespace's `ServiceBindings` alone: no right to publish credentials
    #[arg(long)]
    pub bindings_only: bool,
}

/// `admin-sql`.
#[derive(Debug, Args)]
pub struct AdminSqlArgs {
    /// REGION/SERVER
    pub server: String,
    /// The login's name; read from the server's admin Secret when absent
    #[arg(long)]
    pub role: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kubectl_flags_follow_the_verb() {
        let line = "kubectl-domicile status eu --context c --as bob -n t -o json";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.global.context.as_deref(), Some("c"));
        assert_eq!(cli.global.user.as_deref(), Some("bob"));
        assert_eq!(cli.global.namespace.as_deref(), Some("t"));
    }

    #[test]
    fn the_jurisdiction_can_not_be_waived() {
        let line = [
            "kubectl-domicile",
            "failover",
            "eu",
            "--accept",
            "Jurisdiction",
        ];
        assert!(Cli::try_parse_from(line).is_err());
        let line = [
            "kubectl-domicile",
            "failover",
            "eu",
            "--accept",
            "DataLoss,Cooldown",
        ];
        assert!(Cli::try_parse_from(line).is_ok());
    }
}
