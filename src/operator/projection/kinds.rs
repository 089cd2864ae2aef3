//! Kinds of any group: how the API server calls them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use domicile_api::TenantPlacement;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope, pinned_kind};
use kube::error::DiscoveryError;
use kube::{Api, Error, Resource};

use crate::context::Ctx;
use crate::kube::client::CallError;

/// A kind as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// The group; empty for the core group.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// The kind itself.
    pub(crate) name: String,
}

impl Kind {
    /// Reads `group/version` or `version`, and a kind.
    pub(crate) fn read(api_version: &str, kind: &str) -> Result<Self, String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let grouped = api_version.contains('/');
        if version.is_empty() || version.contains('/') || grouped == group.is_empty() {
            return Err(format!(
                "{api_version:?} is neither a version nor group/version"
            ));
        }
        if kind.is_empty() {
            return Err("there is no `kind` beside it".to_owned());
        }
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            name: kind.to_owned(),
        })
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (api_version, kind) = text.rsplit_once('/')?;
        Self::read(api_version, kind).ok()
    }

    /// Whether both name the same objects: a version is only a way to read them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.group == other.group && self.name == other.name
    }

    /// A placement, as this operator watches it.
    pub(crate) fn is_placement(&self) -> bool {
        self.group == TenantPlacement::group(&())
            && self.version == TenantPlacement::version(&())
            && self.name == TenantPlacement::kind(&())
    }

    /// A Secret itself.
    pub(crate) fn is_secret(&self) -> bool {
        self.group.is_empty() && self.version == "v1" && self.name == "Secret"
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{}/{}", self.version, self.name)
    }
}

/// Why a kind cannot be used.
#[derive(Debug)]
pub(crate) enum NoKind {
    /// The API server does not serve it.
    NotServed,
    /// Its objects are in no namespace, and a binding reaches into its own alone.
    ClusterScoped,
    /// The question was not answered.
    Call(CallError),
}

/// The kinds that were asked for. What a kind is called never changes while it is served; who
/// finds that it is not any more [forgets](Kinds::forget) it.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    known: Mutex<BTreeMap<Kind, ApiResource>>,
}

/// Most kinds that are remembered.
const LIMIT: usize = 1024;

impl Kinds {
    /// What the API server calls a kind.
    pub(crate) async fn find(&self, ctx: &Ctx, kind: &Kind) -> Result<ApiResource, NoKind> {
        let known = |kinds: &Self| {
            let known = kinds.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(kind).cloned()
        };
        if let Some(resource) = known(self) {
            return Ok(resource);
        }
        let name = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.name);
        let (resource, capabilities) = match ctx.call(pinned_kind(&ctx.client, &name)).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Err(NoKind::NotServed),
            Err(error) => return Err(NoKind::Call(error)),
        };
        if capabilities.scope == Scope::Cluster {
            return Err(NoKind::ClusterScoped);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LIMIT {
            known.clear();
        }
        known.insert(kind.clone(), resource.clone());
        Ok(resource)
    }

    /// What the API server calls a kind in the most stable version that it serves now, whichever
    /// was asked for: each leads to the same objects.
    pub(crate) async fn find_served(ctx: &Ctx, kind: &Kind) -> Result<ApiResource, NoKind> {
        let group = match ctx.call(discovery::group(&ctx.client, &kind.group)).await {
            Ok(group) => group,
            Err(error) if is_missing(&error) => return Err(NoKind::NotServed),
            Err(error) => return Err(NoKind::Call(error)),
        };
        let mut all = group.resources_by_stability().into_iter();
        let found = all.find(|(resource, capabilities)| {
            resource.kind == kind.name && capabilities.scope == Scope::Namespaced
        });
        found.map(|(resource, _)| resource).ok_or(NoKind::NotServed)
    }
}

impl Kinds {
    /// The API server does not serve a kind any more: it is looked up anew.
    pub(crate) fn forget(&self, kind: &Kind) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(kind);
    }
}

fn is_missing(error: &CallError) -> bool {
    let discovery = matches!(
        error,
        CallError::Kube(Error::Discovery(
            DiscoveryError::MissingKind(_)
                | DiscoveryError::MissingApiGroup(_)
                | DiscoveryError::MissingResource(_)
        ))
    );
    discovery || error.is_not_found()
}

/// The objects of a kind in a namespace.
pub(crate) fn api(ctx: &Ctx, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(ctx.client.clone(), namespace, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for text in [
            "apps/v1/Deployment",
            "v1/Secret",
            "a.example.com/v1beta1/Thing",
        ] {
            assert_eq!(Kind::parse(text).unwrap().to_string(), text);
        }
        assert!(Kind::parse("v1/Secret").unwrap().is_secret());
        assert!(!Kind::parse("a/v1/Secret").unwrap().is_secret());
    }

    #[test]
    fn a_version_makes_no_other_kind() {
        let kind = |text| Kind::parse(text).unwrap();
        let deployment = kind("apps/v1/Deployment");
        assert!(deployment.is_same(&kind("apps/v1beta1/Deployment")));
        assert!(!deployment.is_same(&kind("apps/v1/StatefulSet")));
        assert!(!deployment.is_same(&kind("example.com/v1/Deployment")));
    }

    #[test]
    fn a_placement_of_another_version_is_not_the_one_that_is_watched() {
        let is_placement = |text| Kind::parse(text).unwrap().is_placement();
        assert!(is_placement("domicile.dev/v1alpha1/TenantPlacement"));
        for other in [
            "domicile.dev/v9/TenantPlacement",
            "domicile.dev/v1alpha1/Region",
            "example.com/v1alpha1/TenantPlacement",
        ] {
            assert!(!is_placement(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_kind_is_refused() {
        for (api_version, kind) in [
            ("", "A"),
            ("a/b/c", "A"),
            ("/v1", "A"),
            ("a/", "A"),
            ("v1", ""),
        ] {
            assert!(Kind::read(api_version, kind).is_err(), "{api_version}");
        }
    }
}
