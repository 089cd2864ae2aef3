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

/// What has to change, and what differs and is left alone.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) changes: Vec<Change>,
    pub(super) left: Vec<String>,
}

impl Changes {
    /// Adds what takes nothing away.
    pub(super) fn adds(&mut self, what: String, sql: String) {
        self.changes.push(Change::new(what, sql));
    }

    /// Takes something away, or leaves it and tells so where the database `keeps` what it has.
    pub(super) fn takes(&mut self, keeps: bool, (is, was): (String, String), sql: String) {
        if keeps {
            self.left.push(is);
        } else {
            self.changes.push(Change::new(was, sql));
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
