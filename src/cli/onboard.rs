//! `onboard NAMESPACE`: the `RoleBinding`s by which the operator serves a namespace, as the chart
//! writes them for each of its `tenantNamespaces`; in the hub, and in the cluster of a region whose
//! kubeconfig is of the account that the chart makes there.

use crate::args::OnboardArgs;

/// The YAML, for `kubectl apply -f -` or for Git.
pub fn run(args: &OnboardArgs) -> String {
    let tenant = (!args.bindings_only).then(|| binding(args, "", "-tenant"));
    let bindings = binding(args, "-binding", "-binding");
    let all: Vec<String> = tenant.into_iter().chain([bindings]).collect();
    all.join("---\n")
}

fn binding(args: &OnboardArgs, suffix: &str, role: &str) -> String {
    let OnboardArgs {
        tenant_namespace,
        operator_namespace,
        fullname,
        bindings_only: _,
    } = args;
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {fullname}{suffix}
  namespace: {tenant_namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {fullname}{role}
subjects:
  - kind: ServiceAccount
    name: {fullname}
    namespace: {operator_namespace}
"
    )
}
