//! `onboard NAMESPACE`: the `RoleBinding` by which the operator serves a namespace, as the chart
//! writes it for each of its `tenantNamespaces`.

use crate::args::OnboardArgs;

/// The YAML, for `kubectl apply -f -` or for Git.
pub fn run(args: &OnboardArgs) -> String {
    let OnboardArgs {
        tenant_namespace,
        operator_namespace,
        fullname,
    } = args;
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {fullname}
  namespace: {tenant_namespace}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {fullname}-tenant
subjects:
  - kind: ServiceAccount
    name: {fullname}
    namespace: {operator_namespace}
"
    )
}
