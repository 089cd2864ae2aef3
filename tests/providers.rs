//! The provider against real PostgreSQL servers: the system's and version 18, each test on both.

#[path = "providers/authority.rs"]
mod authority;
#[path = "providers/hostile.rs"]
mod hostile;
#[path = "providers/probe.rs"]
mod probe;
#[path = "providers/promotion.rs"]
mod promotion;
#[path = "providers/relay.rs"]
mod relay;
#[path = "providers/tenant.rs"]
mod tenant;
#[path = "providers/world.rs"]
mod world;
