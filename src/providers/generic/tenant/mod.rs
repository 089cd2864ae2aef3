//! A tenant on a server: database, owner, reader group and logins.

mod adopt;
mod beyond;
mod blockers;
mod change;
mod drop;
mod effects;
mod extensions;
#[cfg(test)]
mod fuzz;
mod inside;
mod observe;
mod plan;
mod relaxed;
mod state;

use std::collections::BTreeSet;

use domicile_core::names::{Access, DatabaseName, Slot};

pub use adopt::{Adoption, Obstacle};
pub use extensions::{Refused, Why};

use crate::applied::Applied;

/// What a tenant has on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPlan {
    /// The UID of the placement; the marker on all that is made.
    pub uid: String,
    /// The database; role names derive from it.
    pub database: DatabaseName,
    /// Which accesses it has, each with the connection limit of one login. Logins of an access
    /// that is not listed are closed.
    pub access: Vec<(Access, u32)>,
    /// The slot whose logins must be closed and hold no password; none while both are in use.
    pub idle: Option<Slot>,
    /// The schemas that it has beside `public`.
    pub schemas: Vec<String>,
    /// The extensions that it has.
    pub extensions: Vec<String>,
    /// Of those, the ones that may not be made on this server.
    pub unlisted: BTreeSet<String>,
    /// The database is one that was there before: what it has beyond the plan is told and stays.
    pub keeps: bool,
    /// Whether an empty database is made where there is none.
    pub makes: bool,
}

impl TenantPlan {
    /// NUL cannot be part of a comment.
    fn marker(&self) -> String {
        format!("domicile:{}", self.uid.replace('\0', ""))
    }

    fn limit(&self, access: Access) -> Option<u32> {
        self.access
            .iter()
            .find(|(listed, _)| *listed == access)
            .map(|(_, limit)| *limit)
    }

    /// Whether the login may hold a password.
    fn opens(&self, access: Access, slot: Slot) -> bool {
        self.idle != Some(slot) && self.limit(access).is_some()
    }
}

/// What a look at a tenant came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Whether anything had to be changed.
    pub applied: Applied,
    /// What differed, and was put right.
    pub mended: Vec<String>,
    /// What differs, and was left alone.
    pub left: Vec<String>,
    /// The extensions that are planned and not there.
    pub refused: Vec<Refused>,
    /// Whether there was no database, and an empty one was made.
    pub made: bool,
    /// The slots whose logins were all closed and without a password.
    pub shut: BTreeSet<Slot>,
}

impl Settled {
    pub(super) fn mend(&mut self, what: impl IntoIterator<Item = String>) {
        self.mended.extend(what);
        self.applied = Applied::Done;
    }
}

impl Default for Settled {
    fn default() -> Self {
        Self {
            applied: Applied::Already,
            mended: Vec::new(),
            left: Vec::new(),
            refused: Vec::new(),
            made: false,
            shut: BTreeSet::new(),
        }
    }
}

impl TenantPlan {
    /// A plan that names a tenant and asks for nothing.
    pub fn bare(uid: String, database: DatabaseName) -> Self {
        Self {
            uid,
            database,
            access: Vec::new(),
            idle: None,
            schemas: Vec::new(),
            extensions: Vec::new(),
            unlisted: BTreeSet::new(),
            keeps: false,
            makes: true,
        }
    }
}

/// A database that Domicile made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTenant {
    /// Its name.
    pub database: String,
    /// The UID of its placement, from the marker on its owner role.
    pub uid: String,
}

/// What a server has under the name of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// None of the name.
    Absent,
    /// One that Domicile did not make.
    Unmarked,
    /// One whose owner carries the mark of the placement with this UID.
    Marked(String),
}

/// What became of a tenant that was to be dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Whether anything was there.
    pub applied: Applied,
    /// Replication slots of its subscriptions, which stay on the servers that they subscribed to.
    pub slots_left: Vec<String>,
}

/// What a successful login showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// Whether the server takes writes by its own account.
    pub writable: bool,
}

/// All login roles that a tenant may have.
fn logins(database: &DatabaseName) -> impl Iterator<Item = (Access, Slot, String)> + '_ {
    [Access::ReadWrite, Access::ReadOnly]
        .into_iter()
        .flat_map(move |access| {
            [Slot::A, Slot::B].map(|slot| (access, slot, database.login(access, slot)))
        })
}
