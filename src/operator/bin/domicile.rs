//! `domicile`: the operator.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command"
)]

use std::process::ExitCode;

use clap::Parser;
use domicile_operator::run::RunError;
use domicile_operator::settings::{Command, CommandLine, CrdsSettings, Environment};
use domicile_operator::{agent, controllers, run, telemetry};
use tracing::error;

fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(settings) => {
            let settings = settings.complete(environment(), rand::random());
            let log = settings.log.clone();
            operate(&log, run::run(settings))
        }
        Command::Agent(settings) => {
            let process = settings.process(environment(), rand::random());
            operate(&settings.log.clone(), agent::run(settings, process))
        }
        Command::Crds(which) => print_crds(which),
    }
}

fn operate(log: &str, process: impl Future<Output = Result<(), RunError>>) -> ExitCode {
    telemetry::log(log);
    // Only an earlier call could make it fail, and then a provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("domicile: cannot start a runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(process);
    // What still blocks must not keep the process: another replica may lead by now.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = controllers::chain(&error), "Ending");
            ExitCode::FAILURE
        }
    }
}

fn print_crds(which: CrdsSettings) -> ExitCode {
    let text = if which.service_bindings {
        domicile_operator::service_binding_crds()
    } else {
        domicile_operator::crds()
    };
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("domicile: the definitions cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read once, here"
)]
fn environment() -> Environment {
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Environment {
        pod_namespace: read("POD_NAMESPACE"),
        pod_name: read("POD_NAME"),
        hostname: read("HOSTNAME"),
    }
}
