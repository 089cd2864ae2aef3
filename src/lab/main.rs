//! `domicile-lab`: brings the lab up, breaks it on request, takes it down.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use domicile_lab::{LabError, init};

/// Real servers for demo and tests, on one Linux machine as root.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Begins the private space; for the lab itself.
    #[command(hide = true)]
    Begin {
        #[arg(long)]
        dir: PathBuf,
    },
    /// First process of the private space; for the lab itself.
    #[command(hide = true)]
    Init {
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<(), LabError> {
    match verb {
        Verb::Begin { dir } => {
            let program = std::env::current_exe().map_err(LabError::system("find this program"))?;
            let pid = init::begin(&program, &dir)?;
            println!("{pid}");
            Ok(())
        }
        Verb::Init { dir } => init::init(&dir),
    }
}
