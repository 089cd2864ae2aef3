//! The process: controllers, probes, leader election.
