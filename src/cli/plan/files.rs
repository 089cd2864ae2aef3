//! The world as YAML files tell it, where no cluster is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::CliError;
use crate::json::text;
use crate::kinds::Kind;
use crate::world::World;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Reads all objects of ours from files, and from the `.yaml`, `.yml` and `.json` files of
/// folders; the rest is skipped. `kubectl get … -o yaml` writes such files, with their status.
///
/// # Errors
/// A file that cannot be read or is no YAML, and files without any object of ours.
pub(super) fn read(paths: &[PathBuf]) -> Result<World, CliError> {
    let mut world = World::default();
    for path in paths {
        for file in files(path)? {
            for document in documents(&file)? {
                sort_in(&mut world, document);
            }
        }
    }
    if world.regions.is_empty() {
        let names: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let fact = format!("{} holds no Region; give files with -f", names.join(", "));
        return Err(CliError::Usage(fact));
    }
    Ok(world)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if file.is_file() && matches!(ending, Some("yaml" | "yml" | "json")) {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn documents(file: &Path) -> Result<Vec<Value>, CliError> {
    let size = fs::metadata(file)
        .map_err(|error| unreadable(file, &error))?
        .len();
    if size > LARGEST {
        let fact = format!("{} is larger than {LARGEST} bytes", file.display());
        return Err(CliError::Usage(fact));
    }
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    // Without the lines around the mistake: they may be those of a Secret.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(&text, options)
        .map_err(|error| unreadable(file, &error))
}

fn sort_in(world: &mut World, document: Value) {
    if let Some(items) = document.get("items").and_then(Value::as_array) {
        for item in items {
            sort_in(world, item.clone());
        }
        return;
    }
    let ours = text(&document, "/apiVersion").starts_with("domicile.dev/");
    let kind = text(&document, "/kind");
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
    match kind.filter(|_| ours) {
        Some(Kind::Region) => world.regions.push(document),
        Some(Kind::TenantPlacement) => world.placements.push(document),
        Some(Kind::FailoverPolicy) => world.policies.push(document),
        Some(Kind::FailoverOperation) => world.operations.push(document),
        None => {}
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> CliError {
    CliError::Usage(format!("cannot read {}: {error}", path.display()))
}
