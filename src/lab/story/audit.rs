//! What the operator asked of the API server, by the API server's own account.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use jiff::Timestamp;
use serde_json::Value;

use crate::error::{LabError, Result};
use crate::lab::Lab;

/// The operator, as the API server knows it.
pub const OPERATOR: &str = "system:serviceaccount:domicile-system:domicile";

/// A call of the operator's that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `get`, `patch` and so on.
    pub verb: String,
    /// The plural of the kind, with its subresource.
    pub resource: String,
    /// The object, where the call names one.
    pub name: String,
    /// When it was received.
    pub at: Timestamp,
}

impl Call {
    /// True for what changes something, or may.
    pub fn writes(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }
}

/// The calls since a place in the log, and the place after them. Errors: the log cannot be read, or
/// ends before the place, as it does when the API server began another.
pub fn calls(lab: &Lab, from: u64) -> Result<(Vec<Call>, u64)> {
    let path = lab.cluster().audit_log();
    let failed = LabError::file("read", &path);
    let read = || -> std::io::Result<(Vec<Call>, u64)> {
        let mut file = File::open(&path)?;
        let mut place = file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::new(file);
        let (mut calls, mut line) = (Vec::new(), String::new());
        loop {
            line.clear();
            let length = reader.read_line(&mut line)?;
            // A line that is still being written is read the next time.
            if length == 0 || !line.ends_with('\n') {
                return Ok((calls, place));
            }
            place += length as u64;
            calls.extend(line.contains(OPERATOR).then(|| call(&line)).flatten());
        }
    };
    let length = std::fs::metadata(&path).map_err(LabError::file("read", &path))?;
    if length.len() < from {
        let text = "the API server has begun another audit log: its calls cannot be counted";
        return Err(LabError::State(text.to_owned()));
    }
    read().map_err(failed)
}

fn call(line: &str) -> Option<Call> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event["stage"] != "ResponseComplete" || event["user"]["username"] != OPERATOR {
        return None;
    }
    let about = &event["objectRef"];
    let word = |key: &str| about[key].as_str().unwrap_or_default();
    let resource = match word("subresource") {
        "" => word("resource").to_owned(),
        part => format!("{}/{part}", word("resource")),
    };
    Some(Call {
        verb: event["verb"].as_str()?.to_owned(),
        resource,
        name: word("name").to_owned(),
        at: event["requestReceivedTimestamp"].as_str()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answered_calls_of_the_operator_count() {
        let line = |user: &str, stage: &str| {
            format!(
                r#"{{"stage":"{stage}","verb":"patch","user":{{"username":"{user}"}},
                "requestReceivedTimestamp":"2026-11-30T05:00:00.250000Z",
                "objectRef":{{"resource":"tenantplacements","subresource":"status",
                "name":"acme"}}}}"#
            )
        };
        let found = call(&line(OPERATOR, "ResponseComplete")).unwrap();
        assert_eq!(found.resource, "tenantplacements/status");
        assert!(found.writes() && found.name == "acme");
        assert_eq!(found.at.subsec_millisecond(), 250);
        assert_eq!(call(&line(OPERATOR, "ResponseStarted")), None);
        assert_eq!(call(&line("admin", "ResponseComplete")), None);
    }
}
