//! Generated files are what their generators make: `UPDATE=1` writes them, a plain run compares.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use domicile_api::conditions::{ConditionType, Reason};

const HINT: &str = "run `UPDATE=1 cargo test -p domicile-tests --test generated`";

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
        assert!(found == *text, "{} is out of date: {HINT}", file.display());
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

#[test]
fn the_reference_of_conditions_and_reasons_is_current() {
    let file = repository().join("docs/reasons.md");
    let text = reference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{} is out of date: {HINT}", file.display());
}

/// All types and reasons, each in the order of its list.
fn reference() -> String {
    let mut out = String::from(
        "# Conditions and reasons\n\n\
         Generated from `src/api/conditions.rs` and `src/api/reasons/` by `tests/generated.rs`; \
         `make update` writes it.\n\
         What an object's own conditions say, and the next step: `kubectl domicile explain \
         KIND/NAME`.\n\n\
         ## Conditions\n\n| type | of what, and what it means when it is True |\n|---|---|\n",
    );
    for kind in ConditionType::ALL {
        let _ = writeln!(out, "| `{}` | {} |", kind.as_str(), kind.meaning());
    }
    out.push_str(
        "\n## Reasons\n\nOf conditions and events. The list is closed: a reason that is not on it \
         is of another version.\n\n| reason | meaning |\n|---|---|\n",
    );
    for reason in Reason::ALL {
        let _ = writeln!(out, "| `{reason}` | {} |", reason.meaning());
    }
    out
}
