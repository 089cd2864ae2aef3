//! How each database does it.
