//! Objects that must be refused, each with the field that the refusal must name.

use serde_json::{Value, json};

/// The namespace of all that is tried.
pub(crate) const NAMESPACE: &str = "schema-check";

/// A change of a good object: kind, field below `spec`, value, and what a refusal must name. `null`
/// takes the field away.
pub(crate) type Case = (String, String, Value, String);

/// An object of that kind that is accepted, and that no operator can act upon.
pub(crate) fn good(kind: &str) -> Value {
    let spec = match kind {
        "Region" => {
            json!({"key": "NOWHERE", "jurisdiction": "XX", "databaseServers": [server("a")]})
        }
        "TenantPlacement" => json!({"tenantID": "acme", "region": "nowhere"}),
        "FailoverPolicy" => json!({"primary": place("a"), "standbys": [place("b")]}),
        "FailoverOperation" => json!({
            "policyRef": {"name": "nowhere"}, "type": "Switchover", "target": "b",
            "expectedEpoch": 0, "accept": ["DataLoss"], "reason": "why",
        }),
        _ => panic!("{kind} is none of ours"),
    };
    let mut object = json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": kind,
        // Of this run: an earlier one that was cut short may have left its own.
        "metadata": {"name": format!("schema-check-{}", std::process::id())}, "spec": spec,
    });
    if kind == "TenantPlacement" {
        object["metadata"]["namespace"] = json!(NAMESPACE);
    }
    object
}

/// All bad objects.
pub(crate) fn bad() -> Vec<Case> {
    let mut cases: Vec<Case> = serde_saphyr::from_str(include_str!("bad.yaml")).unwrap();
    cases.extend(servers());
    // Where clouds tell a machine its secrets, and the like of IPv6.
    cases.extend(["169.254.169.254", "fe80::1"].map(link_local));
    cases.extend(oversized());
    cases
}

/// Changes of stored objects that must be refused.
pub(crate) fn immutables() -> Vec<Case> {
    [
        ("Region", "key", json!("OTHER"), "`key` must not change"),
        (
            "Region",
            "jurisdiction",
            json!("YY"),
            "`jurisdiction` must not change",
        ),
        (
            "TenantPlacement",
            "tenantID",
            json!("other"),
            "`tenantID` must not change",
        ),
        (
            "TenantPlacement",
            "region",
            json!("other"),
            "`region` must not change",
        ),
        (
            "TenantPlacement",
            "region",
            Value::Null,
            "`region` must not be added or removed",
        ),
        (
            "TenantPlacement",
            "database",
            json!({"name": "other"}),
            "`database` must not be added",
        ),
        (
            "FailoverPolicy",
            "primary",
            json!({"server": "other"}),
            "`primary` must not change",
        ),
        (
            "FailoverPolicy",
            "standbys",
            json!([{"region": "b", "server": "other"}]),
            "`server` must not change",
        ),
        (
            "FailoverOperation",
            "target",
            json!("c"),
            "`spec` must not change",
        ),
        (
            "FailoverOperation",
            "accept",
            Value::Null,
            "`spec` must not change",
        ),
        (
            "FailoverOperation",
            "reason",
            Value::Null,
            "`spec` must not change",
        ),
    ]
    .map(owned)
    .into()
}

/// Changes of stored objects that must be taken.
pub(crate) fn mutables() -> [(&'static str, &'static str, Value); 10] {
    let mut elsewhere = server("a");
    elsewhere["host"] = json!("fd00::1");
    [
        ("Region", "databaseServers", json!([elsewhere])),
        (
            "Region",
            "databaseServers",
            json!([server("a"), server("b")]),
        ),
        ("Region", "default", json!(false)),
        ("Region", "state", json!("Draining")),
        ("TenantPlacement", "reclaimPolicy", json!("Delete")),
        ("TenantPlacement", "plan", json!("paid")),
        (
            "TenantPlacement",
            "database",
            json!({"schemas": ["app"], "extensions": ["uuid-ossp"]}),
        ),
        ("TenantPlacement", "isolation", json!("Dedicated")),
        (
            "FailoverPolicy",
            "standbys",
            json!([place("c"), place("d")]),
        ),
        ("FailoverPolicy", "paused", json!(true)),
    ]
}

