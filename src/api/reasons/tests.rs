use domicile_core::health::ProbeFailure;

use super::*;

#[test]
fn a_probe_failure_has_the_same_word_in_core_and_on_the_wire() {
    for failure in [
        ProbeFailure::Unreachable,
        ProbeFailure::TimedOut,
        ProbeFailure::CertificateInvalid,
        ProbeFailure::CredentialsDenied,
        ProbeFailure::TooManyConnections,
        ProbeFailure::NotAccepting,
        ProbeFailure::WrongServer,
        ProbeFailure::VersionUnsupported,
        ProbeFailure::Unexpected,
    ] {
        assert_eq!(Reason::from(failure).as_str(), failure.reason());
    }
}

#[test]
fn every_reason_fits_the_schema_and_is_described() {
    for reason in Reason::ALL {
        let word = reason.as_str();
        assert!(word.len() <= 128 && word.starts_with(|c: char| c.is_ascii_uppercase()));
        assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
        assert!(reason.meaning().ends_with('.'), "{word} is not described");
        assert_eq!(Reason::parse(word), Some(*reason));
    }
    assert_eq!(Reason::parse("settled"), None);
}
