//! The lab as a whole: up, open, down.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cluster::Cluster;
use crate::error::{LabError, Result};
use crate::postgres::{ADMIN, REST_USER};
use crate::process::{Output, Patience, run_ok};
use crate::regions::{REGIONS, Region, RegionOptions, RegionStatus, Regions};
use crate::setup::{Engine, Setup};
use crate::space::{Space, ensure_prerequisites};
use crate::state::{Places, write_atomically};
use crate::teardown::tear_down;
use crate::tools::Tools;

/// The namespace that the operator and the regions' Secrets live in.
pub const SYSTEM_NAMESPACE: &str = "domicile-system";

const RECORD_FILE: &str = "lab.json";
const CALL_LIMIT: Duration = Duration::from_secs(330);

/// How to bring a lab up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its folders.
    pub places: Places,
    /// The `domicile-lab` binary; see [`find_program`].
    pub program: PathBuf,
    /// What kind of lab.
    pub setup: Setup,
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    space: Space,
    regions: Regions,
    setup: Setup,
    was_running: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    Starting,
    Running,
}

#[derive(Serialize, Deserialize)]
struct Record {
    setup: Setup,
    stage: Stage,
}

impl Lab {
    /// Brings the lab up, or finds that it is. A start that fails or is interrupted leaves
    /// nothing behind but the cache. Errors: something is missing, a server did not start, or a
    /// lab of another kind runs.
    pub fn up(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::up_with(options, false, progress)
    }

    /// As [`Lab::up`]; when `owned`, the lab ends with the calling process, however that ends, so
    /// that no test that is cancelled leaves servers behind. Its files stay until the next start.
    pub fn up_with(options: &Options, owned: bool, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        ensure_prerequisites()?;
        let dir = &options.places.dir;
        if let Some(lab) = Self::found(dir, options.setup)? {
            return Ok(lab);
        }
        let tools = Tools::ensure(&options.places.cache, progress)?;
        let regions = options.setup.regions(&options.places.cache, progress)?;
        let mut lock = lock_lab(dir)?;
        if let Some(lab) = Self::found(dir, options.setup)? {
            return Ok(lab);
        }
        if dir.join(RECORD_FILE).exists() {
            progress("removing what a dead lab left");
            tear_down(dir)?;
            lock = lock_lab(dir)?;
        }
        let begun = Self::begin(options, owned, (&tools, &regions), progress);
        if begun.is_err() {
            progress("taking down what was begun");
            tear_down(dir)?;
        }
        drop(lock);
        begun
    }

    /// The lab that is up in `dir`. Errors: there is none, or its start has not ended.
    pub fn open(dir: &Path) -> Result<Self> {
        let none = || {
            let hint = "start it with `domicile-lab up`";
            LabError::missing(format!("a running lab in {}", dir.display()), hint)
        };
        let record = read_record(dir)?.filter(|record| record.stage == Stage::Running);
        let (Some(record), Some(space)) = (record, Space::open(dir)?) else {
            return Err(none());
        };
        let regions = Regions::open(&space, dir)?.ok_or_else(none)?;
        Ok(Self {
            space,
            regions,
            setup: record.setup,
            was_running: true,
        })
    }

