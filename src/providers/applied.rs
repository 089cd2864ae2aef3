//! Whether an effect had to change anything.

/// Whether an effect had to change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The server was changed.
    Done,
    /// It was so already; nothing was written.
    Already,
}
