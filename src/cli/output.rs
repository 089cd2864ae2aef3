//! What a verb hands back, and in which format.

use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// The exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or healthy.
    Ok,
    /// 1: it did not work.
    Error,
    /// 2: it works, but what it shows is not healthy.
    Degraded,
    /// 3: a rule or a person said no.
    Refused,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Degraded => 2,
            Self::Refused => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What a verb printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output, ending with a line break.
    pub text: String,
    /// The exit code.
    pub exit: Exit,
}

impl Outcome {
    /// Text, and all went well.
    pub fn text(text: String) -> Self {
        Self {
            text,
            exit: Exit::Ok,
        }
    }

    /// `body` in `format`; for people, rendered from the very JSON that programs get.
    ///
    /// # Errors
    /// When `body` cannot be serialised.
    pub fn of(
        body: &impl Serialize,
        format: Format,
        render: fn(&Value) -> String,
        exit: Exit,
    ) -> Result<Self, CliError> {
        let json = serde_json::to_value(body).map_err(|error| CliError::Output {
            what: "JSON",
            source: Box::new(error),
        })?;
        let text = match format {
            Format::Text => render(&json),
            Format::Json => format!("{json:#}\n"),
            Format::Yaml => yaml(&json)?,
        };
        Ok(Self { text, exit })
    }
}

/// A value as YAML, ending with a line break.
///
/// # Errors
/// When the value cannot be serialised.
pub fn yaml(value: &impl Serialize) -> Result<String, CliError> {
    let text = serde_saphyr::to_string(value).map_err(|error| CliError::Output {
        what: "YAML",
        source: Box::new(error),
    })?;
    Ok(format!("{}\n", text.trim_end()))
}
