//! One thing that is not as planned, and the statements that make it so.

/// Statements, and what they put right, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) sql: Vec<String>,
    /// What differed. Without secrets.
    pub(super) what: String,
}

impl Change {
    pub(super) fn new(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self::several(what, [sql.into()])
    }

    pub(super) fn several(what: impl Into<String>, sql: impl Into<Vec<String>>) -> Self {
        Self {
            sql: sql.into(),
            what: what.into(),
        }
    }
}

/// The statements, as one text. Together they are one transaction.
pub(super) fn script(changes: &[Change]) -> String {
    let sql = changes.iter().flat_map(|change| &change.sql);
    let sql: Vec<&str> = sql.map(String::as_str).collect();
    sql.join("; ")
}

/// What differed, each.
pub(super) fn told(changes: &[Change]) -> impl Iterator<Item = String> + '_ {
    changes.iter().map(|change| change.what.clone())
}
