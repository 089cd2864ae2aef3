//! A password that the user keeps in a Secret of another tool.

use domicile_api::conditions::Reason;
use domicile_api::credentials::PasswordSecretRef;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use super::error::Halt;
use super::place::Place;
use super::progress::Progress;
use super::store::secret_call;

/// Fewest and most characters of such a password.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// What the user gives for a password.
pub(super) enum External {
    /// Nothing: passwords are made.
    NotAsked,
    /// This one.
    Given(SecretString),
    /// It cannot be had: why, and what to do.
    Lacking(Reason, String),
}

impl External {
    /// The password, if there is one.
    pub(super) fn given(&self) -> Option<&SecretString> {
        match self {
            Self::Given(password) => Some(password),
            Self::NotAsked | Self::Lacking(..) => None,
        }
    }
}

/// Reads the Secret that `spec.credentials.passwordSecretRef` names, if it names one.
pub(super) async fn read(at: &Place<'_>, progress: &mut Progress) -> Result<External, Halt> {
    let Place { ctx, tenant, .. } = *at;
    let Some(reference) = &tenant.spec.credentials.password_secret_ref else {
        return Ok(External::NotAsked);
    };
    if reference.name == tenant.secret_name() {
        let message = "`spec.credentials.passwordSecretRef` must not name the placement's own \
                       Secret; name another one";
        return Ok(External::Lacking(
            Reason::PasswordInvalid,
            message.to_owned(),
        ));
    }
    let found = ctx.call(at.secrets().get_opt(&reference.name)).await;
    let doing = format!("reading Secret {} for", reference.name);
    let found = found.map_err(|error| secret_call(at, &doing, error, progress))?;
    Ok(taken(reference, found.as_ref()))
}

fn taken(reference: &PasswordSecretRef, found: Option<&Secret>) -> External {
    let PasswordSecretRef { name, key } = reference;
    let lacking = |reason, fact: &str, step: &str| {
        let message = format!("`spec.credentials.passwordSecretRef`: {fact}; {step}");
        External::Lacking(reason, message)
    };
    let Some(found) = found else {
        let fact = format!("Secret {name} does not exist");
        return lacking(Reason::PasswordSecretNotFound, &fact, "create it");
    };
    let Some(ByteString(bytes)) = found.data.as_ref().and_then(|data| data.get(key)) else {
        let fact = format!("Secret {name} has no key {key:?}");
        return lacking(Reason::PasswordSecretNotFound, &fact, "add it");
    };
    let text = std::str::from_utf8(bytes).ok();
    if let Some(text) = text.filter(|text| is_usable(text)) {
        return External::Given(SecretString::from(text));
    }
    let fact = format!(
        "the value of {key:?} in Secret {name} must be {} to {} printable ASCII characters, with \
         no space and no line break",
        LENGTH.start(),
        LENGTH.end()
    );
    lacking(Reason::PasswordInvalid, &fact, "replace it")
}

/// What clients can carry, and what every form of the Secret can hold.
pub(super) fn is_usable(password: &str) -> bool {
    LENGTH.contains(&password.len()) && password.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(data: &serde_json::Value) -> Option<Reason> {
        let reference = PasswordSecretRef {
            name: "vault".into(),
            key: "password".into(),
        };
        let secret: Secret = serde_json::from_value(json!({ "data": data })).unwrap();
        match taken(&reference, Some(&secret)) {
            External::NotAsked => panic!("it was asked"),
            External::Given(_) => None,
            External::Lacking(reason, message) => {
                assert!(message.contains("passwordSecretRef"), "{message}");
                Some(reason)
            }
        }
    }

    #[test]
    fn a_password_is_taken_only_if_every_client_can_carry_it() {
        // "s3cret/+?&@:" is carried percent-encoded.
        assert_eq!(reason(&json!({ "password": "czNjcmV0Lys/JkA6" })), None);
        let missing = Some(Reason::PasswordSecretNotFound);
        assert_eq!(reason(&json!({ "other": "czNjcmV0Lys/JkA6" })), missing);
        let invalid = Some(Reason::PasswordInvalid);
        for short_broken_or_foreign in ["c2hvcnQ=", "bG9uZ2Vub3VnaAo=", "bMO2bmcgZW5vdWdo", ""] {
            let data = json!({ "password": short_broken_or_foreign });
            assert_eq!(reason(&data), invalid, "{short_broken_or_foreign}");
        }
    }
}
