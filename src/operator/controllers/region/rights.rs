//! Whether the login has the rights that it needs on each server.

use domicile_api::reasons::Reason;
use domicile_core::admin::SET_LOGINS;
use kube::ResourceExt;

use super::build::Joint;
use crate::controllers::region::observe::Observation;
use crate::probes::Sample;

/// Rights that are missing fail it; what only makes a move slow is told beside.
pub(super) fn rights(seen: &Observation) -> Joint {
    let name = seen.region.name_any();
    let facts = |sample: &Sample| sample.facts.clone();
    let known: Vec<_> = seen
        .samples
        .iter()
        .filter_map(|(server, s)| Some((server, facts(s)?)))
        .collect();
    if known.is_empty() {
        let message = "No database server was read yet".to_owned();
        return Joint::Open {
            reason: Reason::NotObserved,
            message,
        };
    }
    let lacking: Vec<_> = known
        .iter()
        .filter(|(_, facts)| !facts.missing_rights.is_empty())
        .map(|(server, facts)| {
            let rights = facts.missing_rights.join(", ");
            format!(
                "{name}/{server}: the login lacks {rights}; run the output of `kubectl domicile \
                 admin-sql {name}/{server}` as a superuser"
            )
        })
        .collect();
    if lacking.is_empty() {
        let slow = known.iter().filter(|(_, facts)| facts.slow_logins);
        let advice = slow.map(|(server, facts)| {
            format!(
                "; {name}/{server}: a move opens and closes logins one by one, for which its \
                 steps are too short from some 800 tenants on PostgreSQL {} on; run the output \
                 of `kubectl domicile admin-sql {name}/{server}` as a superuser: it makes \
                 {SET_LOGINS}",
                facts.major_version
            )
        });
        let advice: String = advice.collect();
        let message = format!("The login has the rights that it needs{advice}");
        Joint::Holds {
            reason: Reason::PrivilegesSufficient,
            message,
        }
    } else {
        Joint::Fails {
            reason: Reason::PrivilegesMissing,
            message: lacking.join("; "),
        }
    }
}
