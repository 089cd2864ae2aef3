//! One thing that is not as planned, and the statement that makes it so.

/// A statement, and what it puts right, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) sql: String,
    /// What differed. Without secrets.
    pub(super) what: String,
}

impl Change {
    pub(super) fn new(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            what: what.into(),
        }
    }
}

/// The statements, as one text. Together they are one transaction.
pub(super) fn script(changes: &[Change]) -> String {
    let sql: Vec<&str> = changes.iter().map(|change| change.sql.as_str()).collect();
    sql.join("; ")
}

/// What differed, each.
pub(super) fn told(changes: &[Change]) -> impl Iterator<Item = String> + '_ {
    changes.iter().map(|change| change.what.clone())
}
