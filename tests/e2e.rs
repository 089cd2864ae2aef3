//! The whole story on real servers: each scenario breaks something for real and has the checker
//! judge what the tenants were told. One lab serves all scenarios of one PostgreSQL version.
//!
//! Needs Linux and root, and the built programs (`cargo build --workspace --bins`). Arguments that
//! are no flags choose scenarios by a part of their name; `--list` names them.
#![expect(
    clippy::print_stdout,
    reason = "a test program of its own, without libtest"
)]

mod e2e {
    pub(crate) mod asynchronous;
    pub(crate) mod clusters;
    pub(crate) mod copy;
    pub(crate) mod crash;
    pub(crate) mod latch;
    pub(crate) mod leases;
    pub(crate) mod loss;
    pub(crate) mod outputs;
    pub(crate) mod passes;
    pub(crate) mod patroni;
    pub(crate) mod planned;
    pub(crate) mod receiver;
    pub(crate) mod settled;
    pub(crate) mod suspended;
    pub(crate) mod veto;
    pub(crate) mod world;
}

use std::process::ExitCode;
use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::{Engine, LabError, Postgres, Result};

use e2e::world::World;
use e2e::{
    asynchronous, clusters, copy, crash, leases, loss, outputs, patroni, planned, settled,
    suspended, veto,
};

/// A scenario: its name says the fact, its function returns what is worth telling.
struct Scenario {
    name: &'static str,
    /// Also run on the second PostgreSQL.
    everywhere: bool,
    run: fn(&World) -> Result<String>,
}

const fn scenario(
    name: &'static str,
    everywhere: bool,
    run: fn(&World) -> Result<String>,
) -> Scenario {
    Scenario {
        name,
        everywhere,
        run,
    }
}

/// In this order: the last ones look at what all the others left.
const SCENARIOS: [Scenario; 29] = [
    // Faults: 53.
    scenario(
        "killed_primary_loses_no_row_and_tenants_come_home",
        true,
        loss::kill,
    ),
    // Faults: 55.
    scenario(
        "frozen_primary_loses_no_row_and_tenants_come_home",
        true,
        loss::freeze,
    ),
    // Faults: 54, 71, 78.
    scenario(
        "cut_primary_acknowledges_nothing_to_a_writer_inside",
        true,
        loss::cut,
    ),
    scenario(
        "switchover_and_back_lose_no_row",
        true,
        planned::there_and_back,
    ),
    scenario(
        "stale_epoch_is_refused",
        false,
        planned::stale_epoch_is_refused,
    ),
    scenario(
        "automatic_failback_brings_tenants_home",
        false,
        planned::automatic_failback,
    ),
    // Faults: 74.
    scenario("live_stream_vetoes_a_failover", true, veto::live_stream),
    scenario(
        "suspended_region_may_be_silent_and_nobody_moves",
        false,
        suspended::silent,
    ),
    // Faults: 64.
    scenario(
        "asynchronous_kill_moves_within_the_bound",
        true,
        asynchronous::assumed,
    ),
    scenario(
        "weaker_proof_is_blocked_until_accepted",
        false,
        asynchronous::blocked,
    ),
    scenario(
        "without_a_fence_the_checker_sees_two_writers",
        true,
        asynchronous::control,
    ),
    // Faults: 78.
    scenario(
        "agent_fences_a_cut_asynchronous_primary_before_another_is_promoted",
        true,
        leases::cut,
    ),
    // Faults: 78.
    scenario(
        "agent_killed_with_its_region_cut_leaves_the_fence_to_the_other",
        false,
        leases::cut_and_killed,
    ),
    // Faults: 36, 39.
    scenario(
        "losing_the_hub_stops_no_primary_that_lives_on_promises",
        false,
        leases::hub_lost,
    ),
    scenario(
        "region_is_lost_with_its_cluster_and_the_others_pods_follow",
        false,
        clusters::lost_with_its_region,
    ),
    // Faults: 44.
    scenario("operator_killed_while_suspect", false, crash::suspect),
    // Faults: 44.
    scenario("operator_killed_in_outage", false, crash::outage),
    // Faults: 44.
    scenario("operator_killed_while_fencing", false, crash::fencing),
    // Faults: 44.
    scenario(
        "operator_killed_while_catching_up",
        false,
        crash::catching_up,
    ),
    // Faults: 44, 46.
    scenario("operator_killed_while_promoting", false, crash::promoting),
    // Faults: 44.
    scenario("operator_killed_while_rerouting", false, crash::rerouting),
    // Faults: 44.
    scenario("operator_killed_while_verifying", false, crash::verifying),
    // Faults: 44.
    scenario("operator_killed_while_draining", false, crash::draining),
    // Faults: 44.
    scenario("operator_killed_while_aborting", false, crash::aborting),
    // Faults: 44.
    scenario("operator_killed_while_blocked", false, crash::blocked),
    // Faults: 44.
    scenario(
        "operator_killed_while_awaiting_approval",
        false,
        crash::awaiting_approval,
    ),
    scenario("settled_world_costs_no_write", false, settled::nothing),
    // Faults: 28.
    scenario(
        "no_secret_in_any_output_and_no_eu_row_abroad",
        true,
        outputs::clean,
    ),
    scenario(
        "uninstalling_leaves_tenants_alone",
        false,
        outputs::uninstall,
    ),
];

