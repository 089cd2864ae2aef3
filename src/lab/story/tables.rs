//! What the servers hold at the end, read by their superuser and not by the operator.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::stage::{Stage, Tenant};
use crate::checker::{Books, Stored, contains};
use crate::error::{LabError, Result};

/// One statement, so that rows and books are of one snapshot.
const HOLDINGS: &str = "
SELECT 'row', run, seq::text, acknowledged::text FROM lab_rows
UNION ALL SELECT 'account', account::text, balance::text, '' FROM lab_accounts
UNION ALL SELECT 'list', list::text, array_to_string(items, ','), '' FROM lab_lists";
const PAYLOADS: &str = "SELECT DISTINCT payload FROM lab_rows";

impl Stage {
    /// The rows that a region's server holds for a tenant, and its accounts and lists. Errors: it
    /// does not answer, or answers something else.
    pub fn holdings(&self, region: &str, tenant: &Tenant) -> Result<(Stored, Books)> {
        let server = self.lab.regions().server(region)?;
        let text = server.superuser_sql(&tenant.database, HOLDINGS)?;
        read(&text).map_err(|line| LabError::State(format!("{region} answers {line:?}")))
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

/// Errors: a line that is none of an answer to [`HOLDINGS`].
fn read(text: &str) -> std::result::Result<(Stored, Books), &str> {
    let (mut stored, mut books) = (Stored::new(), Books::default());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<_> = line.split('|').collect();
        let known = match *fields {
            ["row", run, seq, acknowledged] => (seq.parse().ok())
                .zip(acknowledged.parse().ok())
                .map(|(seq, acknowledged)| stored.insert((run.to_owned(), seq), acknowledged))
                .is_some(),
            ["account", account, balance, ""] => (account.parse().ok())
                .zip(balance.parse().ok())
                .map(|(account, balance)| books.accounts.insert(account, balance))
                .is_some(),
            ["list", list, items, ""] => {
                let items = items.split(',').map(str::to_owned).collect();
                let list = list.parse().ok();
                list.map(|list| books.lists.insert(list, items)).is_some()
            }
            _ => false,
        };
        if !known {
            return Err(line);
        }
    }
    Ok((stored, books))
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
    fn an_answer_is_rows_accounts_and_lists() {
        let (stored, books) = read("row|r|3|2\naccount|0|-7|\nlist|9|r 3,r 7|\n").unwrap();
        assert_eq!(stored[&("r".to_owned(), 3)], 2);
        assert_eq!(books.accounts[&0], -7);
        assert_eq!(books.lists[&9], ["r 3", "r 7"]);
        assert_eq!(read("row|r|3|2\nrow|r|x|2"), Err("row|r|x|2"));
    }

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
