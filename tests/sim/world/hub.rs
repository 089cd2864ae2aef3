//! The API server: objects with a resource version, and writes that compare it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use domicile_core::facts::Epoch;
use domicile_core::failover::{Accept, MoveKind, Stored};
use domicile_core::lease::{Promise, WriteLease};
use domicile_core::names::RegionName;

use super::records::Record;
use crate::fault::{Ms, Watch};

#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub version: u64,
    pub stored: Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    AwaitingApproval,
    Running,
    Ended,
}

/// What an approver agreed to: this move, from this epoch, on this evidence.
pub(crate) type Evidence = (Epoch, RegionName, Option<jiff::Timestamp>);

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub version: u64,
    /// Creation order.
    pub number: u64,
    pub name: String,
    pub kind: MoveKind,
    pub target: RegionName,
    pub expected: Epoch,
    pub accept: BTreeSet<Accept>,
    pub automatic: bool,
    pub progress: Progress,
    pub approvals: Vec<Evidence>,
}

/// A tenant's placement: where it was last pointed at, and under which epoch.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub version: u64,
    pub active: usize,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret {
    pub version: u64,
    pub region: usize,
    pub epoch: Epoch,
}

/// Who leads: an operator's process, by its number of start.
pub(crate) type Holder = (usize, u32);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub version: u64,
    pub holder: Option<Holder>,
}

/// A call, and all that its write needs.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    GetLease,
    PutLease(u64),
    List(Watch),
    Store(u64, Rc<Stored>, Rc<super::Decided>),
    Create(Rc<Operation>),
    Record(u64, String, Progress),
    GetSecret,
    PutSecret(u64, crate::operator::Seat),
    PutPlacement(u64, usize, Epoch),
    /// The write lease, or the promise of this region.
    GetRecord(Option<usize>),
    PutRecord(Record, Option<u64>),
}

/// What the API server answers; also what a watch shows.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    Lease(Lease),
    Policy(Rc<Policy>),
    Operation(Rc<Operation>),
    Operations(Vec<Rc<Operation>>),
    Placement(Rc<Placement>),
    Secret(Secret),
    WriteLease(Option<(WriteLease, u64)>),
    Promise(Option<(Promise, u64)>),
    Version(u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Ok(Object),
    /// The object changed since, or exists.
    Conflict,
    /// No answer in time.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub version: u64,
    pub policy: Rc<Policy>,
    pub operations: BTreeMap<String, Rc<Operation>>,
    pub placement: Rc<Placement>,
    pub secret: Secret,
    pub lease: Lease,
    /// Writes other than those of the lease, and when the last one was.
    pub writes: u64,
    pub last_write: Ms,
}

impl Hub {
    pub(crate) fn new(stored: Stored) -> Self {
        let (version, epoch, active) = (1, stored.epoch, 0);
        Self {
            version,
            policy: Rc::new(Policy { version, stored }),
            operations: BTreeMap::new(),
            placement: Rc::new(Placement {
                version,
                active,
                epoch,
            }),
            secret: Secret {
                version,
                region: active,
                epoch,
            },
            lease: Lease {
                version,
                holder: None,
            },
            writes: 0,
            last_write: 0,
        }
    }

    pub(crate) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    pub(crate) fn list(&self, watch: Watch) -> Object {
        match watch {
            Watch::Policy => Object::Policy(Rc::clone(&self.policy)),
            Watch::Operations => Object::Operations(self.operations.values().cloned().collect()),
            Watch::Placements => Object::Placement(Rc::clone(&self.placement)),
        }
    }
}
