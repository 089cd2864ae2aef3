//! The Service of a placement and its slice: whose they are, what they should be, and the writes
//! that make them so. Pure.

use std::net::IpAddr;

use domicile_api::meta;
use domicile_core::endpoint::{Lead, PORT};
use domicile_core::facts::Epoch;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::controllers::placement::{inject, secret};

/// The label by which the cluster's proxies find the slices of a Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label by which others know to leave a slice alone.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What the port is called, in the Service and its slice.
const PORT_NAME: &str = "postgresql";

/// What the Service must lead to, for whom, and under which epoch.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) placement: String,
    pub(super) uid: String,
    /// The region for whose own cluster it is; absent for the hub.
    pub(super) region: Option<String>,
    pub(super) lead: Lead,
    pub(super) epoch: Epoch,
}

/// What there is of that name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Live {
    pub(super) service: Option<Service>,
    /// All slices that say that they are of the Service.
    pub(super) slices: Vec<EndpointSlice>,
}

impl Live {
    /// All that was made for the placement `uid`.
    pub(super) fn ours<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a ObjectMeta> {
        let service = self.service.iter().filter(|one| is_ours(*one, uid));
        let slices = self.slices.iter().filter(|one| is_ours(*one, uid));
        service
            .map(Resource::meta)
            .chain(slices.map(Resource::meta))
    }
}

/// Why nothing may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The Service belongs to somebody else.
    Service,
    /// This slice belongs to somebody else: it would lead clients where we do not know.
    Slice(String),
    /// It was turned under a newer epoch than the one presented.
    Newer(Epoch),
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Apply the slice; `new` when there is none of that name.
    Slice { document: Value, new: bool },
    /// Apply the Service; `new` when there is none.
    Service { document: Value, new: bool },
    /// Remove a slice of another family of addresses.
    Remove(Box<EndpointSlice>),
}

/// Whether the Service may be written for the placement `uid` under `epoch`.
pub(super) fn admit(live: &Live, uid: &str, epoch: Epoch) -> Result<(), Refusal> {
    let Live { service, slices } = live;
    if service
        .as_ref()
        .is_some_and(|service| !is_ours(service, uid))
    {
        return Err(Refusal::Service);
    }
    if let Some(foreign) = slices.iter().find(|slice| !is_ours(*slice, uid)) {
        return Err(Refusal::Slice(foreign.name_any()));
    }
    let of_slices = slices.iter().filter_map(written_under);
    let written = of_slices
        .chain(service.iter().filter_map(written_under))
        .max();
    match written {
        Some(written) if written > epoch => Err(Refusal::Newer(written)),
        Some(_) | None => Ok(()),
    }
}

/// The writes that make the Service lead where it must, in an order that never leads elsewhere: a
/// Service without a slice leads nowhere.
pub(super) fn changes(live: &Live, wanted: &Wanted) -> Vec<Change> {
    let mut changes = Vec::new();
    let slice = slice(wanted);
    if let Some(document) = &slice {
        let of_name = |one: &&EndpointSlice| {
            Some(one.name_any().as_str()) == document["metadata"]["name"].as_str()
        };
        let there = live.slices.iter().find(of_name);
        if let Some(document) = differing(there, document.clone()) {
            let new = there.is_none();
            changes.push(Change::Slice { document, new });
        }
    }
    if let Some(document) = differing(live.service.as_ref(), service(wanted)) {
        let new = live.service.is_none();
        changes.push(Change::Service { document, new });
    }
    let name = slice
        .as_ref()
        .and_then(|slice| slice["metadata"]["name"].as_str());
    let others = live
        .slices
        .iter()
        .filter(|one| Some(one.name_any().as_str()) != name);
    changes.extend(others.cloned().map(Box::new).map(Change::Remove));
    changes
}

/// Whether an object was made for the placement `uid`.
pub(super) fn is_ours(object: &impl Resource, uid: &str) -> bool {
    let annotations = object.meta().annotations.as_ref();
    let owner = annotations.and_then(|annotations| annotations.get(meta::OWNER_UID));
    owner.is_some_and(|owner| owner == uid)
}

/// The region for whose own cluster an object was made; absent for the hub.
pub(super) fn region(meta: &ObjectMeta) -> Option<&str> {
    let annotations = meta.annotations.as_ref()?;
    annotations.get(meta::REGION).map(String::as_str)
}

/// The document, to be applied to exactly the object that was read, if that is not so already.
fn differing<K>(live: Option<&K>, mut document: Value) -> Option<Value>
where
    K: Resource + serde::Serialize,
{
    let Some(live) = live else {
        return Some(document);
    };
    let there = serde_json::to_value(live).unwrap_or_default();
    if inject::holds(&there, &document) {
        return None;
    }
    document["metadata"]["uid"] = json!(live.meta().uid);
    document["metadata"]["resourceVersion"] = json!(live.meta().resource_version);
    Some(document)
}

fn service(wanted: &Wanted) -> Value {
    let mut annotations = annotations(wanted);
    let spec = match &wanted.lead {
        Lead::Address { .. } => json!({
            "type": "ClusterIP",
            // An address of the other family is reached where the cluster has that, too.
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [{
                "name": PORT_NAME, "port": PORT, "protocol": "TCP", "targetPort": PORT,
            }],
        }),
        Lead::Alias { name, port: _ } => {
            annotations[meta::EPOCH] = wanted.epoch.to_string().into();
            json!({ "type": "ExternalName", "externalName": name })
        }
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": labels(wanted),
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// The slice of a Service that leads to an address.
fn slice(wanted: &Wanted) -> Option<Value> {
    let Lead::Address { address, port } = &wanted.lead else {
        return None;
    };
    // A slice never changes its family, so each has its own.
    let (suffix, family) = match address {
        IpAddr::V4(_) => ("ipv4", "IPv4"),
        IpAddr::V6(_) => ("ipv6", "IPv6"),
    };
    let mut labels = labels(wanted);
    labels[SERVICE_NAME] = wanted.name.clone().into();
    labels[MANAGED_BY] = meta::GROUP.into();
    let mut annotations = annotations(wanted);
    annotations[meta::EPOCH] = wanted.epoch.to_string().into();
    Some(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{suffix}", wanted.name),
            "namespace": wanted.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "addressType": family,
        "endpoints": [{
            "addresses": [address.to_string()], "conditions": { "ready": true },
        }],
        "ports": [{ "name": PORT_NAME, "port": port, "protocol": "TCP" }],
    }))
}

fn labels(wanted: &Wanted) -> Value {
    let (key, value) = secret::label(&wanted.placement);
    json!({ key: value })
}

/// Whose it is, and in which cluster.
fn annotations(wanted: &Wanted) -> Value {
    let mut annotations = json!({ meta::OWNER_UID: wanted.uid });
    if let Some(region) = &wanted.region {
        annotations[meta::REGION] = region.clone().into();
    }
    annotations
}

/// The epoch that an object was written under.
fn written_under(object: &impl Resource) -> Option<Epoch> {
    let annotations = object.meta().annotations.as_ref()?;
    annotations.get(meta::EPOCH)?.parse().ok().map(Epoch)
}

#[cfg(test)]
mod tests;
