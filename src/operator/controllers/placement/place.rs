//! A cluster that gets a placement's Secret: the hub, or a region's own.

use domicile_api::conditions::Reason;
use domicile_api::injection::WorkloadKind;
use domicile_api::placement::TenantPlacement;
use domicile_core::names::RegionName;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};

use super::progress::{Stop, Until};
use super::serve::namespace;
use crate::context::Ctx;

/// The namespace of a placement in one cluster.
pub(super) struct Place<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) tenant: &'a TenantPlacement,
    client: Client,
    /// The region whose own cluster it is; absent for the hub.
    pub(super) region: Option<&'a RegionName>,
}

impl<'a> Place<'a> {
    /// In the hub.
    pub(super) fn hub(ctx: &'a Ctx, tenant: &'a TenantPlacement) -> Self {
        Self {
            ctx,
            tenant,
            client: ctx.client.clone(),
            region: None,
        }
    }

    /// In the cluster of a region, which `client` leads to.
    pub(super) fn of(
        ctx: &'a Ctx,
        tenant: &'a TenantPlacement,
        region: &'a RegionName,
        client: Client,
    ) -> Self {
        Self {
            ctx,
            tenant,
            client,
            region: Some(region),
        }
    }

    /// The same cluster for the same placement, as it was or will be.
    pub(super) fn with<'b>(&self, tenant: &'b TenantPlacement) -> Place<'b>
    where
        'a: 'b,
    {
        Place {
            ctx: self.ctx,
            tenant,
            client: self.client.clone(),
            region: self.region,
        }
    }

    /// The Secrets there.
    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &namespace(self.tenant))
    }

    /// The Services there.
    pub(super) fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &namespace(self.tenant))
    }

    /// The slices of Services there.
    pub(super) fn slices(&self) -> Api<EndpointSlice> {
        Api::namespaced(self.client.clone(), &namespace(self.tenant))
    }

    /// The pods there.
    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &namespace(self.tenant))
    }

    /// The workloads of a kind there.
    pub(super) fn workloads(&self, kind: WorkloadKind) -> Api<DynamicObject> {
        let resource = match kind {
            WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
            WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        };
        Api::namespaced_with(self.client.clone(), &namespace(self.tenant), &resource)
    }

    /// The placement's Secret there, for people.
    pub(super) fn secret(&self) -> String {
        let (namespace, secret) = (namespace(self.tenant), self.tenant.secret_name());
        format!("Secret {namespace}/{secret}{}", self.there())
    }

    /// What follows the name of an object that is there, for people; nothing in the hub.
    pub(super) fn there(&self) -> String {
        let told = |region| format!(" in the cluster of Region {region}");
        self.region.map(told).unwrap_or_default()
    }

    /// The namespace there, for people.
    pub(super) fn namespace(&self) -> String {
        let namespace = namespace(self.tenant);
        match self.region {
            None => format!("namespace {namespace}"),
            Some(region) => format!("namespace {namespace} of the cluster of Region {region}"),
        }
    }

    /// What it means that the namespace refuses us.
    pub(super) fn not_onboarded(&self) -> Stop {
        self.no_rights("Secrets and workloads")
    }

    /// What it means that the namespace refuses us these objects.
    pub(super) fn no_rights(&self, on: &str) -> Stop {
        let (reason, there) = if self.region.is_none() {
            (Reason::NamespaceNotOnboarded, "")
        } else {
            let there = " there, after the namespace is made";
            (Reason::ClusterNotOnboarded, there)
        };
        let message = format!(
            "the operator has no rights on {on} in {}; apply what `kubectl domicile onboard {}` \
             prints{there}",
            self.namespace(),
            namespace(self.tenant)
        );
        Stop::new(Until::Person, reason, message)
    }

    /// What it means that there is no such namespace in a region's cluster: it is never made by us.
    pub(super) fn no_namespace(&self) -> Stop {
        let message = format!(
            "there is no {}; make it, and apply what `kubectl domicile onboard {}` prints there",
            self.namespace(),
            namespace(self.tenant)
        );
        Stop::new(Until::Person, Reason::ClusterNotOnboarded, message)
    }
}
