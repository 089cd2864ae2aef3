//! Generated files are what their generators make: `UPDATE=1` writes them, a plain run compares.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares a folder with what it must hold, or writes it when `UPDATE` is set. A file that is not
/// generated any more is an error too, and removed by `UPDATE`.
fn check_folder(folder: &str, expected: &[(String, String)]) {
    let folder = repository().join(folder);
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    for (name, text) in expected {
        let file = folder.join(name);
        if update {
            fs::write(&file, text).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        let hint = "run `UPDATE=1 cargo test -p domicile-tests --test generated`";
        assert!(found == *text, "{} is out of date: {hint}", file.display());
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if expected.iter().any(|(file, _)| *file == name) {
            continue;
        }
        assert!(
            update,
            "{} holds {name}, which nothing generates",
            folder.display()
        );
        fs::remove_file(folder.join(name)).unwrap();
    }
}

#[test]
fn crds_are_current() {
    check_folder("crds", &domicile_api::crd::files().unwrap());
}
