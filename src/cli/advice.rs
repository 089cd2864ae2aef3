//! What to do next, from reasons and guards. Controllers' messages say what is wrong; this adds
//! the command.

use domicile_api::meta::NAMESPACE;
use serde_json::Value;

use crate::findings::of_guards;
use crate::json::{at, condition, is, items, name, namespace, text};
use crate::kinds::Kind;
use crate::world::World;

/// What `onboard` cannot know of the chart's release.
const RELEASE: &str = "(with --fullname and --operator-namespace where the chart's release is not \
                       `domicile` in `domicile-system`)";

/// What to do about `object`, most urgent first, each thing once.
pub fn of(kind: Kind, object: &Value, world: &World) -> Vec<String> {
    let mut next = match kind {
        Kind::Region => region(object),
        Kind::TenantPlacement => placement(object, world),
        Kind::FailoverPolicy => policy(object, world),
        Kind::FailoverOperation => operation(object),
    };
    let mut said = Vec::new();
    next.retain(|line| {
        !said.contains(line) && {
            said.push(line.clone());
            true
        }
    });
    next
}

fn region(region: &Value) -> Vec<String> {
    let mut next = Vec::new();
    let region_name = name(region);
    for server in items(region, "/spec/databaseServers") {
        let server_name = text(server, "/name");
        let observed = items(region, "/status/databaseServers");
        let observed = observed.iter().find(|o| text(o, "/name") == server_name);
        let reason = observed.map(|o| text(o, "/reason")).unwrap_or_default();
        let admin = secret(server, "/adminSecretRef");
        let ca = secret(server, "/tls/caSecretRef");
        let address = format!("{}:{}", text(server, "/host"), port(server));
        next.extend(match reason.as_str() {
            "CredentialsDenied" => Some(format!("correct key password of Secret {admin}")),
            "CertificateInvalid" => Some(format!(
                "correct the CA in Secret {ca}, or the certificate of {address}, which must \
                 name {}",
                text(server, "/host")
            )),
            "WrongServer" => Some(format!(
                "if {address} was replaced on purpose: kubectl annotate region {region_name} \
                 {}=<its system identifier>",
                domicile_api::meta::ACCEPT_SYSTEM_IDENTIFIER
            )),
            "Unreachable" | "ProbeTimedOut" => Some(format!(
                "check that the operator's pods reach {address}, and that it runs"
            )),
            "TooManyConnections" => Some(format!("free connection slots on {address}")),
            "VersionUnsupported" => Some(format!("bring {address} to PostgreSQL 15 or newer")),
            "SecretNotFound" | "SecretInvalid" => Some(format!(
                "the operator needs Secret {admin} (username, password) and Secret {ca} (ca.crt)"
            )),
            _ => None,
        });
    }
    if is(region, "AdminPrivilegesSufficient", "False") {
        next.extend(items(region, "/spec/databaseServers").iter().map(|server| {
            let server = text(server, "/name");
            format!(
                "run as superuser what this prints: kubectl domicile admin-sql \
                 {region_name}/{server}"
            )
        }));
    }
    next
}

