//! What the operator may do, as a table. The chart's roles are generated from it, and the tests run
//! under them. No wildcard; Secrets only within named namespaces.

/// Where a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the whole cluster: a `ClusterRole` with a `ClusterRoleBinding`.
    Cluster,
    /// As [`Self::Cluster`], unless `watchWorkloads` is turned off.
    Workloads,
    /// In the operator's own namespace: a `Role`.
    Operator,
    /// In each onboarded namespace: a `ClusterRole` with a `RoleBinding` per namespace.
    Tenant,
    /// In each namespace where service bindings are served: a `ClusterRole` that collects others by
    /// label, with a `RoleBinding` per namespace.
    Binding,
    /// For the agent of one region, in the whole hub, by name.
    Agent,
    /// For the agent of one region, in the operator's namespace of the hub, by name.
    AgentHub,
    /// For agents and the hub, in the operator's namespace of a standby's own cluster.
    Promise,
    /// Where copies of old primaries are made, in the operator's namespace of that cluster.
    Dump,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Where it holds.
    pub scope: Scope,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resources.
    pub resources: &'static [&'static str],
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// Why it is needed, for the reader of the chart.
    pub why: &'static str,
}

const GROUP: &str = domicile_api::meta::GROUP;

/// All rules.
pub fn rules() -> Vec<Rule> {
    RULES.to_vec()
}

const RULES: &[Rule] = &[
    Rule {
        scope: Scope::Cluster,
        group: GROUP,
        resources: &[
            "regions",
            "tenantplacements",
            "failoverpolicies",
            "failoveroperations",
        ],
        verbs: &["get", "list", "watch"],
        why: "read what is wanted",
    },
    Rule {
        scope: Scope::Cluster,
        group: GROUP,
        resources: &[
            "regions/status",
            "tenantplacements/status",
            "failoverpolicies/status",
            "failoveroperations/status",
        ],
        verbs: &["update"],
        why: "tell what is",
    },
    Rule {
        scope: Scope::Cluster,
        group: GROUP,
        resources: &["tenantplacements", "failoverpolicies"],
        verbs: &["patch"],
        why: "set and remove the finalizer",
    },
    Rule {
        scope: Scope::Cluster,
        group: GROUP,
        resources: &["failoveroperations"],
        verbs: &["create"],
        why: "record automatic moves",
    },
    Rule {
        scope: Scope::Cluster,
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["create", "get", "patch"],
        why: "tell what happened",
    },
    Rule {
        scope: Scope::Cluster,
        group: "servicebinding.io",
        resources: &["servicebindings", "clusterworkloadresourcemappings"],
        verbs: &["get", "list", "watch"],
        why: "read which services are bound into which workloads",
    },
    Rule {
        scope: Scope::Cluster,
        group: "servicebinding.io",
        resources: &["servicebindings"],
        verbs: &["patch"],
        why: "set and remove the finalizer",
    },
    Rule {
        scope: Scope::Cluster,
        group: "servicebinding.io",
        resources: &["servicebindings/status"],
        verbs: &["update"],
        why: "tell what is bound",
    },
    Rule {
        scope: Scope::Cluster,
        group: "apiextensions.k8s.io",
        resources: &["customresourcedefinitions"],
        verbs: &["get"],
        why: "know whether another implementation brought these kinds",
    },
    Rule {
        scope: Scope::Workloads,
        group: "apps",
        resources: &["daemonsets", "deployments", "statefulsets"],
        verbs: &["list", "watch"],
        why: "see at once that a workload came or changed, and look for it no more",
    },
    Rule {
        scope: Scope::Operator,
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["create", "get", "patch"],
        why: "elect a leader",
    },
    Rule {
        scope: Scope::Operator,
        group: "",
        resources: &["secrets"],
        verbs: &["get"],
        why: "read the logins and certificate authorities of database servers, by name",
    },
    Rule {
        scope: Scope::Tenant,
        group: "",
        resources: &["secrets"],
        verbs: &["create", "delete", "get", "patch"],
        why: "publish a tenant's credentials, by name",
    },
    Rule {
        scope: Scope::Tenant,
        group: "apps",
        resources: &["daemonsets", "deployments", "statefulsets"],
        verbs: &["get", "list", "patch"],
        why: "hand the credentials to the selected workloads",
    },
    Rule {
        scope: Scope::Tenant,
        group: "",
        resources: &["services"],
        verbs: &["create", "delete", "get", "patch"],
        why: "give a tenant's server a name that stays, by name",
    },
    Rule {
        scope: Scope::Tenant,
        group: "discovery.k8s.io",
        resources: &["endpointslices"],
        verbs: &["create", "delete", "list", "patch"],
        why: "turn that name to another server",
    },
    Rule {
        scope: Scope::Tenant,
        group: "",
        resources: &["pods"],
        verbs: &["list"],
        why: "know which pods started before the credentials changed",
    },
    Rule {
        scope: Scope::Binding,
        group: "",
        resources: &["secrets"],
        verbs: &["get"],
        why: "know whether the Secret of a service exists, by name",
    },
    Rule {
        scope: Scope::Binding,
        group: "apps",
        resources: &["daemonsets", "deployments", "statefulsets"],
        verbs: &["get", "list", "patch", "watch"],
        why: "bind services into workloads",
    },
    Rule {
        scope: Scope::Binding,
        group: "batch",
        resources: &["cronjobs"],
        verbs: &["get", "list", "patch", "watch"],
        why: "bind services into workloads",
    },
    Rule {
        scope: Scope::Agent,
        group: GROUP,
        resources: &["regions"],
        verbs: &["get"],
        why: "know the servers of its own region",
    },
    Rule {
        scope: Scope::Agent,
        group: GROUP,
        resources: &["failoverpolicies"],
        verbs: &["get"],
        why: "know which of them each policy means",
    },
    Rule {
        scope: Scope::AgentHub,
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["get", "patch"],
        why: "renew the write leases of its policies",
    },
    Rule {
        scope: Scope::AgentHub,
        group: "",
        resources: &["secrets"],
        verbs: &["get"],
        why: "log in to the servers of its own region",
    },
    Rule {
        scope: Scope::Promise,
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["get", "patch"],
        why: "promise to a primary elsewhere, or permit that it is overtaken",
    },
    Rule {
        scope: Scope::Promise,
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["create"],
        why: "make the promise; a right to create knows no names",
    },
    Rule {
        scope: Scope::Dump,
        group: "batch",
        resources: &["cronjobs"],
        verbs: &["get"],
        why: "read the template of a copy, by name",
    },
    Rule {
        scope: Scope::Dump,
        group: "batch",
        resources: &["jobs"],
        verbs: &["create", "get"],
        why: "make the copy and see its end",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults: 20.
    #[test]
    fn nothing_is_a_wildcard_and_secrets_are_never_listed_or_cluster_wide() {
        for rule in rules() {
            let words = rule.resources.iter().chain(rule.verbs).chain([&rule.group]);
            assert!(words.clone().all(|word| !word.contains('*')), "{rule:?}");
            if rule.resources.contains(&"secrets") {
                assert!(![Scope::Cluster, Scope::Workloads].contains(&rule.scope));
                assert!(
                    rule.verbs
                        .iter()
                        .all(|verb| !["list", "watch"].contains(verb))
                );
            }
        }
    }
}
