use super::*;
use crate::replica::{Address, Fault, Standing};

fn address(host: &str) -> Address {
    Address {
        host: host.to_owned(),
        port: 5433,
    }
}

fn replica(host: &str, standing: impl Into<Option<Standing>>) -> ReplicaView {
    ReplicaView {
        address: address(host),
        standing: standing.into(),
    }
}

fn usable() -> Standing {
    Standing::next(None, Ok(()))
}

fn left(fault: Fault) -> Standing {
    Standing::Unusable {
        fault,
        clean: 0,
        falls: 1,
    }
}

/// A placement that is led to `recorded` now, by its status.
struct Case<'a> {
    replicas: &'a [ReplicaView],
    recorded: Option<&'a str>,
    refused: &'a [&'a str],
    settled: bool,
    allowed: &'a str,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            replicas: &[],
            recorded: None,
            refused: &[],
            settled: true,
            allowed: "EU",
        }
    }
}

impl Case<'_> {
    fn asked(&self) -> Reads {
        let recorded = self.recorded.map(address);
        let refused = self.refused.iter().map(|host| address(host)).collect();
        reads(&Reader {
            server: &ServerId::new("eu-west", "main"),
            jurisdiction: &Jurisdiction::new("EU"),
            allowed: &[Jurisdiction::new(self.allowed)].into(),
            replicas: self.replicas,
            recorded: recorded.as_ref(),
            refused: &refused,
            settled: self.settled,
        })
    }

    /// The host of the replica; `primary` when there is none.
    fn host(&self) -> String {
        let reads = self.asked();
        let replica = reads.replica();
        replica.map_or_else(|| "primary".to_owned(), |address| address.host.clone())
    }
}

#[test]
fn who_reads_is_led_to_the_first_replica_that_is_fit() {
    let replicas = [
        replica("r1", left(Fault::Silent)),
        replica("r2", usable()),
        replica("r3", usable()),
    ];
    let case = Case {
        replicas: &replicas,
        ..Case::default()
    };
    assert_eq!(case.host(), "r2");
}

#[test]
fn who_reads_from_a_replica_stays_there_when_another_one_comes_back() {
    let replicas = [replica("r1", usable()), replica("r2", usable())];
    let case = Case {
        replicas: &replicas,
        recorded: Some("r2"),
        ..Case::default()
    };
    assert_eq!(case.host(), "r2");
}

#[test]
fn a_new_process_moves_nobody_before_it_has_looked_three_times() {
    let open = Some(Standing::Open {
        misses: 2,
        fault: Fault::Silent,
    });
    for standing in [None, open] {
        let replicas = [replica("r1", standing)];
        for (recorded, host) in [(Some("r1"), "r1"), (None, "primary")] {
            let case = Case {
                replicas: &replicas,
                recorded,
                ..Case::default()
            };
            assert_eq!(case.host(), host);
        }
    }
}

#[test]
fn a_replica_of_another_server_is_left_with_it() {
    // After a move the recorded replica is none of the server that answers now.
    let replicas = [replica("r2", usable())];
    let case = Case {
        replicas: &replicas,
        recorded: Some("r1"),
        ..Case::default()
    };
    assert_eq!(case.host(), "r2");
    let none = Case {
        recorded: Some("r1"),
        ..Case::default()
    };
    assert_eq!(none.asked(), Reads::Primary(NoReplica::NoneListed));
}

#[test]
fn while_the_server_is_suspected_nothing_changes_for_its_readers() {
    let silent = [replica("r1", left(Fault::Silent)), replica("r2", usable())];
    for (recorded, host) in [(Some("r1"), "r1"), (None, "primary")] {
        let case = Case {
            replicas: &silent,
            recorded,
            settled: false,
            ..Case::default()
        };
        assert_eq!(case.host(), host);
    }
    // But nobody reads from what is no copy.
    let promoted = [replica("r1", left(Fault::Promoted))];
    let case = Case {
        replicas: &promoted,
        recorded: Some("r1"),
        settled: false,
        ..Case::default()
    };
    assert_eq!(case.host(), "primary");
}

#[test]
fn a_replica_that_refuses_the_tenant_is_passed_over_and_told() {
    let replicas = [replica("r1", usable()), replica("r2", usable())];
    let case = Case {
        replicas: &replicas,
        recorded: Some("r1"),
        refused: &["r1"],
        ..Case::default()
    };
    assert_eq!(case.host(), "r2");
    let both = Case {
        refused: &["r1", "r2"],
        ..case
    };
    assert_eq!(both.host(), "primary", "none is tried again and again");
    let only = Case {
        replicas: &replicas[..1],
        refused: &["r1"],
        ..Case::default()
    };
    let told = only.asked().why(&ServerId::new("eu-west", "main"));
    assert!(
        told.contains("r1:5433 refuses the tenant's login"),
        "{told}"
    );
}

#[test]
fn outside_the_law_of_the_tenant_no_replica_is_read_from() {
    let replicas = [replica("r1", usable())];
    let case = Case {
        replicas: &replicas,
        recorded: Some("r1"),
        allowed: "US",
        ..Case::default()
    };
    assert_eq!(case.asked(), Reads::Primary(NoReplica::NotAllowed));
}

#[test]
fn a_replica_that_nobody_looked_at_yet_may_be_waited_for() {
    let unknown = [
        replica("r1", None::<Standing>),
        replica("r2", left(Fault::Behind)),
    ];
    let open = Case {
        replicas: &unknown,
        ..Case::default()
    };
    assert!(open.asked().is_open());
    let told = open.asked().why(&ServerId::new("eu-west", "main"));
    for part in [
        "r1:5433 was not looked at yet",
        "r2:5433 is more than 60 s behind",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let known = Case {
        replicas: &unknown[1..],
        ..Case::default()
    };
    assert!(!known.asked().is_open());
    assert!(!Case::default().asked().is_open());
}

#[test]
fn read_replicas_are_copies_in_the_region_of_their_server() {
    let mut regions = regions();
    for name in ["eu-west", "us-east"] {
        let region = regions.get_mut(&RegionName::new(name)).unwrap();
        region.servers[0].replicated = true;
    }
    let policy = policy(Some(State::Steady), "eu-west", "us-east");
    let active = ServerId::new("eu-west", "main");
    let eu = [Jurisdiction::new("EU")].into();
    let Copies(all) = copies(&active, Some(&policy), &eu, &regions);
    let replicas = all.iter().filter(|copy| copy.kind == CopyKind::ReadReplica);
    let found: Vec<_> = replicas
        .map(|copy| (copy.region.as_str(), copy.compliant))
        .collect();
    assert_eq!(found, [("eu-west", true), ("us-east", false)]);
}
