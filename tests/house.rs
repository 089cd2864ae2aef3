//! The rules that keep the house in order, checked on every file, and each proven able to fail.

#[path = "house/manifest.rs"]
mod manifest;
#[path = "house/rules.rs"]
mod rules;
#[path = "house/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::{Exception, Finding};

/// Files that may break one rule. An exception that excepts nothing fails the test.
const EXCEPTIONS: [Exception; 0] = [];

/// Folders that hold no source: build output and the version control's own.
const SKIPPED_FOLDERS: [&str; 2] = ["target", ".git"];

/// Files that tools write and that name registries by nature.
const SKIPPED_FILES: [&str; 2] = ["Cargo.lock", "go.sum"];

#[test]
fn every_file_keeps_the_rules() {
    let files = files().unwrap();
    let rust = files
        .iter()
        .filter(|(path, _)| has_extension(path, "rs"))
        .count();
    assert!(
        rust > 10,
        "only {rust} files of Rust were found: the walk looks in the wrong place"
    );
    let mut found: Vec<Finding> = Vec::new();
    for (path, text) in &files {
        found.extend(rules::words(path, text));
        if has_extension(path, "rs") {
            found.extend(rules::size(path, text));
            found.extend(rules::imports(path, text));
        }
    }
    report(rules::without(found, &EXCEPTIONS));
}

#[test]
fn every_manifest_keeps_the_arrows_and_the_lints() {
    let text = |path: &str| fs::read_to_string(root().join(path).join("Cargo.toml")).unwrap();
    let workspace = text("");
    let mut found = rules::members(&workspace);
    for member in manifest::Manifest::parse(&workspace).list("workspace", "members") {
        found.extend(rules::manifest(&member, &text(&member)));
    }
    report(found);
}

#[test]
fn a_long_file_function_or_line_is_found() {
    let line = "a\n".repeat(401);
    assert_eq!(rules_of(&rules::size("a.rs", &line)), ["file-lines"]);
    let wide = format!("// {}", "ü".repeat(98));
    assert_eq!(rules_of(&rules::size("a.rs", &wide)), ["line-chars"]);
    let long = format!("fn f(a: [u8; 3]) {{\n{}}}\n", "    a();\n".repeat(69));
    assert_eq!(rules_of(&rules::size("a.rs", &long)), ["function-lines"]);
    let fits = format!("fn f() {{\n{}}}\n", "    a();\n".repeat(68));
    assert_eq!(rules::size("a.rs", &fits), []);
}

#[test]
fn braces_in_text_do_not_end_a_function() {
    let tricky = [
        r##"fn f<'a>(c: &'a str) { g('}', '\'', "}\"}", r#"}"}"#); /* } /* } */ } */"##,
        "// }",
        " h() }",
        "fn g();",
        "fn h() {}",
    ]
    .join("\n");
    let found = source::functions(&source::blank(&tricky));
    let seen: Vec<_> = found
        .iter()
        .map(|f| (f.name.as_str(), f.line, f.lines))
        .collect();
    assert_eq!(seen, [("f", 1, 3), ("h", 5, 1)]);
}

#[test]
fn an_arrow_against_the_grain_is_found() {
    let bad = [
        ("src/core/a.rs", "use tokio::time;"),
        ("src/core/a.rs", "fn f() { tokio::time::pause() }"),
        ("src/api/a.rs", "use tokio as t;"),
        ("src/api/a.rs", "use kube::{CustomResource, Client as C};"),
        ("src/api/a.rs", "use kube::*;"),
        ("src/providers/a.rs", "use kube::ResourceExt;"),
        ("src/providers/a.rs", "use domicile_operator::x;"),
        ("src/cli/a.rs", "fn f() { domicile_providers::g() }"),
        (
            "src/operator/controllers/region/mod.rs",
            "use crate::controllers::{placement, x};",
        ),
        (
            "src/operator/controllers/region/act.rs",
            "use super::super::failover::Decision;",
        ),
        ("src/providers/generic/mod.rs", "use crate::patroni::X;"),
    ];
    for (path, text) in bad {
        assert_eq!(
            rules_of(&rules::imports(path, text)),
            ["import"],
            "{path}: {text}"
        );
    }
    let good = [
        (
            "src/core/a.rs",
            "//! like tokio::time, but pure\nuse jiff::Timestamp;",
        ),
        (
            "src/api/a.rs",
            "use kube::{CustomResource, KubeSchema};\nuse domicile_core::names;",
        ),
        (
            "src/operator/run.rs",
            "use kube::Client; use crate::controllers::{region, placement};",
        ),
        (
            "src/operator/controllers/region/act.rs",
            "use super::observe; use crate::servers;",
        ),
    ];
    for (path, text) in good {
        assert_eq!(rules::imports(path, text), [], "{path}: {text}");
    }
}

