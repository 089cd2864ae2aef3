//! The tenant's Secret: whose it is, what it should hold, and the one write that makes it so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domicile_api::meta;
use domicile_core::connection::{RenderError, Rendered, password_in};
use domicile_core::facts::Epoch;
use domicile_core::names::Slot;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::external::is_usable;

/// Letters and digits of a password: 190 bits.
const PASSWORD_LENGTH: usize = 32;

/// The `type` of the Secret, as Service Binding wants it.
const SECRET_TYPE: &str = "servicebinding.io/postgresql";

/// The passwords of the published logins; absent for a login that the placement does not ask for.
#[derive(Clone, Default)]
pub(super) struct Passwords {
    /// Of the login that writes.
    pub(super) read_write: Option<SecretString>,
    /// Of the login that reads.
    pub(super) read_only: Option<SecretString>,
}

/// The names of the published logins on the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Usernames {
    /// Of the login that writes.
    pub(super) read_write: Option<String>,
    /// Of the login that reads.
    pub(super) read_only: Option<String>,
}

/// The logins to publish.
pub(super) struct Chosen {
    pub(super) slot: Slot,
    pub(super) passwords: Passwords,
    /// A password is new.
    pub(super) fresh: bool,
    /// At least one password comes from the Secret.
    pub(super) held: bool,
    /// Where the password of the main login comes from: the one that writes, if there is one.
    pub(super) source: Source,
}

/// Where a password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From the Secret, whose own hash vouches for all of its content.
    Vouched,
    /// From the Secret.
    Held,
    /// It is new.
    New,
}

/// Where, for whom and under which epoch the Secret is written.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) placement: String,
    pub(super) uid: String,
    pub(super) epoch: Epoch,
    /// The content is the same whichever server serves: the epoch is told elsewhere.
    pub(super) lasting: bool,
    /// The present moment.
    pub(super) now: Timestamp,
    /// The region for whose own cluster it is; absent for the hub.
    pub(super) region: Option<String>,
    /// The request for a rotation that is answered by what is written.
    pub(super) answered: Option<String>,
}

/// What has to be written. Holds secrets, so it does not print.
pub(super) enum Write {
    /// Nothing: the Secret is as it should be.
    Nothing,
    /// The Secret does not exist.
    Create(Box<Secret>),
    /// A merge patch that is refused when the Secret has changed since it was read.
    Patch(Value),
}

/// The Secret must not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It belongs to somebody else: the UID in its owner annotation, when it has one.
    NotOurs(Option<String>),
    /// It was written under a newer epoch than the one presented.
    Newer(Epoch),
}

