//! The lines a writer leaves: what it sent, what was answered, and when.

use serde::{Deserialize, Serialize};

/// One line of a writer's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The process that wrote it; another process has another one.
    pub run: String,
    /// Number of the line within the run, from 1 without a gap.
    pub n: u64,
    /// Nanoseconds of the machine's monotonic clock, the same for all its processes.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a writer reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// The writer began.
    Started {
        /// Whose rows it writes.
        writer: String,
    },
    /// It is about to send a row.
    Sent {
        /// Number of the row within the run.
        seq: u64,
    },
    /// The server acknowledged the row.
    Acknowledged {
        /// Number of the row within the run.
        seq: u64,
        /// The server's own address, as it says itself.
        server: String,
        /// The timeline that the server writes.
        timeline: u32,
    },
    /// The server refused the row: it is not stored.
    Failed {
        /// Number of the row within the run.
        seq: u64,
        /// What the server said.
        why: String,
    },
    /// No answer came: the row may or may not be stored.
    Unknown {
        /// Number of the row within the run.
        seq: u64,
        /// What happened instead.
        why: String,
    },
    /// No session could be had.
    Disconnected {
        /// What happened.
        why: String,
    },
    /// The writer ended in order.
    Ended,
}

/// A line that is no record.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of {log} is no record")]
pub struct NotARecord {
    log: String,
    line: usize,
    source: serde_json::Error,
}

/// Reads a log, plain or with the prefix that a container runtime puts before each line. A last
/// line without its line end is still being written and is left out.
pub fn parse(log: &str, text: &str) -> Result<Vec<Record>, NotARecord> {
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = complete.lines().enumerate();
    lines
        .filter_map(|(number, line)| Some((number, content(line)?)))
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|source| NotARecord {
                log: log.to_owned(),
                line: number + 1,
                source,
            })
        })
        .collect()
}

/// The writer's part of a line; none for what it said on standard error.
fn content(line: &str) -> Option<&str> {
    if line.starts_with('{') {
        return Some(line);
    }
    let mut fields = line.splitn(4, ' ');
    let stream = fields.nth(1)?;
    let rest = fields.nth(1)?;
    (stream == "stdout").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64, event: Event) -> Record {
        let run = "r".to_owned();
        Record {
            run,
            n,
            at: 7,
            event,
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let server = "10.77.0.1".to_owned();
        let event = Event::Acknowledged {
            seq: 3,
            server,
            timeline: 2,
        };
        let written = record(5, event);
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(
            parse("a", &format!("{text}\n")).unwrap(),
            std::slice::from_ref(&written)
        );
        let in_pod = format!("2026-01-01T00:00:00.5+00:00 stdout F {text}\n");
        assert_eq!(parse("a", &in_pod).unwrap(), [written]);
    }

    #[test]
    fn standard_error_is_no_record_and_an_unfinished_line_waits() {
        let text = "2026-01-01T00:00:00Z stderr F DATABASE_URL is not set\n\
                    2026-01-01T00:00:00Z stdout F {\"run\":\"r\",\"n\":1";
        assert!(parse("a", text).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_line_is_named() {
        let error = parse("acme.log", "{\"run\":1}\n").unwrap_err();
        assert_eq!(error.to_string(), "line 1 of acme.log is no record");
    }
}
