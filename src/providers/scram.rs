//! SCRAM verifiers: what the server stores instead of a password.

use std::fmt;

use postgres_protocol::password::scram_sha_256;
use secrecy::{ExposeSecret, SecretString};

/// A SCRAM-SHA-256 verifier. Whoever holds it can test a guess, so it is kept like a secret.
#[derive(Clone)]
pub struct Verifier(SecretString);

impl Verifier {
    /// A text that is no verifier, as if it were one.
    #[cfg(test)]
    pub(crate) fn raw(text: SecretString) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// The verifier of `password` with a fresh random salt, so that the clear text never reaches a
/// server in SQL, nor its log. Takes some milliseconds of CPU.
pub fn scram_verifier(password: &SecretString) -> Verifier {
    Verifier(scram_sha_256(password.expose_secret().as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_holds_no_clear_text_and_prints_nothing() {
        let verifier = scram_verifier(&SecretString::from("canary"));
        assert!(verifier.expose().starts_with("SCRAM-SHA-256$4096:"));
        assert!(!verifier.expose().contains("canary"));
        assert_eq!(format!("{verifier:?}"), "Verifier(..)");
    }
}
