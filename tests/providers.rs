//! The provider against real PostgreSQL servers: the system's and version 18, each test on both.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on must fail, and figures are told"
)]

#[path = "providers/adoption.rs"]
mod adoption;
#[path = "providers/authority.rs"]
mod authority;
#[path = "providers/beyond.rs"]
mod beyond;
#[path = "providers/drop.rs"]
mod drop;
#[path = "providers/hostile/held.rs"]
mod held;
#[path = "providers/hostile.rs"]
mod hostile;
#[path = "providers/inside.rs"]
mod inside;
#[path = "providers/logins.rs"]
mod logins;
#[path = "providers/making.rs"]
mod making;
#[path = "providers/patroni.rs"]
mod patroni;
#[path = "providers/hostile/planted.rs"]
mod planted;
#[path = "providers/hostile/privileges.rs"]
mod privileges;
#[path = "providers/probe.rs"]
mod probe;
#[path = "providers/promotion.rs"]
mod promotion;
#[path = "providers/hostile/reach.rs"]
mod reach;
#[path = "providers/relay.rs"]
mod relay;
#[path = "providers/seat.rs"]
mod seat;
#[path = "providers/hostile/settings.rs"]
mod settings;
#[path = "providers/silence.rs"]
mod silence;
#[path = "providers/standby.rs"]
mod standby;
#[path = "providers/stopped.rs"]
mod stopped;
#[path = "providers/tenant.rs"]
mod tenant;
#[path = "providers/uri.rs"]
mod uri;
#[path = "providers/world.rs"]
mod world;
