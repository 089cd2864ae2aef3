//! The Job that copies what an old primary alone holds: made of the user's template. Pure.

use std::fmt::Write;

use domicile_api::meta::DUMP_OF;
use domicile_api::region::DatabaseServer;
use domicile_core::facts::Epoch;
use domicile_core::failover::DumpLook;
use domicile_core::names::RegionName;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, KeyToPath, PodSpec, SecretKeySelector, SecretVolumeSource,
    Volume, VolumeMount,
};
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

/// What `kubectl create job --from` leaves on a Job.
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";
/// The volume with the server's certificate authority, and where containers find it.
const CA_VOLUME: &str = "domicile-ca";
const CA_FOLDER: &str = "/etc/domicile";
const CA_FILE: &str = "ca.crt";
/// Most letters of a policy's and of a region's name that a Job's name shows.
const SHOWN: usize = 14;
/// Most bytes of names in one variable; the kernel takes 128 KiB.
const MOST_NAMES: usize = 100_000;

/// Whose copy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) policy: String,
    pub(super) region: RegionName,
    pub(super) epoch: Epoch,
}

impl Of {
    /// What the annotation of the Job says.
    fn mark(&self) -> String {
        format!("{}/{}/{}", self.policy, self.region, self.epoch)
    }

    /// The name of the Job: the same for the same copy, at most 63 letters.
    pub(super) fn name(&self) -> String {
        let digest = Sha256::digest(self.mark());
        let hash = digest.iter().take(4).fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        let shown = |name: &str| -> String { name.replace('.', "-").chars().take(SHOWN).collect() };
        let (policy, region) = (shown(&self.policy), shown(self.region.as_str()));
        format!("dump-{policy}-{region}-{}-{hash}", self.epoch)
    }

    /// What a Job of that name says; one of somebody else says nothing of the copy.
    pub(super) fn look(&self, job: &Job) -> Option<DumpLook> {
        let marks = job.metadata.annotations.as_ref();
        let ours = marks.and_then(|marks| marks.get(DUMP_OF)) == Some(&self.mark());
        let status = job.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let is = |type_: &str| {
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|one| one.type_ == type_ && one.status == "True")
        };
        let look = if is("Complete") {
            DumpLook::Complete
        } else if is("Failed") {
            DumpLook::Failed
        } else {
            DumpLook::Running
        };
        ours.then_some(look)
    }
}

/// The Secret of the server that does not lie in the namespace of the Job, which can use no other.
pub(super) fn secret_elsewhere(server: &DatabaseServer, namespace: &str) -> Option<String> {
    let (login, ca) = (&server.admin_secret_ref, &server.tls.ca_secret_ref);
    let mut secrets = [(&login.namespace, &login.name), (&ca.namespace, &ca.name)].into_iter();
    secrets.find_map(|(of, name)| {
        let of = of.as_deref()?;
        (of != namespace).then(|| format!("{of}/{name}"))
    })
}

/// The Job, of the `CronJob`'s template. No password is in it. It has no owner and does not end by
/// itself after a time: what became of it must be seen first.
///
/// # Errors
/// Why it cannot be made.
pub(super) fn build(
    template: &CronJob,
    of: &Of,
    server: &DatabaseServer,
    databases: &[String],
    touched: &[String],
) -> Result<Job, String> {
    let template = &template.spec.job_template;
    let empty = || "the CronJob has no template".to_owned();
    let mut spec = template.spec.clone().ok_or_else(empty)?;
    spec.ttl_seconds_after_finished = None;
    let pod = spec.template.spec.as_mut().ok_or_else(empty)?;
    let names = [databases, touched].map(|names| names.join(" "));
    if names.iter().any(|names| names.len() > MOST_NAMES) {
        let count = databases.len();
        return Err(format!("{count} databases are too many for one variable"));
    }
    equip(pod, of, server, names);
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(INSTANTIATE.to_owned(), "manual".to_owned());
    annotations.insert(DUMP_OF.to_owned(), of.mark());
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(of.name()),
            labels: metadata.labels,
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// Gives every container the way to the server.
fn equip(pod: &mut PodSpec, of: &Of, server: &DatabaseServer, names: [String; 2]) {
    let ca = &server.tls.ca_secret_ref;
    let volume = Volume {
        name: CA_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(ca.name.clone()),
            items: Some(vec![KeyToPath {
                key: ca.key.clone(),
                path: CA_FILE.to_owned(),
                mode: None,
            }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    pod.volumes.get_or_insert_default().push(volume);
    let variables = variables(of, server, names);
    let first = pod.init_containers.iter_mut().flatten();
    for container in first.chain(&mut pod.containers) {
        add(container, &variables);
    }
}

/// Ours come first, so that the template's own may refer to them, and win over its own.
fn add(container: &mut Container, variables: &[EnvVar]) {
    let own = container.env.take().unwrap_or_default().into_iter();
    let own = own.filter(|own| variables.iter().all(|ours| ours.name != own.name));
    container.env = Some(variables.iter().cloned().chain(own).collect());
    let mount = VolumeMount {
        name: CA_VOLUME.to_owned(),
        mount_path: CA_FOLDER.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    container.volume_mounts.get_or_insert_default().push(mount);
}

fn variables(of: &Of, server: &DatabaseServer, [databases, touched]: [String; 2]) -> Vec<EnvVar> {
    let plain = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    };
    let secret = |name: &str, key: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                key: key.to_owned(),
                name: server.admin_secret_ref.name.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    };
    vec![
        plain("PGHOST", server.host.clone()),
        plain("PGPORT", server.port.to_string()),
        secret("PGUSER", "username"),
        secret("PGPASSWORD", "password"),
        plain("PGSSLMODE", "verify-full".to_owned()),
        plain("PGSSLROOTCERT", format!("{CA_FOLDER}/{CA_FILE}")),
        plain("DOMICILE_POLICY", of.policy.clone()),
        plain("DOMICILE_REGION", of.region.to_string()),
        plain("DOMICILE_EPOCH", of.epoch.to_string()),
        plain("DOMICILE_DATABASES", databases),
        plain("DOMICILE_TOUCHED", touched),
    ]
}
