//! What the deletion of a placement means for its database.

/// What is to be done with a placement that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Let the resource go and leave all of it as it is.
    Release,
    /// Keep the database, the Secret and the workloads; close the logins that nobody may use any
    /// more, and let the resource go.
    Keep,
    /// Keep the resource: its deletion was asked for only once.
    Protected,
    /// Drop the database, the roles, the Secret and the injected variables.
    Drop,
}

/// Decides from `spec.reclaimPolicy: Delete`, `spec.deletionProtection` and whether a person set
/// the annotation that gives up the cleanup.
pub fn deletion(delete: bool, protected: bool, skip_cleanup: bool) -> Deletion {
    match (skip_cleanup, delete, protected) {
        (true, _, _) => Deletion::Release,
        (false, false, _) => Deletion::Keep,
        (false, true, true) => Deletion::Protected,
        (false, true, false) => Deletion::Drop,
    }
}
