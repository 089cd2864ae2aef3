//! What a Region says of the read replicas of its servers.

use domicile_api::conditions::{ConditionType, Conditions, Status};
use domicile_api::reasons::Reason;
use domicile_core::placement::ReplicaView;
use kube::ResourceExt;

use crate::controllers::region::observe::Observation;

/// Says whether each replica may be read from; nothing where there is none.
pub(super) fn condition(seen: &Observation, conditions: &mut Conditions) {
    let type_ = ConditionType::ReadReplicasFollow;
    if seen.replicas.is_empty() {
        return conditions.remove(type_);
    }
    let region = seen.region.name_any();
    let unfit = |(server, replica): &(String, ReplicaView)| {
        let fault = replica.standing.as_ref()?.fault()?;
        Some(format!("{} of {region}/{server} {fault}", replica.address))
    };
    let unfit: Vec<String> = seen.replicas.iter().filter_map(unfit).collect();
    let open = |(_, replica): &(String, ReplicaView)| replica.standing.is_none();
    if !unfit.is_empty() {
        let message = format!(
            "not read from: {}; mend it, or correct `spec.databaseServers.readReplicas`",
            unfit.join("; ")
        );
        conditions.set(type_, Status::False, Reason::ReplicaUnfit, &message);
    } else if seen.replicas.iter().any(open) {
        let message = "not each read replica was looked at yet";
        conditions.set(type_, Status::Unknown, Reason::NotObserved, message);
    } else {
        let count = seen.replicas.len();
        let message = format!("{count} of {count} read replicas follow their servers");
        conditions.set(type_, Status::True, Reason::ReplicasFollow, &message);
    }
}

#[cfg(test)]
mod tests {
    use domicile_api::conditions::find;
    use domicile_core::replica::{Address, Fault, Standing};
    use jiff::Timestamp;

    use super::*;
    use crate::controllers::region::build::tests::seen;

    fn told(standings: &[Option<Standing>]) -> Option<(String, String)> {
        let mut seen = seen(None, None);
        let view = |(port, standing): (u16, &Option<Standing>)| {
            let host = "10.0.0.9".to_owned();
            let address = Address { host, port };
            let standing = standing.clone();
            ("main".to_owned(), ReplicaView { address, standing })
        };
        seen.replicas = (1..).zip(standings).map(view).collect();
        let mut conditions = Conditions::of(&[], None, Timestamp::UNIX_EPOCH);
        condition(&seen, &mut conditions);
        let list = conditions.into_list();
        let found = find(&list, ConditionType::ReadReplicasFollow)?;
        Some((found.reason.clone(), found.message.clone()))
    }

    fn look(found: Result<(), Fault>) -> Standing {
        Standing::next(None, found)
    }

    #[test]
    fn a_replica_that_is_not_read_from_is_named_with_what_is_wrong() {
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[Some(look(Ok(()))), None]).unwrap().0, "NotObserved");
        assert_eq!(told(&[Some(look(Ok(())))]).unwrap().0, "ReplicasFollow");
        let (reason, message) =
            told(&[Some(look(Ok(()))), Some(look(Err(Fault::Promoted)))]).unwrap();
        assert_eq!(reason, "ReplicaUnfit");
        let fact = "10.0.0.9:2 of west/main takes writes by its own account";
        assert!(message.contains(fact), "{message}");
        assert!(message.contains("spec.databaseServers.readReplicas"));
    }
}
