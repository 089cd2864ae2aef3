//! Logs and figures. No label names a tenant.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

use crate::tally::Tally;

/// What the name of each figure begins with.
const PREFIX: &str = "domicile";

type Fraction = Gauge<f64, AtomicU64>;
type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// Writes JSON logs to standard error, filtered by `filter`; an unreadable filter means `info`.
pub fn log(filter: &str) {
    let filter = secret_free(filter);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

/// `filter` without the finer levels of the database driver, whatever it asks for: they show every
/// statement, and some of those hold the verifier of a password.
fn secret_free(filter: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let caps = DRIVER.iter().filter_map(|cap| cap.parse().ok());
    caps.fold(filter, EnvFilter::add_directive)
}

/// The driver, and those of its modules that log statements, lest a filter names them.
const DRIVER: [&str; 3] = [
    "tokio_postgres=info",
    "tokio_postgres::simple_query=info",
    "tokio_postgres::prepare=info",
];

/// A database server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServerLabels {
    /// The region's name.
    pub region: String,
    /// The server's name in it.
    pub server: String,
}

/// A standby of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReplicaLabels {
    /// The policy's name.
    pub policy: String,
    /// The standby's region.
    pub region: String,
}

/// A step of the failover machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabels {
    /// The step's name.
    pub step: String,
}

/// A move that ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailoverLabels {
    /// The policy's name.
    pub policy: String,
    /// The region it left.
    pub from: String,
    /// The region it went to.
    pub to: String,
    /// Who asked for it.
    pub trigger: String,
    /// How it ended.
    pub outcome: String,
}

/// A controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ControllerLabels {
    /// The controller's name.
    pub controller: String,
}

/// A controller's errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// The controller's name.
    pub controller: String,
    /// The error's class.
    pub class: &'static str,
}

/// The operator's figures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// 1 while the verdict on the server is `Up`.
    pub region_up: Family<ServerLabels, Gauge>,
    /// Time that a probe took.
    pub probe_duration: Seconds<ServerLabels>,
    /// Age of the last heartbeat that a standby has replayed: an upper bound of its lag.
    pub replication_lag: Family<ReplicaLabels, Fraction>,
    /// Time that a step of a move took.
    pub failover_step: Seconds<StepLabels>,
    /// Moves that ended.
    pub failovers: Family<FailoverLabels, Counter>,
    /// Reconciles.
    pub reconciles: Family<ControllerLabels, Counter>,
    /// Reconciles that failed.
    pub reconcile_errors: Family<ErrorLabels, Counter>,
    /// Time that a reconcile took.
    pub reconcile_duration: Seconds<ControllerLabels>,
    /// 1 on the replica that leads.
    pub leader: Gauge,
    /// 1 while changes of workloads are told by watches, 0 while they are looked for.
    pub workloads_watched: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            region_up: Family::default(),
            probe_duration: Family::new_with_constructor(short),
            replication_lag: Family::default(),
            failover_step: Family::new_with_constructor(long),
            failovers: Family::default(),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_duration: Family::new_with_constructor(short),
            leader: Gauge::default(),
            workloads_watched: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// All figures in the text format of `OpenMetrics`, with those of placements.
    pub fn text(&self, placements: &Tally) -> String {
        let mut counted = Registry::with_prefix(PREFIX);
        let help = "Placements, by what a condition of theirs says";
        counted.register("placements", help, placements.gauges());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode_registry(&mut text, &self.registry);
        let _ = text::encode(&mut text, &counted);
        text
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "region_up",
            "Whether the server answers",
            self.region_up.clone(),
        );
        let seconds = || Unit::Seconds;
        let probe = self.probe_duration.clone();
        registry.register_with_unit("region_probe_duration", "Time of a probe", seconds(), probe);
        let lag = self.replication_lag.clone();
        let help = "Age of the last heartbeat that the standby replayed";
        registry.register_with_unit("replication_lag", help, seconds(), lag);
        let step = self.failover_step.clone();
        registry.register_with_unit("failover_step", "Time of a step of a move", seconds(), step);
        registry.register("failovers", "Moves that ended", self.failovers.clone());
        registry.register("reconcile", "Reconciles", self.reconciles.clone());
        let errors = self.reconcile_errors.clone();
        registry.register("reconcile_errors", "Reconciles that failed", errors);
        let time = self.reconcile_duration.clone();
        registry.register_with_unit("reconcile_duration", "Time of a reconcile", seconds(), time);
        registry.register("leader", "Whether this replica leads", self.leader.clone());
        let watched = self.workloads_watched.clone();
        registry.register(
            "workloads_watched",
            "Whether workloads are watched",
            watched,
        );
    }
}