fn placement(placement: &Value, world: &World) -> Vec<String> {
    let mut next = Vec::new();
    let here = namespace(placement).unwrap_or_default();
    let reasons: Vec<String> = items(placement, "/status/conditions")
        .iter()
        .map(|c| text(c, "/reason"))
        .collect();
    let has = |reason: &str| reasons.iter().any(|found| found == reason);
    if has("NamespaceNotOnboarded") {
        next.push(format!(
            "kubectl domicile onboard {here} | kubectl apply -f - {RELEASE}"
        ));
    }
    if has("ClusterNotOnboarded") {
        next.push(format!(
            "kubectl domicile onboard {here} | kubectl --context CLUSTER apply -f -, in the \
             cluster of the Region that `Injected` names {RELEASE}"
        ));
    }
    if has("RegionNotFound") {
        next.push("kubectl get regions".to_owned());
    }
    let asked = match text(placement, "/status/homeRegion") {
        region if region.is_empty() => text(placement, "/spec/region"),
        region => region,
    };
    if (has("RegionFull") || has("NoServerForPlan")) && !asked.is_empty() {
        next.push(format!(
            "see what its servers take, and list another: kubectl domicile explain region/{asked}"
        ));
    }
    let active = match text(placement, "/status/activeRegion") {
        region if region.is_empty() => text(placement, "/spec/region"),
        region => region,
    };
    if let Some(region) = world
        .find(Kind::Region, "", &active)
        .filter(|r| !is(r, "Ready", "True"))
    {
        next.push(format!("kubectl domicile explain region/{}", name(region)));
    }
    for policy in world.policies_of(&active, &text(placement, "/status/server")) {
        if text(policy, "/status/state") != "Steady" {
            next.push(format!("kubectl domicile explain policy/{}", name(policy)));
        }
    }
    if has("FieldConflict") {
        next.push(format!(
            "let the other field manager give up what it owns, or choose other names in \
             spec.connection.keys, or another spec.injection.mode or mountPath, of {here}/{}",
            name(placement)
        ));
    }
    if has("RestartPending") {
        next.push(format!(
            "restart the pods that Injected names: kubectl rollout restart -n {here} KIND/NAME \
             (what is paused: kubectl rollout resume; under OnDelete or a partition: kubectl \
             delete pod)"
        ));
    }
    if has("DeletionProtected") {
        let merge = r#"{"spec":{"deletionProtection":false}}"#;
        let target = format!("tenantplacement {} -n {here}", name(placement));
        next.push(format!(
            "to delete it: kubectl patch {target} --type merge -p '{merge}'"
        ));
    }
    next
}

fn policy(policy: &Value, world: &World) -> Vec<String> {
    let mut next = Vec::new();
    let policy_name = name(policy);
    let state = text(policy, "/status/state");
    let (home, active) = (
        text(policy, "/status/homeRegion"),
        text(policy, "/status/activeRegion"),
    );
    match state.as_str() {
        "AwaitingApproval" => next.push(format!(
            "to agree: kubectl domicile approve {}",
            awaiting(policy, world).unwrap_or_else(|| "OPERATION".to_owned())
        )),
        "Blocked" => next.extend(unblock(policy)),
        "Outage" if text(policy, "/spec/mode") == "Manual" => {
            next.push(format!("kubectl domicile failover {policy_name}"));
        }
        "Halted" => next.push(
            "find out which server holds the tenants' latest rows before anything is changed; \
             the operator waits"
                .to_owned(),
        ),
        _ => {}
    }
    if is(policy, "Paused", "True") {
        next.push(format!("kubectl domicile resume {policy_name}"));
    }
    let standby_reason = text(condition(policy, "StandbyHealthy"), "/reason");
    if state == "Steady" && ["Quarantined", "AwaitingRejoin"].contains(&standby_reason.as_str()) {
        next.push(format!(
            "make the server in {home} a standby of {active} again: pg_rewind or a new base backup"
        ));
    }
    next.extend(copies(policy, &standby_reason, world));
    if state == "Steady" && is(policy, "FailbackReady", "True") {
        next.push(format!("kubectl domicile failback {policy_name}"));
    }
    for (region, _) in crate::world::members(policy) {
        let unwell = world
            .find(Kind::Region, "", &region)
            .filter(|r| !is(r, "Ready", "True"));
        if unwell.is_some() {
            next.push(format!("kubectl domicile explain region/{region}"));
        }
    }
    next
}

