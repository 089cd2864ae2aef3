//! The `kubectl-domicile` binary: reads flags, the clock and the terminal, prints, exits.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use domicile_cli::{Cli, CliError, Exit, Outcome, Terminal};

/// Standard error for progress, standard input for answers.
struct Console;

impl Terminal for Console {
    fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    fn say(&mut self, line: &str) {
        // A closed standard error is no reason to stop a failover that is under way.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn ask(&mut self, question: &str) -> std::io::Result<String> {
        write!(std::io::stderr(), "{question} ")?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(Outcome { text, exit }) => {
            let written = std::io::stdout().write_all(text.as_bytes());
            // `kubectl domicile … | head` closes the pipe early; that is no error.
            if written.is_err() {
                Exit::Ok.into()
            } else {
                exit.into()
            }
        }
        Err(error) => {
            Console.say(&format!("error: {}", error.chain()));
            error.exit().into()
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock is read once, here")]
fn start(cli: Cli) -> Result<Outcome, CliError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(domicile_cli::run(cli, jiff::Timestamp::now(), &mut Console))
}
