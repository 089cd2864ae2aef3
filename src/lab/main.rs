//! `domicile-lab`: brings the lab up, breaks it on request, takes it down.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod cli;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    cli::main()
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::print_stderr, reason = "a program for a terminal")]
fn main() -> ExitCode {
    eprintln!(
        "error: Linux is missing: the lab is made of its namespaces. Without it, the tests of api \
         and core work, and kind with kind-config.yaml gives a cluster."
    );
    ExitCode::FAILURE
}
