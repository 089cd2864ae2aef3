//! The files of a server beside its data, all owned by the servers' user.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::Path;

use nix::unistd::{Uid, User};
use secrecy::ExposeSecret as _;

use super::place::server_uid;
use super::settings::{REPLICATOR, Site, hba_conf, ident_conf, postgresql_conf};
use super::spec::ServerSpec;
use crate::error::{LabError, Result};

/// The path of a socket has at most 107 bytes, `/run/.s.PGSQL.65535` among them.
const LONGEST_FOLDER: usize = 88;

/// Writes settings, certificates, and the replication password.
pub(crate) fn write_configuration(spec: &ServerSpec) -> Result<()> {
    let (conf, run, tls) = (
        spec.dir.join("conf"),
        spec.dir.join("run"),
        spec.dir.join("tls"),
    );
    let data = spec.dir.join("data");
    let site = Site {
        region: &spec.region,
        address: spec.address,
        port: spec.port,
        data: &data,
        conf: &conf,
        run: &run,
        tls: &tls,
    };
    let users = local_users();
    write(
        &conf.join("postgresql.conf"),
        &postgresql_conf(&site, &spec.settings),
        0o644,
    )?;
    write(&conf.join("pg_hba.conf"), &hba_conf(), 0o644)?;
    write(&conf.join("pg_ident.conf"), &ident_conf(&users), 0o644)?;
    write(&tls.join("server.crt"), &spec.tls.cert, 0o644)?;
    write(&tls.join("server.key"), spec.tls.key.expose_secret(), 0o600)?;
    write(&tls.join("trust.crt"), &spec.tls.trust, 0o644)?;
    let password = spec.passwords.replicator.expose_secret();
    write(
        &tls.join("pgpass"),
        &format!("*:*:*:{REPLICATOR}:{password}\n"),
        0o600,
    )
}

/// Writes a file that belongs to the server's user.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    // The mode from the start: a key must not be readable for a moment either.
    let mut options = fs::File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(LabError::file("write", path))?;
    chown(path, server_uid(), server_uid()).map_err(LabError::file("give away", path))
}

/// Makes a folder that belongs to the server's user, when it is not there.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    made.map_err(LabError::file("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(LabError::file("protect", path))?;
    chown(path, server_uid(), server_uid()).map_err(LabError::file("give away", path))
}

/// Refuses a folder that the servers' user cannot reach or in which no socket can be made.
pub(crate) fn check_folder(dir: &Path) -> Result<()> {
    let name = dir.display();
    if server_uid().is_some() && !dir.ancestors().all(is_open) {
        let why = "cannot be reached by the unprivileged user of the servers; choose another";
        return Err(LabError::State(format!("{name} {why}")));
    }
    if dir.as_os_str().len() > LONGEST_FOLDER {
        let why = format!("is too long for a socket: at most {LONGEST_FOLDER} bytes");
        return Err(LabError::State(format!("{name} {why}")));
    }
    Ok(())
}

/// Whether everybody may pass through this folder.
pub(crate) fn is_open(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|data| data.mode() & 0o001 != 0)
}

/// The names of the users that own servers or run the lab: they may be superuser.
fn local_users() -> Vec<String> {
    let name = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
    let server = server_uid().map(Uid::from_raw);
    [Some(Uid::effective()), server]
        .into_iter()
        .flatten()
        .filter_map(name)
        .collect()
}
