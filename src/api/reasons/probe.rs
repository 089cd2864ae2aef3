//! The reasons that probes have.

use domicile_core::health::ProbeFailure;

use super::Reason;

impl From<ProbeFailure> for Reason {
    fn from(failure: ProbeFailure) -> Self {
        match failure {
            ProbeFailure::Unreachable => Self::Unreachable,
            ProbeFailure::TimedOut => Self::ProbeTimedOut,
            ProbeFailure::CertificateInvalid => Self::CertificateInvalid,
            ProbeFailure::CredentialsDenied => Self::CredentialsDenied,
            ProbeFailure::TooManyConnections => Self::TooManyConnections,
            ProbeFailure::NotAccepting => Self::NotAcceptingConnections,
            ProbeFailure::WrongServer => Self::WrongServer,
            ProbeFailure::VersionUnsupported => Self::VersionUnsupported,
            ProbeFailure::Unexpected => Self::UnexpectedAnswer,
        }
    }
}