    /// Takes the lab of `dir` down, also what a dead one left. None there is fine.
    pub fn down(dir: &Path) -> Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        let lock = lock_lab(dir)?;
        tear_down(dir)?;
        drop(lock);
        Ok(())
    }

    /// Whether [`Lab::up`] found it running.
    pub fn was_running(&self) -> bool {
        self.was_running
    }

    /// What kind of lab it is.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Its private space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Its cluster.
    pub fn cluster(&self) -> Cluster {
        Cluster::open(&self.space)
    }

    /// Its regions.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Whether every server runs, no region is lost, and the node is Ready.
    pub fn healthy(&self) -> Result<bool> {
        let regions = self.regions.status()?;
        let well = |region: &RegionStatus| region.lost.is_none() && region.role.is_some();
        Ok(regions.iter().all(well) && self.cluster().healthy()?)
    }

    /// Kubeconfig of the administrator; see [`Cluster::kubeconfig`].
    pub fn kubeconfig(&self) -> PathBuf {
        self.cluster().kubeconfig()
    }

    /// A folder that pods may mount (`hostPath`) to write to, whatever their user.
    pub fn acks_dir(&self) -> PathBuf {
        self.space.dir().join("acks")
    }

    /// Imports an image archive for pods with `imagePullPolicy: Never`.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        self.cluster().import_image(archive)
    }

    /// Runs kubectl as administrator. A failing exit status is an error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        run_ok(self.cluster().kubectl().args(arguments), CALL_LIMIT)
    }

    /// Runs helm as administrator. A failing exit status is an error.
    pub fn helm(&self, arguments: &[&str]) -> Result<Output> {
        run_ok(self.cluster().helm().args(arguments), CALL_LIMIT)
    }

    fn found(dir: &Path, setup: Setup) -> Result<Option<Self>> {
        let Ok(lab) = Self::open(dir) else {
            return Ok(None);
        };
        if lab.setup != setup {
            return Err(LabError::State(format!(
                "a lab with {} runs, and {} was asked for: take it down first",
                lab.setup, setup
            )));
        }
        if !lab.healthy()? {
            let hint = "see `domicile-lab status`, then take it down";
            return Err(LabError::State(format!(
                "a lab runs but is not healthy: {hint}"
            )));
        }
        Ok(Some(lab))
    }

    fn begin(
        options: &Options,
        owned: bool,
        (tools, regions): (&Tools, &RegionOptions),
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let dir = &options.places.dir;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
            .map_err(LabError::file("set the mode of", dir))?;
        let setup = options.setup;
        write_record(
            dir,
            &Record {
                setup,
                stage: Stage::Starting,
            },
        )?;
        tools.link_into(&dir.join("bin"))?;
        progress("making the private space");
        let space = Space::create_with(dir, &options.program, owned)?;
        progress("starting the regions and the control plane");
        let (regions, cluster) = std::thread::scope(|scope| {
            let databases = scope.spawn(|| Regions::start(&space, dir, regions, &mut |_| ()));
            let cluster = Cluster::start(&space, tools.cni(), progress);
            (databases.join(), cluster)
        });
        let ended = || LabError::State("the start of the regions panicked".to_owned());
        let (regions, cluster) = (regions.map_err(|_| ended())??, cluster?);
        progress("creating the regions' Secrets");
        cluster.apply(&credentials(&regions, setup.engine)?)?;
        write_record(
            dir,
            &Record {
                setup,
                stage: Stage::Running,
            },
        )?;
        Ok(Self {
            space,
            regions,
            setup,
            was_running: false,
        })
    }
}

/// The `domicile-lab` binary for a program that runs at `current`: itself, or the one beside it
/// or one folder up (as of a test). Errors: it was not built.
pub fn find_program(current: &Path) -> Result<PathBuf> {
    let name = "domicile-lab";
    if current.file_name().is_some_and(|file| file == name) {
        return Ok(current.to_owned());
    }
    current
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| LabError::missing(name, "cargo build -p domicile-lab"))
}

/// The operator's namespace, under the strictest Pod Security Standard, and in it what an
/// administrator hands the operator for each region: authority, login, and that of Patroni.
fn credentials(regions: &Regions, engine: Engine) -> Result<String> {
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": SYSTEM_NAMESPACE,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    })];
    let secret = |name: String, data: serde_json::Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
            "stringData": data,
        })
    };
    for Region { name, .. } in &REGIONS {
        items.push(secret(
            format!("{name}-ca"),
            json!({"ca.crt": regions.ca_pem(name)?}),
        ));
        let password = regions.admin_password(name)?.expose_secret();
        let login = json!({"username": ADMIN, "password": password});
        items.push(secret(format!("{name}-admin"), login));
        if engine == Engine::Patroni {
            let password = regions.patroni_password(name)?.expose_secret();
            let login = json!({"username": REST_USER, "password": password});
            items.push(secret(format!("{name}-patroni"), login));
        }
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

/// One `up` or `down` at a time for each folder, which is made when it is not there. Errors: the
/// folder holds something else, which a teardown would remove.
fn lock_lab(dir: &Path) -> Result<File> {
    let patience = Patience::new("the lock of the lab", Duration::from_mins(5));
    loop {
        fs::create_dir_all(dir).map_err(LabError::file("create", dir))?;
        let folder = File::open(dir).map_err(LabError::file("open", dir))?;
        match folder.try_lock() {
            // A `down` may have removed the folder that was just locked.
            Ok(()) if same_folder(&folder, dir) => {
                let mut entries = fs::read_dir(dir).map_err(LabError::file("read", dir))?;
                if entries.next().is_some() && !dir.join(RECORD_FILE).exists() {
                    let folder = dir.display();
                    return Err(LabError::State(format!(
                        "{folder} is not the folder of a lab"
                    )));
                }
                return Ok(folder);
            }
            Ok(()) | Err(TryLockError::WouldBlock) => {
                patience.pause(|| "another `up` or `down` is at work".to_owned())?;
            }
            Err(TryLockError::Error(source)) => return Err(LabError::file("lock", dir)(source)),
        }
    }
}

fn same_folder(folder: &File, dir: &Path) -> bool {
    match (folder.metadata(), fs::metadata(dir)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        _ => false,
    }
}

fn read_record(dir: &Path) -> Result<Option<Record>> {
    let path = dir.join(RECORD_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| LabError::Json {
                what: path.display().to_string(),
                source,
            }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LabError::file("read", &path)(source)),
    }
}

fn write_record(dir: &Path, record: &Record) -> Result<()> {
    write_atomically(&dir.join(RECORD_FILE), json!(record).to_string().as_bytes())
}
