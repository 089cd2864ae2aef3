//! The lab: real servers for demo and tests, on one Linux machine as root. A Kubernetes cluster
//! with a node that runs real pods, and PostgreSQL in three regions, all in one private space of
//! the kernel that one command begins and another ends. On other systems than Linux it is empty.
#![cfg(target_os = "linux")]

pub mod checker;
pub mod clock;
pub mod cluster;
pub mod error;
pub mod image;
pub mod init;
pub mod lab;
pub mod pki;
pub mod postgres;
pub mod process;
pub mod regions;
pub mod run_in;
pub mod setup;
pub mod space;
pub mod state;
pub mod story;
mod teardown;
pub mod tools;

pub use error::{LabError, Result};
pub use lab::{Lab, Options};
pub use setup::{Engine, Postgres, Setup};
pub use space::Space;
pub use state::Places;