/// What to do about the Jobs that copy what old primaries alone hold.
fn copies(policy: &Value, reason: &str, world: &World) -> Vec<String> {
    let stuck = ["DumpBlocked", "DumpFailed"].contains(&reason);
    if !stuck && reason != "DumpRunning" {
        return Vec::new();
    }
    let mut next = Vec::new();
    for found in items(policy, "/status/returned") {
        let (job, region) = (text(found, "/dump/job"), text(found, "/region"));
        let own = world.find(Kind::Region, "", &region);
        let own = own.is_some_and(|own| !at(own, "/spec/cluster").is_null());
        let place = if own {
            format!("-n {NAMESPACE}, in the cluster of {region}")
        } else {
            format!("-n {NAMESPACE}")
        };
        match text(found, "/dump/state").as_str() {
            "Running" => next.push(format!("kubectl describe job {job} {place}")),
            "Failed" => next.extend([
                format!("to see why: kubectl logs job/{job} --all-containers {place}"),
                format!("then, to have it tried again: kubectl delete job {job} {place}"),
            ]),
            _ => {}
        }
    }
    if stuck {
        let merge = r#"{"spec":{"dump":null}}"#;
        let target = format!("failoverpolicy {}", name(policy));
        next.push(format!(
            "to go on without a copy: kubectl patch {target} --type merge -p '{merge}'"
        ));
    }
    next
}

/// How a blocked policy can be moved by a person, who accepts the guards that may be accepted.
fn unblock(policy: &Value) -> Vec<String> {
    let failing = of_guards(policy);
    let mut accept = Vec::new();
    let mut firm = Vec::new();
    // A person's own operation needs no arming by the policy's mode.
    for finding in failing.iter().filter(|finding| finding.reason != "Armed") {
        match acceptable(&finding.reason) {
            Some(word) => accept.push(word),
            None => firm.push(finding.reason.as_str()),
        }
    }
    if !firm.is_empty() {
        return vec![format!(
            "no flag waives {}: it must hold again first",
            firm.join(", ")
        )];
    }
    let name = name(policy);
    if accept.is_empty() {
        return vec![format!("kubectl domicile failover {name}")];
    }
    vec![format!(
        "bring the active region back, or take the risk: \
         kubectl domicile failover {name} --accept {}",
        accept.join(",")
    )]
}

/// The word that waives a guard, for the three guards that can be waived.
fn acceptable(guard: &str) -> Option<&'static str> {
    match guard {
        "LossBound" => Some("DataLoss"),
        "FencingProof" => Some("UnprovenFencing"),
        "Cooldown" => Some("Cooldown"),
        _ => None,
    }
}

fn operation(operation: &Value) -> Vec<String> {
    let policy = text(operation, "/spec/policyRef/name");
    let verb = text(operation, "/spec/type").to_ascii_lowercase();
    match text(operation, "/status/state").as_str() {
        "AwaitingApproval" => vec![format!("kubectl domicile approve {}", name(operation))],
        "Running" | "Pending" | "Failed" => {
            vec![format!("kubectl domicile explain policy/{policy}")]
        }
        "Refused" | "Aborted" => vec![
            format!("kubectl domicile explain policy/{policy}"),
            format!("to try again with the present epoch: kubectl domicile {verb} {policy}"),
        ],
        _ => Vec::new(),
    }
}

/// The operation of `policy` that awaits approval.
pub fn awaiting(policy: &Value, world: &World) -> Option<String> {
    let waits = |o: &&&Value| text(o, "/status/state") == "AwaitingApproval";
    let operations = world.operations_of(&name(policy));
    let found = operations
        .iter()
        .find(waits)
        .map(|operation| name(operation));
    let current = text(policy, "/status/currentOperation");
    found.or_else(|| (!current.is_empty()).then_some(current))
}

fn secret(server: &Value, pointer: &str) -> String {
    let reference = at(server, pointer);
    let namespace = match text(reference, "/namespace") {
        namespace if namespace.is_empty() => domicile_api::meta::NAMESPACE.to_owned(),
        namespace => namespace,
    };
    format!("{namespace}/{}", text(reference, "/name"))
}

fn port(server: &Value) -> String {
    let port = text(server, "/port");
    if port.is_empty() {
        "5432".to_owned()
    } else {
        port
    }
}
