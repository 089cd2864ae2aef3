//! What the chart holds of other files is generated from them: `UPDATE=1` writes, a plain run
//! compares. The roles come from the operator's own table, the definitions from `crds/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use domicile_operator::rbac::{Rule, Scope, rules};

const HINT: &str = "run `make update`";

#[test]
fn the_chart_s_roles_are_the_operator_s_table() {
    check("charts/domicile/templates/roles.yaml", &roles(&rules()));
    check(
        "charts/domicile/templates/agent-roles.yaml",
        &agent_roles(&rules()),
    );
    check(
        "charts/domicile/templates/dump-role.yaml",
        &dump_role(&rules()),
    );
    check(
        "charts/domicile/templates/workload-role.yaml",
        &workload_role(&rules()),
    );
    check(
        "charts/domicile/templates/binding-roles.yaml",
        &binding_roles(&rules()),
    );
}

#[test]
fn the_chart_s_definitions_are_those_of_crds() {
    let target = repository().join("charts/domicile/charts/crds/templates");
    let mut expected = Vec::new();
    for (name, text) in domicile_api::crd::files().unwrap() {
        let path = format!("charts/domicile/charts/crds/templates/{name}");
        check(&path, &template(&text));
        expected.push(name);
    }
    for (name, text) in domicile_api::service_binding_crd::files().unwrap() {
        let path = format!("charts/domicile/charts/crds/templates/{name}");
        check(&path, &absent_elsewhere(&template(&text)));
        expected.push(name);
    }
    assert!(expected.len() > 2);
    for entry in fs::read_dir(target).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            expected.contains(&name),
            "nothing generates {name}; remove it"
        );
    }
}

/// An own webhook that is down would stop what it is asked about, such as a failover's own writes.
/// What the chart's admission policies ask, the API server answers by itself.
///
/// Faults: 41.
#[test]
fn the_chart_brings_no_webhook_and_the_operator_may_make_none() {
    let mut folders = vec![repository().join("charts/domicile")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).unwrap().to_lowercase();
            let found = text.contains("webhookconfiguration");
            assert!(!found, "{}", path.display());
        }
    }
    assert!(files > 20, "only {files} files were looked at");
    let admission = |rule: &&Rule| rule.group.contains("admissionregistration");
    assert!(rules().iter().find(admission).is_none());
}

#[test]
fn braces_of_a_description_are_no_template() {
    let crd = "metadata:\n  name: x\nspec:\n  description: use {{ rw.uri }}\n";
    let made = template(crd);
    assert!(made.contains("use {{ \"{{\" }} rw.uri }}"), "{made}");
    assert!(made.contains("helm.sh/resource-policy: keep"), "{made}");
}

#[test]
fn every_rule_reaches_the_role_of_its_scope() {
    let rule = |scope, resource| Rule {
        scope,
        group: "apps",
        resources: resource,
        verbs: &["get"],
        why: "test",
    };
    let made = roles(&[
        rule(Scope::Tenant, &["deployments"]),
        rule(Scope::Cluster, &["daemonsets"]),
        rule(Scope::Operator, &["statefulsets"]),
    ]);
    let documents: Vec<&str> = made.split("\n---\n").collect();
    assert_eq!(documents.len(), 3, "{made}");
    for (document, kind, resource) in [
        (documents[0], "kind: ClusterRole\n", "[daemonsets]"),
        (documents[1], "kind: Role\n", "[statefulsets]"),
        (documents[2], "kind: ClusterRole\n", "[deployments]"),
    ] {
        assert!(
            document.contains(kind) && document.contains(resource),
            "{document}"
        );
    }
}

