//! The lab: real servers for demo and tests.
