//! What can end a verb early.

use std::error::Error;

use crate::output::Exit;

/// Why a verb did not do what was asked. Messages name the object, the fact and the next step.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The asynchronous runtime could not start.
    #[error("the runtime could not start")]
    Runtime(#[source] std::io::Error),
    /// No usable kubeconfig and not inside a cluster.
    #[error("no cluster to talk to ({0}); give --kubeconfig or --context")]
    Config(String),
    /// The API server refused or could not be reached.
    #[error("cannot {doing}")]
    Kube {
        /// What was being done, as the end of a sentence.
        doing: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A call took longer than its deadline.
    #[error("cannot {doing}: no answer within {seconds} s")]
    Deadline {
        /// What was being done, as the end of a sentence.
        doing: String,
        /// The deadline, in seconds.
        seconds: u64,
    },
    /// The object named does not exist.
    #[error("{kind} {name:?} does not exist{place}; see: kubectl get {plural} -A")]
    NotFound {
        /// The kind.
        kind: &'static str,
        /// The plural, for kubectl.
        plural: &'static str,
        /// The name as it was given.
        name: String,
        /// ` in namespace …` for a kind that has namespaces; empty else.
        place: String,
    },
    /// The arguments do not make sense together.
    #[error("{0}")]
    Usage(String),
    /// A rule or a person said no.
    #[error("refused: {0}")]
    Refused(String),
    /// The output could not be written as asked.
    #[error("cannot write {what}")]
    Output {
        /// What was being written.
        what: &'static str,
        /// The writer's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl CliError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Runtime(_)
            | Self::Config(_)
            | Self::Kube { .. }
            | Self::Deadline { .. }
            | Self::NotFound { .. }
            | Self::Usage(_)
            | Self::Output { .. } => Exit::Error,
        }
    }

    /// The message and those of its causes, in one line.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        if let Self::Kube { source, .. } = self
            && let kube::Error::Api(status) = &**source
        {
            // The API server's own sentence; the client would add the whole answer to it.
            return format!("{line}: {}", status.message);
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }
        line
    }

    /// Whether the API server said no to this user.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(403)
    }

    /// Whether the object changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// The API server's status, when it answered.
    fn status(&self) -> Option<u16> {
        let Self::Kube { source, .. } = self else {
            return None;
        };
        let kube::Error::Api(status) = &**source else {
            return None;
        };
        Some(status.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_servers_sentence_is_shown_once_and_alone() {
        let status = kube::core::Status::failure("no such right", "Forbidden").with_code(403);
        let source = Box::new(kube::Error::Api(Box::new(status)));
        let error = CliError::Kube {
            doing: "read region/eu".to_owned(),
            source,
        };
        assert_eq!(error.chain(), "cannot read region/eu: no such right");
        assert!(error.is_forbidden());
        assert_eq!(error.exit(), Exit::Error);
    }
}
