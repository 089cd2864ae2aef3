//! The server of a tenant whose database is there before it: the one that has it.

use std::collections::BTreeMap;

use super::refusal::{Refusal, ServerError};
use super::server::{Asked, Choice, covered, is_standby};
use super::{PolicyView, RegionView};
use crate::names::{RegionName, ServerId};

/// The one server that has a database of the tenant's name, as far as the law admits it: one that a
/// placement before it left, or that it adopts. On another server it would get an empty one, for
/// good. How full the server is and whom it is for does not count, as the database stands there
/// already. What a standby has is another Region's. Nothing when no server has one.
///
/// # Errors
/// Several servers have one of the name; or none is seen to, the tenant wants no other, and a
/// server could not be asked.
pub(super) fn adopted(
    asked: &Asked<'_>,
    region: &RegionView,
    regions: &BTreeMap<RegionName, RegionView>,
    policies: &[PolicyView],
) -> Result<Option<Choice>, ServerError> {
    let having = own(asked, region, policies).filter(|name| asked.held.has_named(name));
    match having.collect::<Vec<_>>().as_slice() {
        [] => {
            let unseen = unseen(asked, region, policies);
            let refused: Vec<_> = unseen
                .map(|name| (name.clone(), Refusal::NotCounted))
                .collect();
            let wish = asked.wish.clone();
            if refused.is_empty() || !asked.held.adopts() {
                Ok(None)
            } else {
                Err(ServerError::NotKnown { wish, refused })
            }
        }
        [server] => {
            let id = ServerId {
                region: asked.region.clone(),
                server: (*server).clone(),
            };
            covered(&id, asked.allowed, regions, policies)?;
            Ok(Some(Choice {
                server: (*server).clone(),
                why: format!("{server} has a database of the tenant's name"),
            }))
        }
        several => {
            let names = several.iter().map(|name| (*name).clone());
            Err(ServerError::NamedOnSeveral(names.collect()))
        }
    }
}

/// What is added to the reason for a choice: the servers that may have had the tenant's database
/// and could not be asked. A new tenant does not wait for them.
pub(super) fn unasked(asked: &Asked<'_>, region: &RegionView, policies: &[PolicyView]) -> String {
    let unseen: Vec<&str> = unseen(asked, region, policies)
        .map(String::as_str)
        .collect();
    if unseen.is_empty() {
        return String::new();
    }
    format!(
        "; not asked whether a database of the tenant's name is there: {}",
        unseen.join(", ")
    )
}

/// The servers of the region that may hold its tenants.
fn own<'a>(
    asked: &Asked<'a>,
    region: &'a RegionView,
    policies: &'a [PolicyView],
) -> impl Iterator<Item = &'a String> + use<'a> {
    let place = asked.region;
    let names = region.servers.iter().map(|server| &server.name);
    names.filter(move |name| !is_standby(&ServerId::new(place.as_str(), name.as_str()), policies))
}

fn unseen<'a>(
    asked: &Asked<'a>,
    region: &'a RegionView,
    policies: &'a [PolicyView],
) -> impl Iterator<Item = &'a String> + use<'a> {
    let held = asked.held;
    own(asked, region, policies).filter(move |name| !held.is_counted(name))
}