#[test]
fn a_manifest_against_the_grain_is_found() {
    let lints = "[lints]\nworkspace = true\n";
    let bad = [
        (
            "src/core",
            format!("{lints}[dependencies]\nserde.workspace = true\n"),
        ),
        (
            "src/core",
            format!("{lints}[dev-dependencies]\ndomicile-api.workspace = true\n"),
        ),
        (
            "src/api",
            format!("{lints}[dependencies.tokio]\nworkspace = true\n"),
        ),
        (
            "src/providers",
            format!("{lints}[dependencies]\nkube = {{ workspace = true }}\n"),
        ),
        (
            "src/cli",
            format!("{lints}[target.'cfg(unix)'.dependencies]\ndomicile-lab = \"1\"\n"),
        ),
        (
            "src/cli",
            "[dependencies]\nclap.workspace = true\n".to_owned(),
        ),
        ("src/new", lints.to_owned()),
    ];
    for (folder, text) in bad {
        assert_eq!(
            rules_of(&rules::manifest(folder, &text)),
            ["manifest"],
            "{folder}: {text}"
        );
    }
    let good = format!("{lints}[dependencies]\njiff.workspace = true # time\n");
    assert_eq!(rules::manifest("src/core", &good), []);
}

#[test]
fn a_pattern_among_the_members_is_found() {
    let bad = "[workspace]\nmembers = [\n  \"src/*\",\n  \"tests\",\n]\n";
    assert_eq!(rules_of(&rules::members(bad)), ["members"]);
    assert_eq!(
        rules_of(&rules::members("[workspace]\nresolver = \"3\"\n")),
        ["members"]
    );
    assert_eq!(rules::members("[workspace]\nmembers = [\"src/api\"]\n"), []);
}

#[test]
fn words_of_one_machine_and_notes_to_self_are_found() {
    let joined = |parts: &[&str]| parts.concat();
    let bad = [
        joined(&["let a = \"/wo", "rk/main\";"]),
        joined(&["cp x /ro", "ot/x"]),
        joined(&["curl https://files.pythonhos", "ted.org/simple"]),
        joined(&["https://proxy.golang", ".org"]),
        joined(&["// TO", "DO: later"]),
        joined(&["#[igno", "re]\nfn f() {}"]),
    ];
    for text in bad {
        assert_eq!(rules_of(&rules::words("a.rs", &text)), ["words"], "{text}");
    }
    let good = [
        joined(&["/proc/7/ro", "ot/run/netns"]),
        joined(&["{init}/ro", "ot/run"]),
        joined(&["homework", "/x"]),
        joined(&["XX", "XL"]),
        joined(&["a // work", "/b"]),
    ];
    for text in good {
        assert_eq!(rules::words("a.rs", &text), [], "{text}");
    }
}

#[test]
fn a_stale_exception_is_found() {
    let long = || rules::size("a.rs", &"a\n".repeat(401));
    let except = |path, reason| Exception {
        rule: "file-lines",
        path,
        reason,
    };
    assert_eq!(rules::without(long(), &[except("a.rs", "one table")]), []);
    assert_eq!(
        rules_of(&rules::without(long(), &[except("a.rs", "")])),
        ["exception"]
    );
    let stale = rules::without(long(), &[except("b.rs", "gone")]);
    assert_eq!(rules_of(&stale), ["exception", "file-lines"]);
}

fn rules_of(found: &[Finding]) -> Vec<&'static str> {
    found.iter().map(|finding| finding.rule).collect()
}

/// Fails with one line per finding.
fn report(found: Vec<Finding>) {
    let line = |Finding {
                    rule,
                    path,
                    message,
                }: Finding| format!("{path}: [{rule}] {message}");
    let lines: Vec<String> = found.into_iter().map(line).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Every text file of the project, by its path from the root.
fn files() -> std::io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && !SKIPPED_FILES.contains(&name.as_str()) {
                let path = entry.path();
                let shown = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy();
                if let Ok(text) = String::from_utf8(fs::read(&path)?) {
                    found.push((shown.into_owned(), text));
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .map_or_else(|| tests.clone(), Path::to_path_buf)
}
