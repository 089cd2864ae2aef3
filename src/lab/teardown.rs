//! The end of a lab, of a running one as of what a dead one left.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{LabError, Result};
use crate::process::Patience;
use crate::space::Space;
use crate::tools::remove_folder;

const CGROUPS: &str = "/sys/fs/cgroup";
/// containerd puts the control groups of all its containers below this one.
const CONTAINERS: &str = "k8s.io";
/// Where containerd keeps a folder for each container that it has begun and not removed.
const TASKS: &str = "containerd/io.containerd.runtime.v2.task/k8s.io";

/// Ends the lab of `dir`: its processes (and with them mounts and networks), control groups
/// and the folder itself. Nothing there is fine.
pub(crate) fn tear_down(dir: &Path) -> Result<()> {
    if let Some(space) = Space::open(dir)? {
        space.destroy()?;
    }
    remove_control_groups(dir)?;
    // The mounts of the space end a moment after its processes; until then files are busy.
    let patience = Patience::firm("the removal of the state folder", Duration::from_secs(20));
    loop {
        match remove_folder(dir) {
            Err(LabError::File { ref source, .. })
                if matches!(source.kind(), ErrorKind::ResourceBusy | ErrorKind::NotFound) =>
            {
                patience.pause(|| source.to_string())?;
            }
            other => return other,
        }
    }
}

/// Hierarchies of version 1 are one folder each below the root; version 2 is the root itself.
fn remove_control_groups(dir: &Path) -> Result<()> {
    let tasks = dir.join(TASKS);
    let containers: Vec<_> = match fs::read_dir(&tasks) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(LabError::file("read", &tasks)(source)),
    };
    let root = Path::new(CGROUPS);
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let hierarchies = hierarchies
        .map(|entry| entry.path())
        .chain([root.to_owned()]);
    let parents: Vec<PathBuf> = hierarchies
        .map(|path| path.join(CONTAINERS))
        .filter(|path| path.is_dir())
        .collect();
    for parent in parents {
        for container in &containers {
            remove_control_group(&parent.join(container))?;
        }
        // Not empty means that another lab or containerd uses it: it stays.
        let _ = fs::remove_dir(&parent);
    }
    Ok(())
}

fn remove_control_group(group: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(group) else {
        return Ok(());
    };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_control_group(&entry.path())?;
    }
    let patience = Patience::firm("the end of a control group", Duration::from_secs(10));
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                patience.pause(|| group.display().to_string())?;
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LabError::file("remove", group)(error));
            }
            _ => return Ok(()),
        }
    }
}
