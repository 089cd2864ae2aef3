//! What tests say of themselves. A line `Faults: 54, 79.` in the comment of a test names the rows
//! for which it would fail. A test is a function with `#[test]`, one that `on_both_versions!` runs,
//! a step of such a function, a scenario of `e2e`, a kind of fault of the soak or the simulator, or
//! a fault that is seeded into the simulator.

use std::num::ParseIntError;

/// A test, and the rows that it is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) rows: Vec<u8>,
    /// The file, from the root of the project.
    pub(crate) path: String,
    /// The program that runs it.
    pub(crate) program: String,
    /// What its results are told under.
    pub(crate) runs: String,
    /// What people call it.
    pub(crate) name: String,
}

/// All claims of a file, or what is wrong with one. `root` is the text of the program's first file.
pub(crate) fn claims(path: &str, text: &str, root: &str) -> Vec<Result<Claim, String>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let claimed = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some((at, rows(line)?)));
    let claim = |(at, rows): (usize, Result<Vec<u8>, ParseIntError>)| {
        let place = format!("{path}:{}", at + 1);
        let rows = rows.map_err(|_| format!("{place}: write `Faults: 54, 79.`"))?;
        let below = lines.get(at + 1..).unwrap_or_default();
        let (name, runs) = subject(path, text, root, below)
            .ok_or_else(|| format!("{place}: what follows is no test, or nothing runs it"))?;
        Ok(Claim {
            rows,
            path: path.to_owned(),
            program: program(path),
            runs,
            name,
        })
    };
    claimed.map(claim).collect()
}

/// The program that runs the tests of a file.
pub(crate) fn program(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        _ if path.starts_with("src/lab/story/soak/fault") => "soak".to_owned(),
        (Some("src"), Some(member)) => format!("domicile_{member}"),
        (_, Some(name)) => name.trim_end_matches(".rs").to_owned(),
        _other => String::new(),
    }
}

/// The rows of a comment that claims some.
fn rows(line: &str) -> Option<Result<Vec<u8>, ParseIntError>> {
    let comment = line.strip_prefix("//")?.trim_start_matches('/').trim();
    let listed = comment.strip_prefix("Faults:")?;
    let numbers = listed.strip_suffix('.').unwrap_or_default().split(',');
    Some(numbers.map(|number| number.trim().parse()).collect())
}

/// What the comment stands above: its name, and what its results are told under.
fn subject(path: &str, text: &str, root: &str, below: &[&str]) -> Option<(String, String)> {
    let mut lines = below.iter().filter(|line| !line.starts_with("//"));
    let (mut attributes, mut open) = (String::new(), false);
    let first = lines.find(|line| {
        let attribute = open || line.starts_with("#[");
        if attribute {
            attributes.push_str(line);
            open = !line.ends_with(']');
        }
        !attribute
    })?;
    if let Some((_, after)) = first.split_once("fn ") {
        let end = after.find(['(', '<'])?;
        let name = after.get(..end)?;
        return function(name, &attributes, text, root);
    }
    let code: String = [*first].into_iter().chain(lines.take(2).copied()).collect();
    let quoted = || code.split('"').nth(1).map(str::to_owned);
    if code.starts_with("scenario(") {
        let name = quoted()?;
        return Some((name.clone(), name));
    }
    if code.starts_with("decides(") || code.starts_with("does(") {
        return Some((format!("seeded: {}", quoted()?), "seeded_faults".to_owned()));
    }
    let kind: String = code
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let variant = kind.starts_with(char::is_uppercase);
    match program(path).as_str() {
        "soak" if variant => Some((kebab(&kind), kebab(&kind))),
        "sim" if variant => Some((format!("seeds with {kind}"), "seeds".to_owned())),
        _other => None,
    }
}

fn function(name: &str, attributes: &str, text: &str, root: &str) -> Option<(String, String)> {
    let own = attributes.contains("#[test]") || attributes.contains("#[tokio::test");
    let listed = text
        .split_once("on_both_versions!(")
        .and_then(|(_, after)| after.split_once(");"))
        .is_some_and(|(list, _)| list.split(',').any(|one| one.trim() == name));
    if own || listed {
        return Some((name.to_owned(), name.to_owned()));
    }
    let test = caller(root, &format!("{name}(&"))?;
    Some((format!("{test}, {name}"), test.to_owned()))
}

/// The test of the program's first file that calls a step.
fn caller<'a>(root: &'a str, call: &str) -> Option<&'a str> {
    let (mut marked, mut test) = (false, None);
    for line in root.lines() {
        if let Some((_, after)) = line.split_once("fn ").filter(|_| !line.starts_with(' ')) {
            test = after.split('(').next().filter(|_| marked);
            marked = false;
        } else if line.trim() == "#[test]" {
            marked = true;
        } else if line.contains(call) && test.is_some() {
            return test;
        }
    }
    None
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
