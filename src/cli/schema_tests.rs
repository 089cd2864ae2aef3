//! The CLI reads objects by JSON pointer, so that it can show a status it does not know in full.
//! Here every pointer from an object's root in its source is looked up in the schemas.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Where a relative pointer starts, by the name of the local closure or variable it is given to.
const BASES: [(&str, &str); 2] = [("status(\"", "/status"), ("spec(\"", "/spec")];

#[test]
fn every_field_that_is_read_is_in_a_schema() {
    let schemas = schemas();
    let mut read = Vec::new();
    for (file, text) in sources() {
        for pointer in absolute(&text).into_iter().chain(relative(&text)) {
            assert!(
                schemas.iter().any(|schema| holds(schema, &pointer)),
                "{file} reads {pointer}, which no kind has"
            );
            read.push(pointer);
        }
    }
    assert!(
        read.len() > 60,
        "only {} pointers were found: the scan is broken",
        read.len()
    );
}

#[test]
fn a_field_that_no_kind_has_is_found() {
    let schemas = schemas();
    let known = |pointer: &str| schemas.iter().any(|schema| holds(schema, pointer));
    assert!(known("/status/guarantees/dataLossSeconds") && known("/metadata/name"));
    assert!(!known("/status/guarantees/loss") && !known("/spec/phase") && !known("/status/x"));
    assert_eq!(absolute("text(o, \"/spec/a\")"), ["/spec/a"]);
    assert_eq!(relative("let x = status(\"/b\");"), ["/status/b"]);
}

/// `"/status/…"`, `"/spec/…"`.
fn absolute(text: &str) -> Vec<String> {
    let starts = ["\"/status/", "\"/spec/"];
    let found = starts.iter().flat_map(|start| text.match_indices(start));
    found
        .filter_map(|(at, _)| literal(&text[at + 1..]))
        .collect()
}

/// `status("/…")` and `spec("/…")`.
fn relative(text: &str) -> Vec<String> {
    let of_base = |(call, base): &(&str, &'static str)| {
        let base = *base;
        let found = text.match_indices(call).filter(|(at, _)| {
            // `text_of_status("…")` is another function.
            !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
        });
        let ends: Vec<usize> = found.map(|(at, call)| at + call.len()).collect();
        let found = ends.into_iter().filter_map(|end| literal(&text[end..]));
        found
            .map(|pointer| format!("{base}{pointer}"))
            .collect::<Vec<_>>()
    };
    BASES.iter().flat_map(of_base).collect()
}

/// The rest of a literal, unless it is put together at run time or not a pointer.
fn literal(text: &str) -> Option<String> {
    let (pointer, _) = text.split_once('"')?;
    (pointer.starts_with('/') && !pointer.contains('{')).then(|| pointer.to_owned())
}

fn holds(schema: &Value, pointer: &str) -> bool {
    let mut here = schema;
    for key in pointer.split('/').skip(1) {
        if key == "metadata" {
            return true;
        }
        here = &here["properties"][key];
        if here["type"] == "array" {
            here = &here["items"];
        }
    }
    !here.is_null()
}

fn schemas() -> Vec<Value> {
    let definitions = domicile_api::crd::all().unwrap();
    assert_eq!(definitions.len(), 4);
    let schema = |definition| {
        let definition = serde_json::to_value(definition).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    };
    definitions.into_iter().map(schema).collect()
}

/// All sources of this crate but the tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                found.push((name, code.to_owned()));
            }
        }
    }
    found
}