/// In a lab where Patroni runs the servers.
const UNDER_PATRONI: [Scenario; 2] = [
    // Faults: 72.
    scenario(
        "killed_region_is_fenced_reported_and_rejoined_and_tenants_come_home_hands_free",
        false,
        patroni::hands_free,
    ),
    // Faults: 72.
    scenario(
        "what_an_old_primary_alone_holds_is_copied_by_a_pod_before_it_is_undone",
        false,
        copy::kept,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for one in SCENARIOS.iter().chain(&UNDER_PATRONI) {
            println!("{}: test", one.name);
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments
        .iter()
        .filter(|one| !one.starts_with('-'))
        .collect();
    let chosen = |one: &&Scenario| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| one.name.contains(filter.as_str()))
    };
    let mut tally = Tally::default();
    for (postgres, engine) in [
        (Postgres::System, Engine::Plain),
        (Postgres::V18, Engine::Plain),
        (Postgres::System, Engine::Patroni),
    ] {
        let all = match engine {
            Engine::Plain => &SCENARIOS[..],
            Engine::Patroni => &UNDER_PATRONI[..],
        };
        let scenarios: Vec<_> = all
            .iter()
            .filter(chosen)
            .filter(|one| one.everywhere || postgres == Postgres::System)
            .collect();
        if scenarios.is_empty() {
            continue;
        }
        if let Err(error) = run_all((postgres, engine), &scenarios, &mut tally) {
            println!("error: {}", error.report());
            tally.failed.push(("the lab".to_owned(), error.report()));
        }
    }
    tally.finish()
}

#[derive(Default)]
struct Tally {
    passed: usize,
    /// Names, each with what went wrong.
    failed: Vec<(String, String)>,
}

/// Runs scenarios on one lab. One that fails may leave anything behind, so that the next one gets
/// a new lab. The lab is taken down at the end.
fn run_all(
    (postgres, engine): (Postgres, Engine),
    scenarios: &[&Scenario],
    tally: &mut Tally,
) -> Result<()> {
    let version = match (postgres, engine) {
        (Postgres::System, Engine::Plain) => "system",
        (Postgres::V18, Engine::Plain) => "18",
        (Postgres::System, Engine::Patroni) => "patroni",
        (Postgres::V18, Engine::Patroni) => "18-patroni",
    };
    println!(
        "\nrunning {} scenarios with PostgreSQL {version}",
        scenarios.len()
    );
    let mut world: Option<World> = None;
    for one in scenarios {
        let current = match world.take() {
            Some(current) => current,
            None => World::begin(postgres, engine, &mut |step| println!("  {step}"))?,
        };
        let begun = monotonic()?;
        let outcome = current.ready().and_then(|()| (one.run)(&current));
        let took = Duration::from_nanos(monotonic()? - begun).as_secs_f64();
        let name = format!("{}@{version}", one.name);
        match outcome {
            Ok(told) => {
                println!("test {name} ... ok ({took:.1} s) {told}");
                tally.passed += 1;
                world = Some(current);
            }
            Err(error) => {
                println!("test {name} ... FAILED ({took:.1} s)\n  {}", error.report());
                println!("{}", current.diagnosis());
                tally.failed.push((name, error.report()));
                current.end()?;
            }
        }
        if matches!(tally.failed.len(), 4..) {
            let text = "more than three scenarios failed: the rest is not run";
            return Err(LabError::State(text.to_owned()));
        }
    }
    world.map_or(Ok(()), World::end)
}

impl Tally {
    fn finish(self) -> ExitCode {
        let Self { passed, failed } = self;
        // A run that tried nothing proves nothing.
        let well = failed.is_empty() && passed > 0;
        let word = if well { "ok" } else { "FAILED" };
        // Once more, after all the logs between.
        for (name, why) in &failed {
            println!("failed: {name}: {why}");
        }
        println!(
            "\ntest result: {word}. {passed} passed; {} failed",
            failed.len()
        );
        if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