fn servers() -> Vec<Case> {
    let with = |field: &str, value: Value, names: &str| {
        let mut server = server("a");
        server[field] = value;
        let names = format!("spec.databaseServers[0].{names}");
        owned(("Region", "databaseServers", json!([server]), &names))
    };
    let twice = json!([server("a"), server("a")]);
    let mut crowded = server("a");
    crowded["isolation"] = json!("Dedicated");
    crowded["maxTenants"] = json!(2);
    let patroni = |urls: Value| {
        let login = json!({"name": "rest"});
        json!({"type": "Patroni", "patroni": {"urls": urls, "credentialsSecretRef": login}})
    };
    let bare = json!({"type": "Patroni"});
    let unasked = json!({"patroni": patroni(json!(["https://h:8008"]))["patroni"]});
    let told = "provider: Invalid value: `patroni` is required when";
    vec![
        with("provider", bare, told),
        with("provider", unasked, told),
        with("provider", json!({"type": "Other"}), "provider.type"),
        with(
            "provider",
            patroni(json!(["http://h:8008"])),
            "provider.patroni.urls[0]",
        ),
        with(
            "provider",
            patroni(json!(["https://u:p@h/x"])),
            "provider.patroni.urls[0]",
        ),
        with("provider", patroni(json!([])), "provider.patroni.urls"),
        with("host", json!("a b"), "host"),
        with("host", json!("a'b"), "host"),
        with("port", json!(0), "port"),
        with("port", json!(65536), "port"),
        with("name", json!("A"), "name"),
        with("plans", json!([]), "plans"),
        with("plans", json!(["a", "a"]), "plans[1]"),
        with("plans", json!(["a b"]), "plans[0]"),
        with("isolation", json!("Alone"), "isolation"),
        with("maxTenants", json!(-1), "maxTenants"),
        with("planes", json!([]), "planes"),
        with("planes", json!(["Data"]), "planes[0]"),
        with("extensions", json!(["a", "a"]), "extensions[1]"),
        with("extensions", json!(["a; b"]), "extensions[0]"),
        with("tls", json!({}), "tls.caSecretRef"),
        with("adminSecretRef", json!({}), "adminSecretRef.name"),
        owned((
            "Region",
            "databaseServers",
            json!([crowded]),
            "`maxTenants` must not be more than 1",
        )),
        owned((
            "Region",
            "databaseServers",
            twice,
            "spec.databaseServers[1]",
        )),
    ]
}

fn link_local(host: &str) -> Case {
    let mut server = server("a");
    server["host"] = json!(host);
    let told = "`host` must not be a link-local address";
    owned(("Region", "databaseServers", json!([server]), told))
}

/// One more than each limit, and the 80 characters that nobody should survive.
fn oversized() -> Vec<Case> {
    let text = |length: usize| json!("a".repeat(length));
    let database = json!({"name": text(59)});
    let keys: Value = (0..33).map(|n| (format!("K{n}"), json!("x"))).collect();
    let keys = json!({"keys": keys});
    let long_key = json!({"keys": {"A": text(1025)}});
    let servers: Vec<_> = (0..17).map(|n| server(&format!("s{n}"))).collect();
    let standbys = |count: usize| -> Value {
        (0..count)
            .map(|n| place(&format!("r{n}")))
            .collect::<Vec<_>>()
            .into()
    };
    [
        ("TenantPlacement", "tenantID", text(51), "spec.tenantID"),
        ("TenantPlacement", "tenantID", text(80), "spec.tenantID"),
        ("TenantPlacement", "database", database, "database.name"),
        (
            "TenantPlacement",
            "database",
            json!({"schemas": [text(64)]}),
            "spec.database.schemas[0]",
        ),
        (
            "TenantPlacement",
            "database",
            json!({"extensions": [text(64)]}),
            "spec.database.extensions[0]",
        ),
        (
            "TenantPlacement",
            "connection",
            keys,
            "spec.connection.keys",
        ),
        (
            "TenantPlacement",
            "connection",
            long_key,
            "spec.connection.keys.A",
        ),
        ("Region", "key", json!("A".repeat(33)), "spec.key"),
        (
            "Region",
            "databaseServers",
            json!(servers),
            "spec.databaseServers",
        ),
        ("FailoverPolicy", "standbys", standbys(9), "spec.standbys"),
        (
            "FailoverPolicy",
            "standbys",
            standbys(10_000),
            "spec.standbys",
        ),
        ("FailoverOperation", "reason", text(257), "spec.reason"),
    ]
    .map(owned)
    .into()
}

fn owned((kind, field, value, names): (&str, &str, Value, &str)) -> Case {
    (kind.to_owned(), field.to_owned(), value, names.to_owned())
}

fn place(region: &str) -> Value {
    json!({"region": region, "server": "main"})
}

fn server(name: &str) -> Value {
    json!({
        "name": name, "host": "nowhere.invalid",
        "tls": {"caSecretRef": {"name": "nowhere"}}, "adminSecretRef": {"name": "nowhere"},
    })
}
