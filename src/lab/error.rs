//! What can go wrong in the lab, said so that a person knows the next step.

use std::path::{Path, PathBuf};

/// The result of everything in the lab.
pub type Result<T> = std::result::Result<T, LabError>;

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A prerequisite is absent.
    #[error("{what} is missing: {hint}")]
    Missing {
        /// What is absent.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// A file or folder could not be read or written.
    #[error("failed to {action} {}", path.display())]
    File {
        /// The verb, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A program ended with a failure.
    #[error("{program} failed: {detail}")]
    Program {
        /// The program and, where it helps, its arguments (never a secret).
        program: String,
        /// The end of its output, or its exit status.
        detail: String,
    },
    /// Something did not happen before its deadline.
    #[error("{what} did not happen within {seconds} s; {detail}")]
    Deadline {
        /// What was awaited.
        what: String,
        /// How long, in seconds.
        seconds: u64,
        /// Where to look, or the last state seen.
        detail: String,
    },
    /// A process that must run has ended.
    #[error("{process} has ended; the end of its log:\n{log}")]
    Ended {
        /// The process.
        process: String,
        /// The end of its log file.
        log: String,
    },
    /// The caller asked to stop (Ctrl-C or SIGTERM).
    #[error("interrupted")]
    Interrupted,
    /// The state of the lab does not allow what was asked.
    #[error("{0}")]
    State(String),
    /// A system call failed.
    #[error("failed to {action}")]
    System {
        /// The verb and its object.
        action: String,
        /// The reason.
        source: std::io::Error,
    },
    /// Keys or certificates could not be made.
    #[error("failed to make the certificate of {name}")]
    Certificate {
        /// The common name.
        name: String,
        /// The reason.
        source: rcgen::Error,
    },
    /// The apiserver refused a call or did not answer.
    #[error("failed to {action}")]
    Kubernetes {
        /// The verb and its object.
        action: String,
        /// The reason.
        source: Box<kube::Error>,
    },
    /// A document was not what it should be.
    #[error("failed to read {what}")]
    Json {
        /// The document.
        what: String,
        /// The reason.
        source: serde_json::Error,
    },
}

impl LabError {
    /// An absent prerequisite.
    pub fn missing(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Missing {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A failed file operation, for `map_err`.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    /// A failed system call, for `map_err`.
    pub fn system<E: Into<std::io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }

    /// A program that failed.
    pub fn program(program: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Program {
            program: program.into(),
            detail: detail.into(),
        }
    }

    /// The message with all its causes, on one line each.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
