//! Which server answers for a tenant now.

use std::fmt;

use super::PolicyView;
use crate::facts::{Authority, Epoch};
use crate::failover::State;
use crate::names::{RegionName, ServerId};

/// Where the tenant is served now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// This server, under this epoch.
    Serve {
        /// The server.
        server: ServerId,
        /// The epoch to present.
        epoch: Epoch,
    },
    /// Nothing may be changed now: no SQL, no change of the Secret.
    Hold(Hold),
}

/// Why nothing may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// A move is under way, or is stopped.
    Moving {
        /// The policy.
        policy: String,
        /// Its state; absent when the stored word is unknown.
        state: Option<State>,
    },
    /// The policy has not begun to work.
    PolicyStarting(String),
    /// The policy names an active region that is not among its servers.
    ActiveRegionUnknown {
        /// The policy.
        policy: String,
        /// The region that it names.
        region: RegionName,
    },
    /// The tenant was moved by a policy that is gone: only a policy can tell who may write.
    PolicyMissing {
        /// Where the tenant was served last.
        active: RegionName,
    },
    /// No policy, and the server's own row says that it may not write.
    Fenced {
        /// The server.
        server: ServerId,
        /// The epoch under which it was fenced.
        epoch: Epoch,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moving { policy, state } => write!(
                f,
                "FailoverPolicy {policy} is in state {}; the tenant's Secret stays as it is until \
                 the move is decided",
                state.map_or("unknown", State::as_str)
            ),
            Self::PolicyStarting(policy) => write!(
                f,
                "FailoverPolicy {policy} has not taken up its work yet; see `kubectl domicile \
                 explain failoverpolicy/{policy}`"
            ),
            Self::ActiveRegionUnknown { policy, region } => write!(
                f,
                "FailoverPolicy {policy} says that {region} is active, which is none of its \
                 servers; list it again"
            ),
            Self::PolicyMissing { active } => write!(
                f,
                "the tenant was moved to {active} by a FailoverPolicy that is gone; create the \
                 policy again, it finds the active server by itself"
            ),
            Self::Fenced { server, epoch } => write!(
                f,
                "{server} is fenced (epoch {epoch}) and no FailoverPolicy covers it; create the \
                 policy again"
            ),
        }
    }
}

/// Where the tenant was served when its status was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `status.activeRegion`.
    pub active: RegionName,
    /// `status.epoch`.
    pub epoch: Epoch,
}

/// The server of the home region that holds the tenant, from the server that last served it: that
/// server itself, or the primary of the policy that moved the tenant there. `None` for a tenant
/// that was never served.
pub fn home_server(
    home: &RegionName,
    recorded: Option<&ServerId>,
    policies: &[PolicyView],
) -> Result<Option<String>, Hold> {
    let Some(recorded) = recorded else {
        return Ok(None);
    };
    if recorded.region == *home {
        return Ok(Some(recorded.server.clone()));
    }
    let moved_it =
        |policy: &&PolicyView| policy.primary.region == *home && policy.standbys.contains(recorded);
    match policies.iter().find(moved_it) {
        Some(policy) => Ok(Some(policy.primary.server.clone())),
        None => Err(Hold::PolicyMissing {
            active: recorded.region.clone(),
        }),
    }
}

/// Who serves the tenant whose home server is `home`. `row` is the authority row of the home
/// server, when it was read.
pub fn route(
    home: &ServerId,
    policy: Option<&PolicyView>,
    recorded: Option<&Recorded>,
    row: Option<Authority>,
) -> Route {
    let Some(policy) = policy else {
        return route_alone(home, recorded, row);
    };
    let Some(machine) = &policy.machine else {
        // A policy that has not begun moves nobody: who is served at home stays served.
        let at_home = recorded.is_some_and(|recorded| recorded.active == home.region);
        return match route_alone(home, recorded, row) {
            Route::Serve { server, epoch } if at_home => Route::Serve { server, epoch },
            Route::Serve { .. } | Route::Hold(_) => {
                Route::Hold(Hold::PolicyStarting(policy.name.clone()))
            }
        };
    };
    let serving = machine.state.is_some_and(serves);
    if !serving {
        let policy = policy.name.clone();
        return Route::Hold(Hold::Moving {
            policy,
            state: machine.state,
        });
    }
    let servers = std::iter::once(&policy.primary).chain(&policy.standbys);
    let active = servers
        .into_iter()
        .find(|server| server.region == machine.active);
    let Some(server) = active else {
        let (policy, region) = (policy.name.clone(), machine.active.clone());
        return Route::Hold(Hold::ActiveRegionUnknown { policy, region });
    };
    // A policy that lost its memory starts below what this tenant has already seen.
    match recorded {
        Some(recorded) if recorded.epoch > machine.epoch => {
            Route::Hold(Hold::PolicyStarting(policy.name.clone()))
        }
        Some(_) | None => Route::Serve {
            server: server.clone(),
            epoch: machine.epoch,
        },
    }
}

fn route_alone(home: &ServerId, recorded: Option<&Recorded>, row: Option<Authority>) -> Route {
    if let Some(recorded) = recorded
        && recorded.active != home.region
    {
        return Route::Hold(Hold::PolicyMissing {
            active: recorded.active.clone(),
        });
    }
    let known = recorded.map_or(Epoch(0), |recorded| recorded.epoch);
    match row {
        Some(Authority {
            epoch,
            writable: false,
        }) => Route::Hold(Hold::Fenced {
            server: home.clone(),
            epoch,
        }),
        Some(Authority {
            epoch,
            writable: true,
        }) => Route::Serve {
            server: home.clone(),
            epoch: epoch.max(known),
        },
        None => Route::Serve {
            server: home.clone(),
            epoch: known,
        },
    }
}

/// Whether the machine's active region may be given to tenants in this state.
fn serves(state: State) -> bool {
    match state {
        State::Steady
        | State::Suspect
        | State::Outage
        | State::Blocked
        | State::AwaitingApproval
        | State::Rerouting
        | State::Verifying => true,
        State::Draining
        | State::Fencing
        | State::CatchingUp
        | State::Aborting
        | State::Promoting
        | State::Halted => false,
    }
}
