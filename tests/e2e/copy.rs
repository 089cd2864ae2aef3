//! Patroni runs the servers, and the policy asks for a copy of what an old primary alone holds: it
//! is made by a pod, of the fenced server, before that is rejoined.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use domicile_lab::clock::monotonic;
use domicile_lab::image::{Content, ImageFile, pack};
use domicile_lab::lab::SYSTEM_NAMESPACE;
use domicile_lab::postgres::Binaries;
use domicile_lab::process::run_ok;
use domicile_lab::regions::How;
use domicile_lab::story::hands::in_sync;
use domicile_lab::story::objects::{condition, is, kinds};
use domicile_lab::story::stage::documents;
use domicile_lab::{LabError, Result};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::world::{HOME, OTHER, World, ensure, rest};

const EXAMPLE: &str = "patroni/30-dump.yaml";
const IMAGE: &str = "local.test/pg-dump:dev";
const LIMIT: Duration = Duration::from_mins(4);
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// What the home server alone holds.
const KEPT: &str = "only-the-old-primary-holds-this";

pub(crate) fn kept(world: &World) -> Result<String> {
    let stage = &world.stage;
    import(world)?;
    let folder = volume(world)?;
    stage.change_policy(&json!({"dump": {"cronJob": "keep-old-primary"}}))?;
    let tenants = stage.tenants()?;
    let tenant = tenants.get("acme");
    let tenant = tenant.ok_or_else(|| LabError::State("there is no acme".to_owned()))?;
    rest(1000);
    let fault = stage.lose(HOME, How::Kill)?;
    stage.await_moved(&world.watch, HOME, fault)?;
    let returned = monotonic()?;
    stage.lab.regions().restore(HOME)?;
    // Nobody has made the template yet: the server is fenced, and left as it is.
    await_copy(world, "DumpBlocked")?;
    let server = stage.lab.regions().server(HOME)?;
    let sql = format!(
        "SET ROLE \"{0}\"; CREATE TABLE kept AS SELECT '{KEPT}'::text AS word; RESET ROLE",
        tenant.database
    );
    server.superuser_sql(&tenant.database, &sql)?;
    rest(3000);
    await_copy(world, "DumpBlocked")?;
    stage.apply(&template(world)?)?;
    let home =
        |one: &domicile_lab::story::watch::Transition| one.state == "Steady" && one.active == HOME;
    let came = world.watch.wait("tenants at home", returned, LIMIT, home);
    came.map_err(|error| {
        let summary = stage.policy_summary();
        LabError::State(format!("{}; {summary}; {}", error.report(), pods(world)))
    })?;
    let report = copied_before_it_was_rejoined(world)?;
    let there = "SELECT to_regclass('kept') IS NULL";
    let undone = server.superuser_sql(&tenant.database, there)?;
    ensure(undone.trim() == "t", || "it was not undone".to_owned())?;
    let files = read(&folder, &tenant.database)?;
    // For the scenarios after this one.
    stage.change_policy(&json!({"dump": null}))?;
    stage.await_policy("the other server follows", |policy| {
        in_sync(policy, OTHER, false) && is(policy, "StandbyHealthy", "True")
    })?;
    Ok(format!("{report}; {files}"))
}

/// The client of PostgreSQL and a shell as an image.
fn import(world: &World) -> Result<()> {
    let lab = &world.stage.lab;
    let archive = lab.space().dir().join("pg-dump.tar");
    let busybox = lab.space().dir().join("bin/busybox");
    let busybox = fs::canonicalize(&busybox).map_err(LabError::file("find", &busybox))?;
    let shell = ImageFile {
        path: "/bin/busybox".to_owned(),
        content: Content::Copy(busybox),
    };
    let links = ["sh", "mkdir", "mv"].map(|name| ImageFile {
        path: format!("/bin/{name}"),
        content: Content::Link("busybox".to_owned()),
    });
    let files: Vec<_> = std::iter::once(shell).chain(links).collect();
    let program = Binaries::system()?.program("pg_dump");
    pack(IMAGE, &program, &files, &archive)?;
    lab.import_image(&archive)
}

