//! Keeps the logs of all pods, also of those that are deleted: each file gets a second name as
//! soon as it appears, so that neither kubelet nor a rotation can take it away.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::checker::{History, Record, histories, parse};
use crate::error::{LabError, Result};

const PAUSE: Duration = Duration::from_millis(50);
/// Namespaces of tenants begin with this, and the container of the writer has this name.
const TENANT_PREFIX: &str = "tenant-";
const WRITER_CONTAINER: &str = "app";

/// A kept log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLog {
    /// Namespace of the pod, or of the writer inside a region.
    pub namespace: String,
    /// The container.
    pub container: String,
    /// The file.
    pub file: PathBuf,
}

/// The collecting thread. Dropping it ends it; the files stay.
#[derive(Debug)]
pub struct Collector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    from: PathBuf,
    to: PathBuf,
    stop: AtomicBool,
    kept: Mutex<BTreeMap<u64, KeptLog>>,
    failure: Mutex<Option<LabError>>,
}

impl Collector {
    /// Keeps what appears in the folder of pods' logs `from`, in `to` on the same file system.
    /// Errors: a folder cannot be made or read.
    pub fn begin(from: &Path, to: &Path) -> Result<Self> {
        fs::create_dir_all(to).map_err(LabError::file("create", to))?;
        let shared = Arc::new(Shared {
            from: from.to_owned(),
            to: to.to_owned(),
            stop: AtomicBool::new(false),
            kept: Mutex::default(),
            failure: Mutex::default(),
        });
        shared.sweep()?;
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log-collector".to_owned())
            .spawn(move || mine.run())
            .map_err(LabError::system("start a thread"))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Registers the log of a writer that is no pod.
    pub fn add(&self, namespace: &str, file: &Path) -> Result<()> {
        let inode = fs::metadata(file)
            .map_err(LabError::file("read", file))?
            .ino();
        let log = KeptLog {
            namespace: namespace.to_owned(),
            container: WRITER_CONTAINER.to_owned(),
            file: file.to_owned(),
        };
        lock(&self.shared.kept).insert(inode, log);
        Ok(())
    }

    /// A file name in the folder of kept logs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.shared.to.join(name)
    }

    /// All logs kept so far. Errors: one could not be kept, and then the evidence is incomplete.
    pub fn logs(&self) -> Result<Vec<KeptLog>> {
        self.shared.sweep()?;
        if let Some(failure) = lock(&self.shared.failure).take() {
            return Err(failure);
        }
        Ok(lock(&self.shared.kept).values().cloned().collect())
    }

    /// What the writers of all tenants reported, by writer. Errors: as [`Collector::logs`], or a
    /// log that is damaged.
    pub fn histories(&self) -> Result<BTreeMap<String, History>> {
        let mut records: Vec<Record> = Vec::new();
        for log in self.logs()? {
            if !log.namespace.starts_with(TENANT_PREFIX) || log.container != WRITER_CONTAINER {
                continue;
            }
            let name = log.file.display().to_string();
            let text = fs::read_to_string(&log.file).map_err(LabError::file("read", &log.file))?;
            let damaged = |error| LabError::State(format!("{error}: the evidence is damaged"));
            records.extend(parse(&name, &text).map_err(damaged)?);
        }
        Ok(histories(records))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, the missing logs would show.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            if let Err(error) = self.sweep() {
                *lock(&self.failure) = Some(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Files are `FROM/NAMESPACE_POD_UID/CONTAINER/N.log`, and beside it rotated ones.
    fn sweep(&self) -> Result<()> {
        for pod in entries(&self.from)? {
            let namespace = name(&pod).split('_').next().unwrap_or_default().to_owned();
            for container in entries(&pod)? {
                for file in entries(&container)? {
                    let ending = file.extension().unwrap_or_default();
                    if ending != "gz" && ending != "tmp" {
                        self.keep(&namespace, &container, &file)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn keep(&self, namespace: &str, container: &Path, file: &Path) -> Result<()> {
        let mut kept = lock(&self.kept);
        let inode = match fs::metadata(file) {
            Ok(found) => found.ino(),
            Err(error) if gone(&error) => return Ok(()),
            Err(source) => return Err(LabError::file("read", file)(source)),
        };
        if kept.contains_key(&inode) {
            return Ok(());
        }
        let copy = self
            .to
            .join(format!("{namespace}-{}-{inode}.log", name(container)));
        match fs::hard_link(file, &copy) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            // Rotated or removed between the two calls: the next sweep finds its new name.
            Err(_) if !file.exists() => return Ok(()),
            Err(source) => return Err(LabError::file("link", file)(source)),
        }
        let log = KeptLog {
            namespace: namespace.to_owned(),
            container: name(container),
            file: copy,
        };
        kept.insert(inode, log);
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The entries of a folder that may vanish meanwhile.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(LabError::file("read", folder)(source)),
    };
    Ok(found.flatten().map(|entry| entry.path()).collect())
}

fn gone(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
