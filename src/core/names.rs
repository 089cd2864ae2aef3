//! Names: the types they are, how database names are derived, and the one function that quotes.

use std::fmt;

/// Longest identifier that PostgreSQL keeps whole, in bytes (`NAMEDATALEN - 1`).
pub const MAX_IDENTIFIER_BYTES: usize = 63;

/// Longest database name that leaves room for the longest role suffix (`_ro_a`), in bytes.
pub const MAX_DATABASE_BYTES: usize = MAX_IDENTIFIER_BYTES - 5;

/// Database names that a server or its tools already use; no role can be called `none`.
const RESERVED: [&str; 7] = [
    "postgres",
    "template0",
    "template1",
    "public",
    "domicile",
    "root",
    "none",
];

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Wraps a name as it is.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }
    };
}

name_type!(
    /// The name of a `Region` resource.
    RegionName
);
name_type!(
    /// A jurisdiction: data of the `Region`, compared byte by byte, never inferred from a name.
    Jurisdiction
);

/// One database server: an entry of a region's `databaseServers`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    /// The region that the server stands in.
    pub region: RegionName,
    /// The entry's name.
    pub server: String,
}

impl ServerId {
    /// The server `server` of `region`.
    pub fn new(region: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            region: RegionName::new(region),
            server: server.into(),
        }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.server)
    }
}

/// Why a name was refused. The text says what the name must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// Empty.
    Empty,
    /// Longer than the limit, in bytes.
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// A character outside `[a-z0-9_]`, or a digit in front.
    Character(char),
    /// A name that the server or its tools use themselves.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "must not be empty"),
            Self::TooLong { bytes, limit } => {
                write!(f, "must be at most {limit} bytes long, has {bytes}")
            }
            Self::Character(c) => write!(
                f,
                "must start with a lower-case letter and hold only a-z, 0-9 and _, has {c:?}"
            ),
            Self::Reserved => write!(f, "must not be a name that PostgreSQL uses itself"),
        }
    }
}

impl std::error::Error for NameError {}

/// A database name that was checked: `[a-z][a-z0-9_]*`, at most [`MAX_DATABASE_BYTES`] bytes, not
/// reserved. Role names derive from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseName(String);

impl DatabaseName {
    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_DATABASE_BYTES {
            return Err(NameError::TooLong {
                bytes: name.len(),
                limit: MAX_DATABASE_BYTES,
            });
        }
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
        let bad = |c: &char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_');
        if let Some(c) = name
            .chars()
            .find(bad)
            .or_else(|| name.chars().next().filter(|_| !starts_well))
        {
            return Err(NameError::Character(c));
        }
        if RESERVED.contains(&name) || name.starts_with("pg_") {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.to_owned()))
    }

    /// The default name for a tenant: `tenant_` and the ID with `-` as `_`.
    pub fn for_tenant(tenant_id: &str) -> Result<Self, NameError> {
        Self::parse(&format!("tenant_{}", tenant_id.replace('-', "_")))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The NOLOGIN role that owns the database and all in it: the database's own name.
    pub fn owner(&self) -> String {
        self.0.clone()
    }

    /// The NOLOGIN role that holds the read-only grants.
    pub fn reader(&self) -> String {
        format!("{}_ro", self.0)
    }

    /// The login role of `access` in `slot`. Two slots alternate when credentials rotate.
    pub fn login(&self, access: Access, slot: Slot) -> String {
        let infix = match access {
            Access::ReadWrite => "",
            Access::ReadOnly => "_ro",
        };
        let slot = match slot {
            Slot::A => "a",
            Slot::B => "b",
        };
        format!("{}{infix}_{slot}", self.0)
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a login role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// All rights of the owner.
    ReadWrite,
    /// Reads only.
    ReadOnly,
}

/// One of the two login roles that alternate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// `…_a`, the first.
    A,
    /// `…_b`.
    B,
}

impl Slot {
    /// The slot that this one alternates with.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Quotes `name` as an SQL identifier. The only place in the project that does.
///
/// NUL cannot be part of a PostgreSQL identifier and is dropped.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// Quotes `text` as an SQL string literal that means the same under either setting of
/// `standard_conforming_strings`. NUL cannot be part of a PostgreSQL string and is dropped.
pub fn quote_literal(text: &str) -> String {
    let text = text.replace('\0', "");
    let escape = if text.contains('\\') { " E" } else { "" };
    format!(
        "{escape}'{}'",
        text.replace('\\', "\\\\").replace('\'', "''")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Faults: 2, 13.
    #[test]
    fn reserved_and_odd_names_are_refused() {
        for bad in [
            "",
            "postgres",
            "template1",
            "pg_x",
            "1a",
            "a\"b",
            "ä",
            "A",
            "a b",
            "a;b",
        ] {
            assert!(DatabaseName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(DatabaseName::parse(&"a".repeat(80)).is_err());
    }

    #[test]
    fn a_uuid_becomes_a_database_name() {
        let name = DatabaseName::for_tenant("6f1c2a-00").map(|n| n.to_string());
        assert_eq!(name, Ok("tenant_6f1c2a_00".into()));
    }

    /// All roles of a database.
    fn roles(name: &DatabaseName) -> BTreeSet<String> {
        let logins = [Access::ReadWrite, Access::ReadOnly]
            .into_iter()
            .flat_map(|access| [Slot::A, Slot::B].map(|slot| name.login(access, slot)));
        logins.chain([name.owner(), name.reader()]).collect()
    }

    /// What `_` and `-` make of an ID is the same: the mark in the database tells whose it is.
    ///
    /// Faults: 1.
    #[test]
    fn the_longest_id_fits_and_ids_that_meet_get_one_name() {
        let longest = DatabaseName::for_tenant(&"a".repeat(50)).unwrap();
        assert!(
            roles(&longest)
                .iter()
                .all(|role| role.len() <= MAX_IDENTIFIER_BYTES)
        );
        let meet = ["a-b", "a_b"].map(DatabaseName::for_tenant);
        assert_eq!(meet[0], meet[1]);
        let limit = MAX_DATABASE_BYTES;
        let over = DatabaseName::parse(&"a".repeat(59));
        assert_eq!(over, Err(NameError::TooLong { bytes: 59, limit }));
    }

    proptest! {
        /// Faults: 1.
        #[test]
        fn every_accepted_name_keeps_its_roles_within_the_limit(
            name in "[a-z][a-z0-9_]{0,70}|.{0,90}",
        ) {
            let parsed = DatabaseName::parse(&name);
            let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            let free = !RESERVED.contains(&name.as_str()) && !name.starts_with("pg_");
            prop_assert_eq!(parsed.is_ok(), plain && free && name.len() <= MAX_DATABASE_BYTES);
            if let Ok(name) = parsed {
                let derived = roles(&name);
                prop_assert!(derived.iter().all(|role| role.len() <= MAX_IDENTIFIER_BYTES));
                prop_assert_eq!(derived.len(), 6, "two roles of one database have one name");
            }
        }

        /// Faults: 13.
        #[test]
        fn a_quoted_identifier_ends_only_at_its_end(name in "[^\0]{0,40}") {
            let quoted = quote_identifier(&name);
            let inner = &quoted[1..quoted.len() - 1];
            prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
        }
    }
}