/// The content's hash: 64 hexadecimal digits.
pub(super) fn hash(rendered: &Rendered) -> String {
    let digest = Sha256::digest(rendered.canonical());
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Whether the Secret may be written for the placement `uid` under `epoch`.
pub(super) fn admit(live: Option<&Secret>, uid: &str, epoch: Epoch) -> Result<(), Refusal> {
    let Some(live) = live else { return Ok(()) };
    let annotation = |key| annotation(live, key);
    match annotation(meta::OWNER_UID) {
        Some(owner) if owner == uid => {}
        owner => return Err(Refusal::NotOurs(owner.map(str::to_owned))),
    }
    let written = annotation(meta::EPOCH)
        .and_then(|text| text.parse().ok())
        .map(Epoch);
    match written {
        Some(written) if written > epoch => Err(Refusal::Newer(written)),
        Some(_) | None => Ok(()),
    }
}

/// The passwords to publish: the ones that the Secret's own hash vouches for, else what it holds
/// where that looks like ours, else new ones.
///
/// A URI repeats the password, so a hand-edited Secret mostly still tells the true one.
pub(super) fn choose_passwords(
    live: Option<&Secret>,
    slot: Slot,
    usernames: &Usernames,
    given: Option<&SecretString>,
    render: &dyn Fn(&Passwords) -> Result<Rendered, RenderError>,
) -> Result<Chosen, RenderError> {
    let main = usernames.read_write.as_deref().map(|user| {
        let own = get(live, "username").is_some_and(|stored| stored == user);
        let key = if own { get(live, "password") } else { None };
        candidates(key, get(live, "uri"), user, given)
    });
    // The password that the user gives is that of the login that writes, if there is one.
    let given = given.filter(|_| main.is_none());
    let reader = usernames.read_only.as_deref().map(|user| {
        let own = get(live, "username-ro").is_some_and(|stored| stored == user);
        let key = if own { get(live, "password-ro") } else { None };
        candidates(key, get(live, "uri-ro"), user, given)
    });
    let vouched = told_hash(live);
    for read_write in options(main.as_ref()) {
        for read_only in options(reader.as_ref()) {
            let passwords = Passwords {
                read_write: read_write.clone(),
                read_only,
            };
            if Some(hash(&render(&passwords)?).as_str()) == vouched {
                return Ok(Chosen {
                    slot,
                    passwords,
                    fresh: false,
                    held: true,
                    source: Source::Vouched,
                });
            }
        }
    }
    let holds = |login: &Option<Candidates>| login.as_ref().map(|login| !login.held.is_empty());
    let known = [holds(&main), holds(&reader)];
    let mut known = known.into_iter().flatten();
    let source = match known.clone().next() {
        Some(true) => Source::Held,
        Some(false) | None => Source::New,
    };
    let (fresh, held) = (known.clone().any(|held| !held), known.any(|held| held));
    let first = |login: Candidates| {
        let found = login.held.into_iter().next();
        found.or(login.given).unwrap_or_else(generate)
    };
    let passwords = Passwords {
        read_write: main.map(first),
        read_only: reader.map(first),
    };
    Ok(Chosen {
        slot,
        passwords,
        fresh,
        held,
        source,
    })
}

/// The one write that makes the Secret hold exactly `rendered`.
pub(super) fn write(live: Option<&Secret>, identity: &Identity, rendered: &Rendered) -> Write {
    let Some(live) = live else {
        return Write::Create(Box::new(manifest(identity, rendered)));
    };
    let wanted = manifest(identity, rendered);
    let (data, now) = (
        wanted.data.unwrap_or_default(),
        live.data.clone().unwrap_or_default(),
    );
    let mut annotations = wanted.metadata.annotations.unwrap_or_default();
    if data == now && published(Some(live)).is_some() {
        annotations.remove(meta::PUBLISHED_AT);
    }
    if data == now && identity.lasting {
        annotations.remove(meta::EPOCH);
    }
    let labels = wanted.metadata.labels.unwrap_or_default();
    let live_annotations = live.metadata.annotations.clone().unwrap_or_default();
    let live_labels = live.metadata.labels.clone().unwrap_or_default();
    // Of a cluster that is the hub too, it was brought for the region while the hub's was gone.
    let claimed = identity.region.is_none() && live_annotations.contains_key(meta::REGION);
    let told = within(&annotations, &live_annotations) && within(&labels, &live_labels);
    if data == now && told && !claimed {
        return Write::Nothing;
    }
    let mut annotations: Map<String, Value> = annotations
        .into_iter()
        .map(|(k, v)| (k, v.into()))
        .collect();
    if claimed {
        annotations.insert(meta::REGION.to_owned(), Value::Null);
    }
    let mut changes: Map<String, Value> = Map::new();
    for key in now.keys().filter(|key| !data.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    for (key, value) in data
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
    {
        changes.insert(key.clone(), json!(value));
    }
    Write::Patch(json!({
        "metadata": {
            "resourceVersion": live.metadata.resource_version,
            "uid": live.metadata.uid,
            "annotations": annotations,
            "labels": labels,
        },
        "data": changes,
    }))
}

/// Since when the Secret has had its present content, as far as it tells.
pub(super) fn published(live: Option<&Secret>) -> Option<Timestamp> {
    annotation(live?, meta::PUBLISHED_AT)?.parse().ok()
}

/// The hash that the Secret says its content has.
pub(super) fn told_hash(live: Option<&Secret>) -> Option<&str> {
    annotation(live?, meta::SECRET_HASH)
}

/// The request for a rotation that the Secret says to answer.
pub(super) fn told_answer(live: Option<&Secret>) -> Option<&str> {
    annotation(live?, meta::ANSWERED_REQUEST)
}

fn manifest(identity: &Identity, rendered: &Rendered) -> Secret {
    let Identity {
        name,
        namespace,
        placement,
        uid,
        epoch,
        lasting: _,
        now,
        region,
        answered,
    } = identity;
    let annotations = [
        (meta::OWNER_UID, uid.clone()),
        (meta::EPOCH, epoch.to_string()),
        (meta::SECRET_HASH, hash(rendered)),
        (meta::PUBLISHED_AT, now.to_string()),
    ];
    let region = region.iter().map(|region| (meta::REGION, region.clone()));
    let answered = answered
        .iter()
        .map(|request| (meta::ANSWERED_REQUEST, request.clone()));
    let data = rendered
        .data
        .iter()
        .map(|(key, value)| (key.clone(), ByteString(value.expose().as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            annotations: Some(
                annotations
                    .into_iter()
                    .chain(region)
                    .chain(answered)
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            ),
            labels: Some(BTreeMap::from([label(placement)])),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

/// A label holds at most 63 characters; a longer placement name is cut, the annotation is exact.
pub(super) fn label(placement: &str) -> (String, String) {
    let value: String = placement.chars().take(63).collect();
    let value = value
        .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned();
    (meta::PLACEMENT_LABEL.to_owned(), value)
}

fn within(wanted: &BTreeMap<String, String>, live: &BTreeMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| live.get(key) == Some(value))
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret
        .metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

fn get<'a>(secret: Option<&'a Secret>, key: &str) -> Option<&'a str> {
    let ByteString(bytes) = secret?.data.as_ref()?.get(key)?;
    std::str::from_utf8(bytes).ok()
}

/// What the password of a login may be.
struct Candidates {
    /// What the Secret holds, likeliest first.
    held: Vec<SecretString>,
    /// What the user gives.
    given: Option<SecretString>,
}

fn candidates(
    key: Option<&str>,
    uri: Option<&str>,
    username: &str,
    given: Option<&SecretString>,
) -> Candidates {
    let from_uri = uri.and_then(|uri| password_in(uri, username));
    let from_uri = from_uri.as_deref();
    let ours = |text: &str| {
        text.len() == PASSWORD_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let mut found: Vec<&str> = [key, from_uri].into_iter().flatten().collect();
    found.retain(|text| is_usable(text));
    found.sort_by_key(|text| !ours(text));
    found.dedup();
    Candidates {
        held: found.into_iter().map(SecretString::from).collect(),
        given: given.cloned(),
    }
}

fn options(candidates: Option<&Candidates>) -> Vec<Option<SecretString>> {
    match candidates {
        None => vec![None],
        Some(Candidates { held, given }) => held.iter().chain(given).cloned().map(Some).collect(),
    }
}

/// A new password.
pub(super) fn generate() -> SecretString {
    SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH))
}

impl Passwords {
    /// Both passwords in clear text, for rendering only.
    pub(super) fn expose(&self) -> (Option<&str>, Option<&str>) {
        (
            self.read_write.as_ref().map(ExposeSecret::expose_secret),
            self.read_only.as_ref().map(ExposeSecret::expose_secret),
        )
    }
}

#[cfg(test)]
mod tests;