/// Milliseconds as the seconds that metrics count in.
pub fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 12))
}

fn long() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.5, 12))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let lines = self.0.lock();
            lines.unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Faults: 28.
    #[test]
    fn no_level_of_the_log_shows_a_statement() {
        for filter in ["debug", "trace", "tokio_postgres::simple_query=trace,debug"] {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(secret_free(filter))
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!(target: "tokio_postgres::simple_query", "ALTER ROLE PASSWORD");
                tracing::debug!(target: "tokio_postgres::prepare", "ALTER ROLE PASSWORD");
                tracing::debug!(target: "domicile_operator", "a pass");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("a pass"), "{filter}: {text}");
            assert!(!text.contains("PASSWORD"), "{filter}: {text}");
        }
    }

    /// One figure of each kind.
    fn filled() -> Metrics {
        let metrics = Metrics::default();
        let server = ServerLabels {
            region: "eu".to_owned(),
            server: "main".to_owned(),
        };
        metrics.region_up.get_or_create(&server).set(1);
        metrics.probe_duration.get_or_create(&server).observe(0.01);
        let replica = ReplicaLabels {
            policy: "p".to_owned(),
            region: "eu".to_owned(),
        };
        metrics.replication_lag.get_or_create(&replica).set(0.5);
        let step = StepLabels {
            step: "Fencing".to_owned(),
        };
        metrics.failover_step.get_or_create(&step).observe(0.5);
        let word = || "w".to_owned();
        let moved = FailoverLabels {
            policy: word(),
            from: word(),
            to: word(),
            trigger: word(),
            outcome: word(),
        };
        metrics.failovers.get_or_create(&moved).inc();
        let controller = ControllerLabels {
            controller: "region".to_owned(),
        };
        metrics.reconciles.get_or_create(&controller).inc();
        let error = ErrorLabels {
            controller: word(),
            class: "Config",
        };
        metrics.reconcile_errors.get_or_create(&error).inc();
        metrics
            .reconcile_duration
            .get_or_create(&controller)
            .observe(0.1);
        metrics
    }

    #[test]
    fn the_figures_have_their_agreed_names() {
        let text = filled().text(&Tally::default());
        for expected in [
            "domicile_region_up{region=\"eu\",server=\"main\"} 1",
            "domicile_region_probe_duration_seconds_count{region=\"eu\",server=\"main\"} 1",
            "domicile_replication_lag_seconds{policy=\"p\",region=\"eu\"} 0.5",
            "domicile_reconcile_total{controller=\"region\"} 1",
            "domicile_reconcile_duration_seconds_count{controller=\"region\"} 1",
            "domicile_leader 0",
            "domicile_workloads_watched 0",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    /// The rules that users copy ask for nothing else.
    #[test]
    fn each_figure_is_in_the_table_of_the_documents_and_no_other_is_named_there() {
        let document = include_str!("../../docs/metrics.md");
        let new: &[Condition] = &[];
        let text = filled().text(&Tally::count([new].into_iter()));
        let figures = text.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            let suffix = if kind == "counter" { "_total" } else { "" };
            Some(format!("{name}{suffix}"))
        });
        let figures: BTreeSet<String> = figures.collect();
        assert_eq!(figures.len(), 11, "{figures:?}");
        for name in &figures {
            let row = format!("\n| `{name}` |");
            assert!(document.contains(&row), "{name} is not in the table");
        }
        let apart = |c: char| !c.is_ascii_lowercase() && c != '_';
        let named = document.split(apart);
        for name in named.filter(|word| word.starts_with("domicile_")) {
            assert!(figures.contains(name), "{name} is none of the figures");
        }
    }
}
