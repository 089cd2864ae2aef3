//! The rules of the house, each a function from what is there to a list of what is wrong.

use crate::manifest::Manifest;
use crate::source::{blank, functions, paths};

/// A finding: which rule, in which file, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) path: String,
    pub(crate) message: String,
}

/// A file that may break one rule, and why.
pub(crate) struct Exception {
    pub(crate) rule: &'static str,
    pub(crate) path: &'static str,
    pub(crate) reason: &'static str,
}

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_LINE_CHARS: usize = 100;

/// Which of our crates each crate may depend on, by folder.
const ARROWS: [(&str, &[&str]); 8] = [
    ("src/core", &[]),
    ("src/api", &["core"]),
    ("src/providers", &["core"]),
    ("src/operator", &["api", "core", "providers"]),
    ("src/cli", &["api", "core"]),
    ("src/lab", &["api", "core", "providers"]),
    ("tests/sim", &["core"]),
    (
        "tests",
        &["api", "cli", "core", "lab", "operator", "providers"],
    ),
];

/// The only foreign crates that `core` is built from.
const CORE_FROM: [&str; 1] = ["jiff"];

/// Crates that must not appear in the code or the manifest of a folder.
const WITHOUT: [(&str, &str, &str); 4] = [
    ("src/core", "tokio", "core is synchronous"),
    ("src/core", "kube", "core knows no cluster"),
    ("src/api", "tokio", "types do no I/O"),
    (
        "src/providers",
        "kube",
        "a provider speaks to a database only",
    ),
];

/// Parts of `kube` that reach a cluster. Types and derives are for all.
const KUBE_CLIENT: [&str; 5] = ["client", "Client", "Api", "Config", "runtime"];

/// Folders whose sub-folders must not import each other.
const SIBLINGS: [(&str, &str); 2] = [
    ("src/operator/controllers", "controllers"),
    ("src/providers", ""),
];

/// Hosts of package registries, in parts so that this file does not name them.
const REGISTRIES: [[&str; 3]; 9] = [
    ["index", "crates", "io"],
    ["static", "crates", "io"],
    ["files", "pythonhosted", "org"],
    ["www", "pypi", "org"],
    ["repo1", "maven", "org"],
    ["proxy", "golang", "org"],
    ["sum", "golang", "org"],
    ["registry", "npmjs", "org"],
    ["deb", "debian", "org"],
];

/// Limits on the size of files, functions and lines of Rust.
pub(crate) fn size(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |rule, message| {
        let path = path.to_owned();
        found.push(Finding {
            rule,
            path,
            message,
        });
    };
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES {
        say(
            "file-lines",
            format!("has {lines} lines; split it (limit {MAX_FILE_LINES})"),
        );
    }
    for (at, line) in text.lines().enumerate() {
        let chars = line.chars().count();
        if chars > MAX_LINE_CHARS {
            say(
                "line-chars",
                format!("line {} has {chars} (limit {MAX_LINE_CHARS})", at + 1),
            );
        }
    }
    for function in functions(&blank(text)) {
        if function.lines > MAX_FUNCTION_LINES {
            let (name, line, lines) = (function.name, function.line, function.lines);
            let message = format!("`{name}`, line {line}: {lines} (limit {MAX_FUNCTION_LINES})");
            say("function-lines", message);
        }
    }
    found
}

/// What a file of Rust names, against the arrows.
pub(crate) fn imports(path: &str, text: &str) -> Vec<Finding> {
    let named = paths(&blank(text));
    let mut wrong: Vec<String> = Vec::new();
    for (folder, root, why) in WITHOUT {
        let uses = |named: &&String| named.split("::").next() == Some(root);
        if inside(path, folder) && named.iter().any(|name| uses(&name)) {
            wrong.push(format!("names `{root}`: {why}"));
        }
    }
    if ["src/core", "src/api", "src/providers"]
        .iter()
        .any(|folder| inside(path, folder))
    {
        for name in named.iter().filter(|name| reaches_cluster(name)) {
            wrong.push(format!(
                "names `{name}`: only operator, cli and lab reach a cluster"
            ));
        }
    }
    let folder = ARROWS.iter().find(|(folder, _)| inside(path, folder));
    if let Some((_, allowed)) = folder.filter(|(folder, _)| *folder != "tests") {
        for name in &named {
            let root = name.split("::").next().unwrap_or_default();
            let ours = root.strip_prefix("domicile_").unwrap_or_default();
            let own = inside(path, &format!("src/{ours}"));
            if !ours.is_empty() && !own && !allowed.contains(&ours) {
                wrong.push(format!("names `{name}`: not among {allowed:?}"));
            }
        }
    }
    wrong.extend(sibling_imports(path, &named));
    wrong.sort();
    wrong.dedup();
    let finding = |message| Finding {
        rule: "import",
        path: path.to_owned(),
        message,
    };
    wrong.into_iter().map(finding).collect()
}

