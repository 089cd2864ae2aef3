//! Names that several programs must agree on: the group, labels, annotations, field managers.

/// The API group of all kinds.
pub const GROUP: &str = "domicile.dev";

/// The served and stored version.
pub const VERSION: &str = "v1alpha1";

/// The namespace that the operator runs in unless its chart says otherwise.
pub const NAMESPACE: &str = "domicile-system";

/// The category that `kubectl get domicile` lists.
pub const CATEGORY: &str = "domicile";

/// Finalizer of a `TenantPlacement`: the operator decides what happens to the database first.
pub const PLACEMENT_FINALIZER: &str = "domicile.dev/placement";

/// Finalizer of a `FailoverPolicy`: deletion waits for the end of a running move.
pub const POLICY_FINALIZER: &str = "domicile.dev/policy";

/// Finalizer of a `ServiceBinding`: deletion waits until the workloads are as they were.
pub const BINDING_FINALIZER: &str = "domicile.dev/binding";

/// Annotation on a `ServiceBinding`: the kinds of workloads that may carry it, between commas.
pub const BOUND_KINDS: &str = "domicile.dev/bound-kinds";

/// Annotation on a `Region`: the system identifier of a server that was replaced on purpose.
pub const ACCEPT_SYSTEM_IDENTIFIER: &str = "domicile.dev/accept-system-identifier";

/// Annotation on a `TenantPlacement`: with the value `true`, deletion cleans nothing up.
pub const SKIP_CLEANUP: &str = "domicile.dev/skip-cleanup";

/// Annotation on a `TenantPlacement`: until this time, within a day (RFC 3339), an empty database
/// is made in the place of one that is gone.
pub const MAKE_DATABASE_UNTIL: &str = "domicile.dev/make-database-until";

/// Annotation on any of our resources: a new value triggers one pass.
pub const RECONCILE_AT: &str = "domicile.dev/reconcile-at";

/// Annotation on a `TenantPlacement`: a new value asks for a rotation of its credentials.
pub const ROTATE_AT: &str = "domicile.dev/rotate-at";

/// Annotation on a Secret, a Service or its slice: the UID of the `TenantPlacement` that it belongs
/// to.
pub const OWNER_UID: &str = "domicile.dev/owner-uid";

/// Annotation on a Secret in the cluster of a Region: its name.
pub const REGION: &str = "domicile.dev/region";

/// Annotation on a Job: the policy, region and epoch whose old primary it copies.
pub const DUMP_OF: &str = "domicile.dev/dump-of";

/// Annotation on a `CronJob` that is a template for copies: the jurisdictions, between commas, that
/// its copies may stay in. Asked for where a Region has no cluster of its own.
pub const DUMP_JURISDICTIONS: &str = "domicile.dev/jurisdictions";

/// Annotation on a Secret, a Service or its slice: the epoch of the server that it leads to.
pub const EPOCH: &str = "domicile.dev/epoch";

/// Annotation on a Lease: the record of a write lease or a promise.
pub const AUTHORITY: &str = "domicile.dev/authority";

/// Annotation on a Secret, and on pod templates or workloads: the hash of the Secret's content.
pub const SECRET_HASH: &str = "domicile.dev/secret-hash";

/// Annotation on a workload: the server that the Secret led to when the workload got it, and the
/// generation of the credentials.
pub const SECRET_ORIGIN: &str = "domicile.dev/secret-origin";

/// Annotation on a Secret: when its content last changed.
pub const PUBLISHED_AT: &str = "domicile.dev/published-at";

/// Annotation on a Secret: the request for a rotation that its logins answer, as [`ROTATE_AT`] has
/// it.
pub const ANSWERED_REQUEST: &str = "domicile.dev/answered-request";

/// Label on Secrets and Services: the name of the `TenantPlacement`.
pub const PLACEMENT_LABEL: &str = "domicile.dev/placement";

/// Label on a `FailoverOperation`: who started it, see [`TRIGGER_AUTOMATIC`].
pub const TRIGGER_LABEL: &str = "domicile.dev/trigger";

/// Value of [`TRIGGER_LABEL`] on an operation that the operator made.
pub const TRIGGER_AUTOMATIC: &str = "Automatic";

/// Label on a `FailoverOperation`: the name of its policy.
pub const POLICY_LABEL: &str = "domicile.dev/policy";

/// CRD label by which Service Binding tools find provisioned services.
pub const PROVISIONED_SERVICE: &str = "servicebinding.io/provisioned-service";

/// Field managers, one per concern.
pub mod manager {
    /// Write leases and promises.
    pub const LEASE: &str = "domicile-lease";
    /// Status of `Region`.
    pub const REGION: &str = "domicile-region";
    /// Status and finalizer of `TenantPlacement`.
    pub const PLACEMENT: &str = "domicile-placement";
    /// Status of `FailoverPolicy` and `FailoverOperation`, and the operations it makes.
    pub const FAILOVER: &str = "domicile-failover";
    /// Tenants' Secrets.
    pub const SECRET: &str = "domicile-secret";
    /// Tenants' Services and their slices.
    pub const ENDPOINT: &str = "domicile-endpoint";
    /// Environment and template annotation of tenants' workloads; never forced.
    pub const INJECT: &str = "domicile-inject";
    /// Status and finalizer of `ServiceBinding`. What a binding adds to workloads has a manager of
    /// its own, see `domicile_core::binding`.
    pub const BINDING: &str = "domicile-binding";
    /// What a person does through the command line.
    pub const CLI: &str = "kubectl-domicile";
}
