//! The Secret as a container gets it: variables, a folder as Kubernetes mounts it, or both.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use domicile_core::connection::Rendered;
use serde_json::Value;

/// What a client gets of the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The variables, as `injection.mode: Env` sets them.
    Variables,
    /// The variables, and the folder with all keys.
    VariablesAndFiles,
    /// The folder with all keys, as `injection.mode: Volume` mounts it, and where that is.
    Files,
    /// The folder as Service Binding mounts it, and `SERVICE_BINDING_ROOT`.
    Binding,
}

/// The folder of the Secret below `root`.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("bindings/acme")
}

impl Way {
    /// Gives `rendered` to the client.
    pub(crate) fn give(self, rendered: &Rendered, root: &Path, command: &mut Command) {
        let folder = folder(root);
        if self != Self::Variables {
            mount(rendered, &folder);
        }
        match self {
            Self::Variables | Self::VariablesAndFiles => {
                for name in &rendered.variables {
                    command.env(name, rendered.data[name].expose());
                }
            }
            Self::Files => {
                let tree = format!("configtree:{}/", folder.display());
                command.env("DATABASE_FOLDER", &folder);
                command.env("SPRING_CONFIG_IMPORT", tree);
            }
            Self::Binding => {
                command.env("SERVICE_BINDING_ROOT", root.join("bindings"));
            }
        }
    }
}

/// Writes the keys as the kubelet does: links to the files of a folder that it replaces as one.
fn mount(rendered: &Rendered, folder: &Path) {
    let version = folder.join("..2026_11_29_17_00_00.1");
    fs::create_dir_all(&version).unwrap();
    symlink(version.file_name().unwrap(), folder.join("..data")).unwrap();
    for (key, value) in &rendered.data {
        fs::write(version.join(key), value.expose()).unwrap();
        symlink(Path::new("..data").join(key), folder.join(key)).unwrap();
    }
}

/// The text of a file of the repository.
pub(crate) fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap()
}

/// `spec.connection.keys` of a placement of the example.
pub(crate) fn example(name: &str) -> BTreeMap<String, String> {
    let text = text("examples/drivers/50-keys.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut found = documents.into_iter();
    let found = found.find(|one| one["metadata"]["name"] == name);
    serde_json::from_value(found.unwrap()["spec"]["connection"]["keys"].clone()).unwrap()
}
