//! `{{ variable }}` templates.

use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with a template. The text holds names that the user wrote, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `{{` without `}}`.
    Unclosed,
    /// No variable of this name exists for this placement.
    UnknownVariable {
        /// The name as written.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A variable that holds a secret, in the name of a key, where everybody could read it.
    SecretInName(String),
    /// The name of the key, once rendered, is none that a Secret may have.
    BadKeyName(String),
    /// Two entries give one key.
    DuplicateKey {
        /// The key.
        key: String,
        /// The other entry, as written.
        other: String,
    },
    /// The key is one that Domicile writes itself.
    ReservedKey(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => write!(f, "has `{{{{` without `}}}}`"),
            Self::UnknownVariable { name, known } => {
                write!(
                    f,
                    "names the unknown variable {name:?}; known are {}",
                    known.join(", ")
                )
            }
            Self::SecretInName(name) => {
                write!(
                    f,
                    "must not use {name:?} in the name of a key: it holds a secret"
                )
            }
            Self::BadKeyName(key) => write!(
                f,
                "gives the key {key:?}, which must be 1 to 253 of A-Z, a-z, 0-9, `-`, `.` and `_`"
            ),
            Self::DuplicateKey { key, other } => {
                write!(
                    f,
                    "gives the key {key:?}, which the entry {other:?} gives too"
                )
            }
            Self::ReservedKey(key) => {
                write!(f, "gives the key {key:?}, which Domicile writes itself")
            }
        }
    }
}

/// The variables that exist, and which of them may stand in the name of a key.
#[derive(Default)]
pub(super) struct Variables {
    values: BTreeMap<String, (bool, String)>,
}

impl Variables {
    /// Adds a variable that may be read by everybody.
    pub(super) fn public(&mut self, name: &str, value: &str) {
        self.values
            .insert(name.to_owned(), (false, value.to_owned()));
    }

    /// Adds a variable that may stand in values only.
    pub(super) fn secret(&mut self, name: &str, value: &str) {
        self.values
            .insert(name.to_owned(), (true, value.to_owned()));
    }
}

/// Expands the template of a value.
pub(super) fn expand(template: &str, variables: &Variables) -> Result<String, Problem> {
    walk(template, variables, false)
}

/// Expands the template of a key's name.
pub(super) fn expand_name(template: &str, variables: &Variables) -> Result<String, Problem> {
    walk(template, variables, true)
}

fn walk(template: &str, variables: &Variables, in_name: bool) -> Result<String, Problem> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(Problem::Unclosed)?;
        let name = name.trim();
        let Some((secret, value)) = variables.values.get(name) else {
            let known = variables.values.keys().cloned().collect();
            return Err(Problem::UnknownVariable {
                name: name.to_owned(),
                known,
            });
        };
        if in_name && *secret {
            return Err(Problem::SecretInName(name.to_owned()));
        }
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