/// A member's manifest: its arrows and its lints.
pub(crate) fn manifest(folder: &str, text: &str) -> Vec<Finding> {
    let manifest = Manifest::parse(text);
    let mut wrong = Vec::new();
    let lints = manifest.value("lints", "workspace") == Some("true");
    if !lints {
        wrong.push("lacks `[lints] workspace = true`".to_owned());
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == folder) else {
        wrong.push("is a member without a line in the table of arrows".to_owned());
        return as_findings("manifest", folder, wrong);
    };
    for name in manifest.dependencies(|_| true) {
        let ours = name.strip_prefix("domicile-");
        if ours.is_some_and(|ours| !allowed.contains(&ours)) {
            wrong.push(format!("depends on `{name}`; allowed: {allowed:?}"));
        }
        for (_, root, why) in WITHOUT
            .iter()
            .filter(|(f, root, _)| *f == folder && *root == name)
        {
            wrong.push(format!("depends on `{root}`: {why}"));
        }
    }
    if folder == "src/core" {
        let built_from = manifest.dependencies(|section| !section.contains("dev-"));
        for name in built_from
            .iter()
            .filter(|name| !CORE_FROM.contains(&name.as_str()))
        {
            wrong.push(format!(
                "core is built from {CORE_FROM:?} only, not `{name}`"
            ));
        }
    }
    as_findings("manifest", folder, wrong)
}

/// The workspace's manifest: members by name.
pub(crate) fn members(text: &str) -> Vec<Finding> {
    let members = Manifest::parse(text).list("workspace", "members");
    let mut wrong: Vec<String> = Vec::new();
    if members.is_empty() {
        wrong.push("names no members".to_owned());
    }
    for member in members
        .iter()
        .filter(|member| member.contains(['*', '?', '[']))
    {
        wrong.push(format!(
            "member `{member}` is a pattern; list members by name"
        ));
    }
    as_findings("members", "Cargo.toml", wrong)
}

/// What no file may hold: paths of one machine, names of registries, notes to self.
pub(crate) fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut wrong = Vec::new();
    for folder in ["work", "root", "farm"].map(|name| format!("/{name}/")) {
        if text
            .match_indices(&folder)
            .any(|(at, _)| begins_a_path(&text[..at]))
        {
            wrong.push(format!("names `{folder}…`, a path of one machine"));
        }
    }
    for host in REGISTRIES.iter().map(|parts| parts.join(".")) {
        if text.contains(&host) {
            wrong.push(format!(
                "names the registry `{host}`; use the client's own setting"
            ));
        }
    }
    for note in [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|parts| parts.concat()) {
        let whole = |word: &str| word == note;
        if text.split(|c: char| !c.is_ascii_alphanumeric()).any(whole) {
            wrong.push(format!("holds a `{note}`; do it or open an issue"));
        }
    }
    if blank(text).contains("#[ignore") {
        wrong.push("ignores a test".to_owned());
    }
    as_findings("words", path, wrong)
}

/// Takes the excepted findings away and reports exceptions that except nothing.
pub(crate) fn without(found: Vec<Finding>, exceptions: &[Exception]) -> Vec<Finding> {
    let covers = |e: &Exception, f: &Finding| e.rule == f.rule && e.path == f.path;
    let mut left: Vec<Finding> = Vec::new();
    for exception in exceptions {
        let stale = !found.iter().any(|finding| covers(exception, finding));
        if stale || exception.reason.is_empty() {
            left.extend(as_findings(
                "exception",
                exception.path,
                vec![format!(
                    "`{}` excepts nothing or gives no reason; remove it",
                    exception.rule
                )],
            ));
        }
    }
    let bare = |finding: &Finding| {
        !exceptions
            .iter()
            .any(|exception| covers(exception, finding))
    };
    left.extend(found.into_iter().filter(bare));
    left
}

fn sibling_imports(path: &str, named: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (folder, module) in SIBLINGS {
        let Some(rest) = path
            .strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let Some((own, _)) = rest.split_once('/') else {
            continue;
        };
        let known = [
            "binding",
            "region",
            "placement",
            "failover",
            "generic",
            "patroni",
            "cnpg",
            "webhook",
        ];
        for sibling in known.iter().filter(|known| **known != own) {
            let absolute = [module, sibling]
                .into_iter()
                .filter(|part| !part.is_empty());
            let absolute = format!("crate::{}", absolute.collect::<Vec<_>>().join("::"));
            let relative = format!("super::super::{sibling}");
            let hit = |name: &&String| {
                let under = |base: &str| **name == base || name.starts_with(&format!("{base}::"));
                under(&absolute) || under(&relative) || under(&format!("super::{relative}"))
            };
            wrong.extend(
                named
                    .iter()
                    .find(hit)
                    .map(|name| format!("names its sibling `{name}`")),
            );
        }
    }
    wrong
}

fn reaches_cluster(name: &str) -> bool {
    let mut parts = name.split("::");
    if parts.next() != Some("kube") {
        return false;
    }
    let part = parts.next();
    part.is_none_or(|part| part == "*" || KUBE_CLIENT.contains(&part))
}

fn inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a slash after `before` begins an absolute path rather than going on with one.
fn begins_a_path(before: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "_-.~>})*$/".contains(c);
    !before.chars().next_back().is_some_and(goes_on)
}

fn as_findings(rule: &'static str, path: &str, wrong: Vec<String>) -> Vec<Finding> {
    let finding = |message| Finding {
        rule,
        path: path.to_owned(),
        message,
    };
    wrong.into_iter().map(finding).collect()
}
