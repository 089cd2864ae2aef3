//! In which ways Patroni fails, and what to do about each.

use super::Class;

/// In which way what runs a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineFailure {
    /// Its address or authority cannot be used.
    Invalid,
    /// It does not answer.
    Unreachable,
    /// It refuses the login.
    Denied,
    /// It was told to leave its servers alone.
    Paused,
    /// It answered, and did not do as asked.
    Refused,
}

impl EngineFailure {
    /// The condition reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "ProviderInvalid",
            Self::Unreachable => "ProviderUnreachable",
            Self::Denied => "ProviderCredentialsDenied",
            Self::Paused => "ProviderPaused",
            Self::Refused => "ProviderRefused",
        }
    }

    pub(super) fn class(self) -> Class {
        match self {
            Self::Invalid | Self::Denied | Self::Paused => Class::Config,
            Self::Unreachable => Class::Transient,
            Self::Refused => Class::Provider,
        }
    }

    pub(super) fn next_step(self) -> &'static str {
        match self {
            Self::Invalid => "correct provider.patroni.urls and caSecretRef",
            Self::Unreachable => {
                "check provider.patroni.urls, caSecretRef, and that Patroni runs there"
            }
            Self::Denied => {
                "put username and password of restapi.authentication into the Secret that \
                 provider.patroni.credentialsSecretRef names"
            }
            Self::Paused => "end that with `patronictl resume`",
            Self::Refused => "see Patroni's log",
        }
    }
}
