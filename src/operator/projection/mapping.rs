//! Where a kind of workload keeps what a pod template keeps: pure.

use domicile_api::service_binding::{
    ClusterWorkloadResourceMappingSpec, MappingContainer, MappingTemplate,
};
use domicile_core::json_path::{self, PathError, Step};
use kube::api::ApiResource;

/// The places in a workload that a binding writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// The mapping that they were read from.
    pub(crate) source: MappingTemplate,
    /// The annotations of the pods.
    pub(crate) annotations: Vec<String>,
    /// The list of volumes.
    pub(crate) volumes: Vec<String>,
    /// What is like a container.
    pub(crate) containers: Vec<Containers>,
}

/// The places in what is like a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Containers {
    /// Where they are.
    pub(crate) path: Vec<Step>,
    /// From there to the name.
    pub(crate) name: Option<Vec<String>>,
    /// From there to the variables.
    pub(crate) env: Vec<String>,
    /// From there to the mounts.
    pub(crate) mounts: Vec<String>,
}

/// The name that the mapping of a kind must have.
pub(crate) fn name_for(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

/// The places of one version of a kind: those of its mapping, else those that are built in.
pub(crate) fn choose(
    mapping: Option<&ClusterWorkloadResourceMappingSpec>,
    resource: &ApiResource,
) -> Result<Template, String> {
    let versions = mapping.map_or(&[][..], |spec| spec.versions.as_slice());
    let of = |version: &str| versions.iter().find(|template| template.version == version);
    let chosen = of(&resource.version).or_else(|| of("*")).cloned();
    read(chosen.unwrap_or_else(|| built_in(resource)))
}

/// Reads the expressions of a mapping.
pub(crate) fn read(source: MappingTemplate) -> Result<Template, String> {
    let place = |field: &str, text: Option<&String>, default: &str| {
        let text = text.map_or(default, String::as_str);
        json_path::fixed(text).map_err(|error| refusal(field, text, &error))
    };
    let annotations = source.annotations.as_ref();
    let annotations = place(
        "annotations",
        annotations,
        ".spec.template.metadata.annotations",
    )?;
    let volumes = place(
        "volumes",
        source.volumes.as_ref(),
        ".spec.template.spec.volumes",
    )?;
    let given = source.containers.clone().filter(|list| !list.is_empty());
    let given = given.unwrap_or_else(|| containers_below(".spec.template.spec"));
    let mut containers = Vec::new();
    for (at, container) in given.iter().enumerate() {
        let field = |name: &str| format!("containers[{at}].{name}");
        let path = json_path::parse(&container.path)
            .map_err(|error| refusal(&field("path"), &container.path, &error))?;
        let name = match &container.name {
            Some(_) => Some(place(&field("name"), container.name.as_ref(), "")?),
            None => None,
        };
        containers.push(Containers {
            path,
            name,
            env: place(&field("env"), container.env.as_ref(), ".env")?,
            mounts: place(
                &field("volumeMounts"),
                container.volume_mounts.as_ref(),
                ".volumeMounts",
            )?,
        });
    }
    Ok(Template {
        source,
        annotations,
        volumes,
        containers,
    })
}

fn refusal(field: &str, text: &str, error: &PathError) -> String {
    format!("`spec.versions[].{field}` {text:?}: {error}")
}

/// A `CronJob` keeps its pod template one level deeper; all others are taken for pod-templated.
fn built_in(resource: &ApiResource) -> MappingTemplate {
    let version = "*".to_owned();
    if resource.group != "batch" || resource.kind != "CronJob" {
        return MappingTemplate {
            version,
            ..MappingTemplate::default()
        };
    }
    let template = ".spec.jobTemplate.spec.template";
    MappingTemplate {
        version,
        annotations: Some(format!("{template}.metadata.annotations")),
        containers: Some(containers_below(&format!("{template}.spec"))),
        volumes: Some(format!("{template}.spec.volumes")),
    }
}

fn containers_below(spec: &str) -> Vec<MappingContainer> {
    let one = |list: &str| MappingContainer {
        path: format!("{spec}.{list}[*]"),
        name: Some(".name".to_owned()),
        env: None,
        volume_mounts: None,
    };
    vec![one("containers"), one("initContainers")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::GroupVersionKind;
    use serde_json::{Value, json};

    fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    fn mapping(value: Value) -> ClusterWorkloadResourceMappingSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_mapping_is_named_as_a_definition() {
        let deployment = resource("apps", "v1", "Deployment");
        assert_eq!(name_for(&deployment), "deployments.apps");
        let old = resource("", "v1", "ReplicationController");
        assert_eq!(name_for(&old), "replicationcontrollers");
    }

    #[test]
    fn without_a_mapping_a_kind_has_a_pod_template() {
        let deployment = resource("apps", "v1", "Deployment");
        let plain = choose(None, &deployment).unwrap();
        assert_eq!(plain.volumes, ["spec", "template", "spec", "volumes"]);
        assert_eq!(plain.containers.len(), 2);
        let empty = mapping(json!({}));
        assert_eq!(choose(Some(&empty), &deployment).unwrap(), plain);
        let cron = choose(None, &resource("batch", "v1", "CronJob")).unwrap();
        assert_eq!(cron.volumes[1], "jobTemplate");
    }

    #[test]
    fn the_version_wins_over_the_star() {
        let both = mapping(json!({ "versions": [
            { "version": "*", "volumes": ".star" }, { "version": "v1", "volumes": ".one" },
        ]}));
        let volumes = |version: &str| {
            let kind = resource("example.com", version, "Thing");
            choose(Some(&both), &kind).unwrap().volumes
        };
        assert_eq!(
            (volumes("v1"), volumes("v2")),
            (vec!["one".into()], vec!["star".into()])
        );
        let one = mapping(json!({ "versions": [{ "version": "v1", "volumes": ".one" }] }));
        let other = choose(Some(&one), &resource("example.com", "v2", "Thing")).unwrap();
        assert_eq!(other.volumes[0], "spec");
    }

    #[test]
    fn an_expression_that_cannot_be_read_names_its_field() {
        let kind = resource("example.com", "v1", "Thing");
        let refused = |version: Value| {
            choose(Some(&mapping(json!({ "versions": [version] }))), &kind).unwrap_err()
        };
        let message = refused(json!({ "version": "*", "volumes": ".a[*]" }));
        assert!(
            message.starts_with("`spec.versions[].volumes` \".a[*]\""),
            "{message}"
        );
        let containers = json!([{ "path": ".a" }, { "path": "b" }]);
        let message = refused(json!({ "version": "*", "containers": containers }));
        assert!(message.contains("containers[1].path"), "{message}");
    }
}
