//! The failover machine: states, guards, and the one function that decides.
