//! What the process is told when it starts. Read once, in `main`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domicile_core::names::RegionName;

use crate::agent::region_file;

/// The command line of `domicile`.
#[derive(Debug, Parser)]
#[command(
    name = "domicile",
    version,
    about = "Keeps every tenant's data in its domicile"
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `domicile` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until it is told to stop.
    Run(Settings),
    /// Run beside the database servers of a region: renew write leases, and fence before they end.
    Agent(AgentSettings),
    /// Print the custom resource definitions as YAML.
    Crds(CrdsSettings),
}

/// Which definitions to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct CrdsSettings {
    /// Those of servicebinding.io instead of our own, for a cluster without another
    /// implementation.
    #[arg(long)]
    pub service_bindings: bool,
}

/// The agent's settings.
#[derive(Debug, Clone, Args)]
pub struct AgentSettings {
    /// The region whose database servers stand beside this process.
    #[arg(long)]
    pub region: RegionName,
    /// A policy with a server in this region; may be given more than once.
    #[arg(long = "policy", required = true)]
    pub policies: Vec<String>,
    /// Kubeconfig of the hub [default: `$KUBECONFIG`, else the pod's service account].
    #[arg(long)]
    pub hub_kubeconfig: Option<PathBuf>,
    /// Kubeconfig of the cluster of a standby's region, as REGION=FILE, where promises are kept;
    /// may be given more than once.
    #[arg(long = "standby-cluster", value_parser = region_file)]
    pub standby_clusters: Vec<(RegionName, PathBuf)>,
    /// Namespace of the Leases, in the hub and in the standbys' clusters
    /// [default: `$POD_NAMESPACE`, else domicile-system].
    #[arg(long)]
    pub namespace: Option<String>,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// What to log, as a `tracing` filter.
    #[arg(long, default_value = "info")]
    pub log: String,
}

impl AgentSettings {
    /// The settings of the process, for what agent and operator have in common.
    pub fn process(&self, environment: Environment, start: u64) -> Settings {
        let settings = Settings {
            namespace: self.namespace.clone(),
            identity: None,
            lease: String::new(),
            listen: self.listen,
            log: self.log.clone(),
            call_timeout_seconds: 10,
            concurrency: 1,
            drift_interval_seconds: 600,
            service_bindings: ServiceBindings::Never,
        };
        settings.complete(environment, start)
    }
}

/// The operator's settings.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Namespace of the operator: its lease, and Secrets whose reference names no namespace
    /// [default: `$POD_NAMESPACE`, else domicile-system].
    #[arg(long)]
    pub namespace: Option<String>,
    /// Name of this replica [default: `$POD_NAME`, else `$HOSTNAME`, else domicile].
    #[arg(long)]
    pub identity: Option<String>,
    /// Name of the lease that makes one replica the leader.
    #[arg(long, default_value = "domicile-operator")]
    pub lease: String,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// What to log, as a `tracing` filter.
    #[arg(long, default_value = "info")]
    pub log: String,
    /// Longest wait for one answer of the API server, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub call_timeout_seconds: u64,
    /// Most objects of one kind that are worked on at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,
    /// Longest time until a Secret, login or grant that somebody changed is put back, in seconds;
    /// with few tenants it is sooner.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub drift_interval_seconds: u64,
    /// Whether to reconcile the kinds of servicebinding.io.
    #[arg(long, value_enum, default_value_t = ServiceBindings::Auto, ignore_case = true)]
    pub service_bindings: ServiceBindings,
}

/// Whether to reconcile the kinds of `servicebinding.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceBindings {
    /// Where this chart brought the definitions, and no other implementation shows its hand.
    Auto,
    /// Always: nobody else does.
    Always,
    /// No binding is begun or changed; those that were begun are still let go when deleted.
    Never,
}

/// The parts of the environment that have a meaning.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
    /// `POD_NAME`.
    pub pod_name: Option<String>,
    /// `HOSTNAME`.
    pub hostname: Option<String>,
}

impl Settings {
    /// Fills what no flag gave from the environment. `start` tells two processes of one name
    /// apart, so that a restarted leader never takes itself for the one before.
    #[must_use]
    pub fn complete(mut self, environment: Environment, start: u64) -> Self {
        let Environment {
            pod_namespace,
            pod_name,
            hostname,
        } = environment;
        let name = self.identity.take().or(pod_name).or(hostname);
        let name = name.unwrap_or_else(|| "domicile".to_owned());
        self.identity = Some(format!("{name}_{start:016x}"));
        self.namespace = self.namespace.take().or(pod_namespace);
        self
    }

    /// The operator's own namespace.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("domicile-system")
    }

    /// Who this process is: its replica's name and its start.
    pub fn identity(&self) -> &str {
        self.identity.as_deref().unwrap_or("domicile")
    }

    /// Longest time until a drift is found.
    pub fn drift(&self) -> Duration {
        Duration::from_secs(self.drift_interval_seconds)
    }

    /// Longest wait for one answer of the API server.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_secs(self.call_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Settings {
        match CommandLine::parse_from(arguments).command {
            Command::Run(settings) => settings,
            Command::Crds(_) | Command::Agent(_) => panic!("run was asked for"),
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let environment = Environment {
            pod_namespace: Some("env".to_owned()),
            pod_name: Some("pod-1".to_owned()),
            hostname: None,
        };
        let flags = run(&["domicile", "run", "--namespace", "flag"]);
        let settings = flags.complete(environment, 7);
        assert_eq!(settings.namespace(), "flag");
        assert_eq!(settings.identity(), "pod-1_0000000000000007");
    }

    #[test]
    fn two_starts_of_one_replica_have_two_identities() {
        let first = run(&["domicile", "run"]).complete(Environment::default(), 1);
        let second = run(&["domicile", "run"]).complete(Environment::default(), 2);
        assert_ne!(first.identity(), second.identity());
    }
}