/// The volume that the example claims. Returns its folder.
fn volume(world: &World) -> Result<PathBuf> {
    let folder = world.stage.lab.acks_dir().join("copies");
    fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(&folder, open).map_err(LabError::file("open", &folder))?;
    let (size, modes) = (json!({"storage": "1Gi"}), json!(["ReadWriteOnce"]));
    world.stage.apply(&[
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "copies"},
            "spec": {"capacity": size, "accessModes": modes, "storageClassName": "",
                     "hostPath": {"path": folder}},
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "copies", "namespace": SYSTEM_NAMESPACE},
            "spec": {"resources": {"requests": size}, "accessModes": modes,
                     "storageClassName": "", "volumeName": "copies"},
        }),
    ])?;
    Ok(folder)
}

/// The example, with the image of the lab.
fn template(world: &World) -> Result<Vec<Value>> {
    let mut documents = documents(&world.stage.parts.example(EXAMPLE))?;
    let container = "/spec/jobTemplate/spec/template/spec/containers/0";
    for document in &mut documents {
        if let Some(container) = document.pointer_mut(container) {
            container["image"] = IMAGE.into();
            container["imagePullPolicy"] = "Never".into();
        }
    }
    Ok(documents)
}

fn await_copy(world: &World, reason: &str) -> Result<()> {
    let target = (kinds::POLICY, None, &*world.stage.policy);
    let says = |policy: &Value| {
        condition(policy, "StandbyHealthy").is_some_and(|one| one["reason"] == reason)
    };
    let objects = &world.stage.objects;
    objects.wait(target, reason, LIMIT, says).map(drop)
}

/// The status tells of the copy, events tell the order, and the Job holds no password.
fn copied_before_it_was_rejoined(world: &World) -> Result<String> {
    let policy = world.stage.policy()?;
    let none = Vec::new();
    let returned = policy.pointer("/status/returned");
    let mut returned = returned.and_then(Value::as_array).unwrap_or(&none).iter();
    let report = returned.find(|one| one["region"] == HOME);
    let dump = report.map_or(&Value::Null, |one| &one["dump"]);
    ensure(dump["state"] == "Complete", || {
        format!("no copy is told: {}", policy["status"])
    })?;
    let events = world.stage.objects.list(kinds::EVENT, None, "")?;
    let last = |reason: &str| {
        let of = |event: &&Value| event["reason"] == reason;
        // What was told before in the same words is one event, seen once more.
        let time = |event: &Value| {
            let again = event.pointer("/series/lastObservedTime");
            again.unwrap_or_else(|| &event["eventTime"]).to_string()
        };
        events.iter().filter(of).map(time).max()
    };
    let (complete, rejoining) = (last("DumpComplete"), last("OldPrimaryRejoining"));
    ensure(complete.is_some() && complete <= rejoining, || {
        format!("copied at {complete:?}, rejoined at {rejoining:?}")
    })?;
    let job = dump["job"].as_str().unwrap_or_default();
    let arguments = ["get", "job", job, "-n", SYSTEM_NAMESPACE, "-o", "json"];
    let shown = world.stage.lab.kubectl(&arguments)?.stdout;
    let password = world.stage.lab.regions().admin_password(HOME)?;
    ensure(!shown.contains(password.expose_secret()), || {
        "the Job holds the password".to_owned()
    })?;
    Ok(format!("Job {job} was complete before the rejoin"))
}

/// Finds what was held alone in the copy of its database, and counts the others.
fn read(folder: &Path, database: &str) -> Result<String> {
    let mut found = Vec::new();
    let listed = fs::read_dir(folder).map_err(LabError::file("list", folder))?;
    for copy in listed.flatten() {
        let files = fs::read_dir(copy.path()).map_err(LabError::file("list", &copy.path()))?;
        found.extend(files.flatten().map(|file| file.path()));
    }
    let wanted = format!("{database}.dump");
    let named = |path: &&PathBuf| path.file_name().is_some_and(|name| name == &*wanted);
    let file = found.iter().find(named);
    let file = file.ok_or_else(|| LabError::State(format!("no {wanted} among {found:?}")))?;
    let mut command = Command::new(Binaries::system()?.program("pg_restore"));
    let text = run_ok(command.arg("--file=-").arg(file), CALL_LIMIT)?.stdout;
    ensure(text.contains(KEPT), || {
        format!("{} does not hold it", file.display())
    })?;
    Ok(format!("{} databases are kept", found.len()))
}

/// What became of the pods of the copy.
fn pods(world: &World) -> String {
    let arguments = ["describe", "pod", "-n", SYSTEM_NAMESPACE];
    let told = world
        .stage
        .lab
        .kubectl(&[&arguments[..], &["-l", "job-name"]].concat());
    told.map_or_else(|error| error.report(), |told| told.stdout)
}
