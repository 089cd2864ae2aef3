//! What the servers hold at the end, read by their superuser and not by the operator.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::stage::{Stage, Tenant};
use crate::checker::{Stored, contains};
use crate::error::{LabError, Result};

const ROWS: &str = "SELECT run, seq, acknowledged FROM lab_rows";
const PAYLOADS: &str = "SELECT DISTINCT payload FROM lab_rows";

impl Stage {
    /// The rows that a region's server holds for a tenant. Errors: it does not answer, or answers
    /// something else.
    pub fn stored(&self, region: &str, tenant: &Tenant) -> Result<Stored> {
        let server = self.lab.regions().server(region)?;
        let text = server.superuser_sql(&tenant.database, ROWS)?;
        let odd = |line: &str| LabError::State(format!("{region} answers {line:?} for a row"));
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| {
                let mut fields = line.split('|');
                let run = fields.next().unwrap_or_default().to_owned();
                let mut number = || fields.next().and_then(|field| field.parse().ok());
                match (number(), number()) {
                    (Some(seq), Some(acknowledged)) => Ok(((run, seq), acknowledged)),
                    _ => Err(odd(line)),
                }
            })
            .collect()
    }

    /// The texts that a tenant's rows carry, by which its bytes are recognised.
    pub fn markers(&self, region: &str, tenant: &Tenant) -> Result<BTreeSet<String>> {
        let server = self.lab.regions().server(region)?;
        let text = server.superuser_sql(&tenant.database, PAYLOADS)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// How many files of a region's server, its WAL included, contain a text.
    pub fn files_with(&self, region: &str, text: &str) -> Result<usize> {
        let server = self.lab.regions().server(region)?;
        server.superuser_sql("postgres", "CHECKPOINT")?;
        search(&server.data_dir(), text.as_bytes())
    }
}

/// Files below a folder that contain a text. Files that vanish meanwhile do not count.
fn search(folder: &Path, text: &[u8]) -> Result<usize> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(LabError::file("read", folder)(source)),
    };
    let mut found = 0;
    for entry in entries {
        let path = entry.map_err(LabError::file("read", folder))?.path();
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(LabError::file("read", &path)(source)),
        };
        if kind.is_dir() {
            found += search(&path, text)?;
        } else if kind.is_file() {
            match fs::File::open(&path).and_then(|file| contains(file, text)) {
                Ok(there) => found += usize::from(there),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(LabError::file("read", &path)(source)),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_at_any_depth_are_searched() {
        let base = std::env::temp_dir().join(format!("search-{}", std::process::id()));
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("a/b/wal"), "xx resident-of-eu-acme").unwrap();
        fs::write(base.join("a/other"), "resident-of-us-initech").unwrap();
        assert_eq!(search(&base, b"resident-of-eu-acme").unwrap(), 1);
        assert_eq!(search(&base, b"resident-of-eu-globex").unwrap(), 0);
        fs::remove_dir_all(base).unwrap();
    }
}