/// The three roles as a template.
fn roles(rules: &[Rule]) -> String {
    let mut out = String::from(
        "# Generated from src/operator/rbac.rs by tests/chart.rs; `make update` writes it.\n",
    );
    let scopes = [
        (Scope::Cluster, "ClusterRole", ""),
        (Scope::Operator, "Role", "-operator"),
        (Scope::Tenant, "ClusterRole", "-tenant"),
    ];
    for (at, (scope, kind, suffix)) in scopes.into_iter().enumerate() {
        if at > 0 {
            out.push_str("---\n");
        }
        let namespace = match scope {
            Scope::Cluster | Scope::Workloads | Scope::Tenant | Scope::Binding | Scope::Agent => "",
            Scope::Operator | Scope::AgentHub | Scope::Promise | Scope::Dump => {
                "  namespace: {{ .Release.Namespace }}\n"
            }
        };
        let _ = write!(
            out,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  \
             name: {{{{ include \"domicile.fullname\" . }}}}{suffix}\n{namespace}  labels:\n    \
             {{{{- include \"domicile.labels\" . | nindent 4 }}}}\nrules:\n"
        );
        rules
            .iter()
            .filter(|rule| rule.scope == scope)
            .for_each(|rule| out.push_str(&one(rule)));
    }
    out
}

/// What the agents of other regions may do here: a role of its own for each, by name.
fn agent_roles(rules: &[Rule]) -> String {
    let mut out = String::from(
        "{{- /* Generated from src/operator/rbac.rs by tests/chart.rs; `make update`. */ -}}\n\
         {{- range .Values.agents }}\n{{- $name := printf \"%s-agent-%s\" \
         (include \"domicile.fullname\" $) .region }}\n",
    );
    let scopes = [
        (Scope::Agent, "ClusterRole", ""),
        (
            Scope::AgentHub,
            "Role",
            "  namespace: {{ $.Release.Namespace }}\n",
        ),
    ];
    for (scope, kind, namespace) in scopes {
        out.push_str(&head(kind, "{{ $name }}", namespace, "$"));
        let of_scope = rules.iter().filter(|rule| rule.scope == scope);
        of_scope.for_each(|rule| out.push_str(&one(rule)));
    }
    out.push_str("{{- end }}\n{{- if .Values.promises }}\n");
    let name = "{{ include \"domicile.fullname\" . }}-promise";
    out.push_str(&head(
        "Role",
        name,
        "  namespace: {{ .Release.Namespace }}\n",
        ".",
    ));
    let promise = rules.iter().filter(|rule| rule.scope == Scope::Promise);
    promise.for_each(|rule| out.push_str(&one(rule)));
    out.push_str("{{- end }}\n");
    out
}

/// What it takes to copy old primaries, only where a `CronJob` for it is named.
fn dump_role(rules: &[Rule]) -> String {
    let mut out = String::from(
        "{{- /* Generated from src/operator/rbac.rs by tests/chart.rs; `make update`. */ -}}\n\
         {{- if .Values.dumps }}\n",
    );
    let name = "{{ include \"domicile.fullname\" . }}-dump";
    let namespace = "  namespace: {{ .Release.Namespace }}\n";
    out.push_str(&head("Role", name, namespace, "."));
    let dump = rules.iter().filter(|rule| rule.scope == Scope::Dump);
    dump.for_each(|rule| out.push_str(&one(rule)));
    out.push_str("{{- end }}\n");
    out
}

/// What it takes to watch workloads, which only a running operator does.
fn workload_role(rules: &[Rule]) -> String {
    let mut out = String::from(
        "{{- /* Generated from src/operator/rbac.rs by tests/chart.rs; `make update`. */ -}}\n\
         {{- if and .Values.watchWorkloads .Values.replicas }}\n",
    );
    let name = "{{ include \"domicile.fullname\" . }}-workloads";
    out.push_str(&head("ClusterRole", name, "", "."));
    let watch = rules.iter().filter(|rule| rule.scope == Scope::Workloads);
    watch.for_each(|rule| out.push_str(&one(rule)));
    out.push_str("{{- end }}\n");
    out
}

/// What it takes to bind services into workloads: our own rules under a label of our own, and all
/// that others offer to implementations of Service Binding.
fn binding_roles(rules: &[Rule]) -> String {
    let mut out = String::from(
        "{{- /* Generated from src/operator/rbac.rs by tests/chart.rs; `make update`. */ -}}\n",
    );
    let name = "{{ include \"domicile.fullname\" . }}";
    let labels = "    {{- include \"domicile.labels\" . | nindent 4 }}\n";
    let head = head("ClusterRole", &format!("{name}-binding-rules"), "", ".");
    let label = format!("domicile.dev/binding: {name}\n");
    out.push_str(&head.replace(labels, &format!("{labels}    {label}")));
    let binding = rules.iter().filter(|rule| rule.scope == Scope::Binding);
    binding.for_each(|rule| out.push_str(&one(rule)));
    let _ = write!(
        out,
        "---\n# The control plane fills it in from the roles that carry one of these labels. \
         It is kept:\n# whoever deletes it with a role it sums up may see it come back without \
         its labels, and\n# the next installation refused.\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  \
         name: {name}-binding\n  annotations:\n    helm.sh/resource-policy: keep\n  \
         labels:\n{labels}aggregationRule:\n  clusterRoleSelectors:\n    \
         - matchLabels:\n        {label}    - matchLabels:\n        \
         servicebinding.io/controller: \"true\"\n"
    );
    out
}

fn head(kind: &str, name: &str, namespace: &str, root: &str) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  \
         name: {name}\n{namespace}  labels:\n    {{{{- include \"domicile.labels\" {root} | \
         nindent 4 }}}}\nrules:\n"
    )
}

/// The names that a rule is narrowed to: a line of the template, or none.
fn narrowed(rule: &Rule) -> &'static str {
    let named = |resource| rule.resources.contains(&resource);
    match rule.scope {
        // The operator's own namespace may hold other Secrets too.
        Scope::Operator if named("secrets") => {
            "    {{- with .Values.secretNames }}\n    resourceNames: {{ toJson . }}\n    \
             {{- end }}\n"
        }
        Scope::Agent if named("regions") => "    resourceNames: [{{ .region }}]\n",
        Scope::Agent => "    resourceNames: {{ toJson .policies }}\n",
        Scope::AgentHub if named("secrets") => "    resourceNames: {{ toJson .secretNames }}\n",
        Scope::Promise if !rule.verbs.contains(&"create") => {
            "    resourceNames: [{{ range $at, $policy := .Values.promises }}{{ if $at }}, \
             {{ end }}{{ $policy }}-promise{{ end }}]\n"
        }
        Scope::AgentHub => {
            "    resourceNames: [{{ range $at, $policy := .policies }}{{ if $at }}, {{ end }}\
             {{ $policy }}-write{{ end }}]\n"
        }
        Scope::Dump if named("cronjobs") => "    resourceNames: {{ toJson .Values.dumps }}\n",
        Scope::Cluster if named("customresourcedefinitions") => {
            "    resourceNames: [servicebindings.servicebinding.io, \
             clusterworkloadresourcemappings.servicebinding.io]\n"
        }
        Scope::Operator
        | Scope::Cluster
        | Scope::Workloads
        | Scope::Tenant
        | Scope::Binding
        | Scope::Promise
        | Scope::Dump => "",
    }
}

fn one(rule: &Rule) -> String {
    let Rule {
        scope: _,
        group,
        resources,
        verbs,
        why,
    } = rule;
    let group = if group.is_empty() { "\"\"" } else { group };
    let names = narrowed(rule);
    format!(
        "  # {why}\n  - apiGroups: [{group}]\n    resources: [{}]\n{names}    verbs: [{}]\n",
        resources.join(", "),
        verbs.join(", "),
    )
}

/// A definition as a template that keeps it when the chart goes, if asked.
fn template(crd: &str) -> String {
    let escaped = crd.replace("{{", "{{ \"{{\" }}");
    let keep = "metadata:\n  {{- if .Values.keep }}\n  annotations:\n    \
                helm.sh/resource-policy: keep\n  {{- end }}\n";
    assert!(
        !escaped.contains("\n  annotations:"),
        "the definition has annotations already"
    );
    assert!(
        escaped.contains("metadata:\n"),
        "not a definition: {escaped}"
    );
    escaped.replacen("metadata:\n", keep, 1)
}

/// A definition of a group that is not ours: only where it is asked for, and never over one that
/// somebody else brought.
fn absent_elsewhere(template: &str) -> String {
    let name = template
        .lines()
        .find_map(|line| line.strip_prefix("  name: "))
        .unwrap();
    let found =
        format!("lookup \"apiextensions.k8s.io/v1\" \"CustomResourceDefinition\" \"\" \"{name}\"");
    let label = domicile_api::service_binding::BROUGHT_BY;
    format!(
        "{{{{- $found := {found} }}}}\n{{{{- $ours := dig \"metadata\" \"labels\" \"{label}\" \"\" \
         ($found | default dict) }}}}\n{{{{- if and .Values.serviceBindings (or (not $found) \
         $ours) }}}}\n{template}{{{{- end }}}}\n"
    )
}

fn check(path: &str, expected: &str) {
    let file = repository().join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, expected).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is out of date: {HINT}");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
