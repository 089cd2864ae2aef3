//! From single probes to a verdict, with thresholds both ways.

use crate::facts::Facts;

/// Why a probe failed. Each is a different thing to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeFailure {
    /// No TCP connection, or it broke.
    Unreachable,
    /// TCP works, but no answer came in time.
    TimedOut,
    /// The certificate does not verify, or the server speaks no TLS.
    CertificateInvalid,
    /// The login was refused (28P01, 28000).
    CredentialsDenied,
    /// No connection slot was free (53300): the server is alive.
    TooManyConnections,
    /// The server starts up, shuts down or recovers (57P03).
    NotAccepting,
    /// Another server answers at this address: its system identifier is not the recorded one.
    WrongServer,
    /// Older than the oldest version that Domicile supports.
    VersionUnsupported,
    /// It answered something that the probe does not understand.
    Unexpected,
}

impl ProbeFailure {
    /// Whether this failure says that the *database* may be gone. A refused login, a certificate
    /// that does not verify or a foreign server is a fault of the configuration and never moves a
    /// tenant; a server without a free slot is alive.
    pub fn suggests_outage(self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut | Self::NotAccepting => true,
            Self::CertificateInvalid
            | Self::CredentialsDenied
            | Self::TooManyConnections
            | Self::WrongServer
            | Self::VersionUnsupported
            | Self::Unexpected => false,
        }
    }

    /// The condition reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::TimedOut => "ProbeTimedOut",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::CredentialsDenied => "CredentialsDenied",
            Self::TooManyConnections => "TooManyConnections",
            Self::NotAccepting => "NotAcceptingConnections",
            Self::WrongServer => "WrongServer",
            Self::VersionUnsupported => "VersionUnsupported",
            Self::Unexpected => "UnexpectedAnswer",
        }
    }
}

/// The outcome of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The server answered.
    Answered(Box<Facts>),
    /// It did not; the text is for people and holds no secret.
    Failed(ProbeFailure, String),
}

/// How many probes in a row change a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures in a row until `Down`.
    pub fall: u32,
    /// Successes in a row until `Up` again.
    pub rise: u32,
}

/// What is believed of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Not probed yet.
    #[default]
    Unknown,
    /// Answers.
    Up,
    /// Was up and has failed some probes, fewer than the threshold.
    Failing {
        /// Failures in a row that suggest an outage.
        failures: u32,
    },
    /// Failed the threshold of probes in a row, each suggesting an outage.
    Down,
    /// Was down and has answered some probes, fewer than the threshold.
    Recovering {
        /// Successes in a row.
        successes: u32,
    },
    /// Refuses us for a reason that is not an outage.
    Refusing(ProbeFailure),
}

/// The verdict after one more probe.
///
/// A failure that does not suggest an outage neither counts towards `Down` nor ends it: a server
/// that was down and now refuses the login stays `Down` for the machine only until it answers.
#[must_use]
pub fn judge(before: Verdict, probe: &Probe, thresholds: Thresholds) -> Verdict {
    match probe {
        Probe::Answered(_) => rise(before, thresholds.rise),
        Probe::Failed(failure, _) if failure.suggests_outage() => fall(before, thresholds.fall),
        Probe::Failed(failure, _) => Verdict::Refusing(*failure),
    }
}

fn rise(before: Verdict, threshold: u32) -> Verdict {
    let successes = match before {
        Verdict::Unknown | Verdict::Up | Verdict::Failing { .. } | Verdict::Refusing(_) => {
            return Verdict::Up;
        }
        Verdict::Down => 1,
        Verdict::Recovering { successes } => successes.saturating_add(1),
    };
    if successes >= threshold {
        Verdict::Up
    } else {
        Verdict::Recovering { successes }
    }
}

fn fall(before: Verdict, threshold: u32) -> Verdict {
    let failures = match before {
        Verdict::Down | Verdict::Recovering { .. } => return Verdict::Down,
        Verdict::Unknown | Verdict::Up | Verdict::Refusing(_) => 1,
        Verdict::Failing { failures } => failures.saturating_add(1),
    };
    if failures >= threshold {
        Verdict::Down
    } else {
        Verdict::Failing { failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Thresholds = Thresholds { fall: 3, rise: 2 };

    fn failed(failure: ProbeFailure) -> Probe {
        Probe::Failed(failure, String::new())
    }

    fn facts() -> Facts {
        Facts {
            system_identifier: "7".into(),
            major_version: 18,
            version: "18.4".into(),
            role: crate::facts::Role::Primary,
            timeline: 1,
            position: crate::facts::Lsn(1),
            recovered: None,
            received: None,
            receiver: None,
            senders: Vec::new(),
            synchrony: crate::facts::Synchrony::default(),
            authority: None,
            heartbeat: None,
            tenant_sessions: 0,
            open_logins: 0,
            missing_rights: Vec::new(),
            slow_logins: false,
            sampled: crate::time::Mono(1),
            round_trip_ms: 1,
        }
    }

    /// Faults: 53, 56.
    #[test]
    fn three_failures_in_a_row_are_down() {
        let mut verdict = Verdict::Up;
        for _ in 0..2 {
            verdict = judge(verdict, &failed(ProbeFailure::TimedOut), LIMITS);
            assert_ne!(verdict, Verdict::Down);
        }
        assert_eq!(
            judge(verdict, &failed(ProbeFailure::Unreachable), LIMITS),
            Verdict::Down
        );
    }

    proptest! {
        /// Faults: 56, 80.
        #[test]
        fn bursts_below_the_threshold_never_make_a_server_down(
            bursts in proptest::collection::vec((0..LIMITS.fall, 1..4_u32), 0..50)
        ) {
            let answered = Probe::Answered(Box::new(facts()));
            let mut verdict = Verdict::Up;
            for (failures, successes) in bursts {
                for _ in 0..failures {
                    verdict = judge(verdict, &failed(ProbeFailure::TimedOut), LIMITS);
                    prop_assert_ne!(verdict, Verdict::Down);
                }
                for _ in 0..successes {
                    verdict = judge(verdict, &answered, LIMITS);
                }
                prop_assert_eq!(verdict, Verdict::Up);
            }
        }

        /// Faults: 57, 60, 61, 62.
        #[test]
        fn a_wrong_password_never_makes_a_server_down(
            failures in proptest::collection::vec(prop_oneof![
                Just(ProbeFailure::CredentialsDenied),
                Just(ProbeFailure::CertificateInvalid),
                Just(ProbeFailure::TooManyConnections),
                Just(ProbeFailure::WrongServer),
            ], 0..50)
        ) {
            let end = failures.into_iter().fold(Verdict::Up, |v, f| judge(v, &failed(f), LIMITS));
            prop_assert_ne!(end, Verdict::Down);
        }
    }
}
