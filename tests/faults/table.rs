//! The document: each row of the table of faults, its tests, and what they said last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::claims::Claim;

/// Faults of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) rows: Vec<Row>,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    #[serde(rename = "row")]
    pub(crate) number: u8,
    pub(crate) fault: String,
    pub(crate) right: String,
    /// What no test shows, and what it would need.
    pub(crate) missing: Option<String>,
}

const HEAD: &str = "| # | fault | what is right | test | last result |\n|---|---|---|---|---|\n";

/// What is wrong with rows and claims: a row with neither test nor reason, a claim of no row.
pub(crate) fn problems(groups: &[Group], claims: &[Claim]) -> Vec<String> {
    let rows = || groups.iter().flat_map(|group| &group.rows);
    let claimed = |row: u8| claims.iter().any(|claim| claim.rows.contains(&row));
    let alone = rows()
        .filter(|row| row.missing.is_none() && !claimed(row.number))
        .map(|row| {
            format!(
                "row {} ({}) has neither test nor reason",
                row.number, row.fault
            )
        });
    let unknown = claims.iter().flat_map(|claim| {
        let unknown = claim
            .rows
            .iter()
            .filter(|row| !rows().any(|one| one.number == **row));
        unknown.map(|row| format!("{}: there is no row {row}", claim.path))
    });
    let numbers = rows().map(|row| row.number).collect::<Vec<_>>();
    let unordered = (!numbers.is_sorted_by(|one, other| one < other))
        .then(|| "rows are not in order".to_owned());
    // It would be read as the end of a cell.
    let torn = rows()
        .filter(|row| format!("{row:?}").contains('|'))
        .map(|row| format!("row {}: write no `|`", row.number));
    alone.chain(unknown).chain(unordered).chain(torn).collect()
}

/// The document. `result` tells what the last run of a test said.
pub(crate) fn document(
    head: &str,
    groups: &[Group],
    claims: &[Claim],
    result: impl Fn(&Claim) -> String,
) -> String {
    let mut out = format!("{head}\n{}\n", counts(groups, claims));
    for group in groups {
        let _ = write!(out, "\n## {}\n\n{HEAD}", group.group);
        for row in &group.rows {
            let mut about = format!("{} | {} | {}", row.number, row.fault, row.right);
            let mut tests: Vec<_> = (claims.iter())
                .filter(|claim| claim.rows.contains(&row.number))
                .map(|claim| (test(claim), result(claim)))
                .collect();
            if let Some(missing) = &row.missing {
                let word = if tests.is_empty() { "none" } else { "partly" };
                tests.push((format!("{word}: {missing}"), String::new()));
            }
            for (test, result) in tests {
                let _ = writeln!(out, "| {about} | {test} | {result} |");
                " | | ".clone_into(&mut about);
            }
        }
    }
    out
}

/// The document without results: what must be current.
pub(crate) fn without_results(document: &str) -> String {
    let line = |line: &str| match line.rsplitn(3, '|').nth(2) {
        Some(kept) if line.starts_with('|') => format!("{kept}|"),
        _text => line.to_owned(),
    };
    document.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The results that a document holds, by the text of the test.
pub(crate) fn results(document: &str) -> BTreeMap<String, String> {
    let cells = |line: &str| {
        let mut cells = line.rsplit('|').skip(1).map(|cell| cell.trim().to_owned());
        let (result, test) = (cells.next()?, cells.next()?);
        (line.starts_with('|') && !result.is_empty()).then_some((test, result))
    };
    document.lines().filter_map(cells).collect()
}

/// A test, as the document names it.
pub(crate) fn test(claim: &Claim) -> String {
    let Claim {
        path,
        program,
        name,
        ..
    } = claim;
    let program = program.trim_start_matches("domicile_");
    format!("{program}: [{name}](../{path})")
}

fn counts(groups: &[Group], claims: &[Claim]) -> String {
    let (mut whole, mut partly, mut none) = (0, 0, 0);
    for row in groups.iter().flat_map(|group| &group.rows) {
        let claimed = claims.iter().any(|claim| claim.rows.contains(&row.number));
        match (claimed, &row.missing) {
            (true, None) => whole += 1,
            (true, Some(_)) => partly += 1,
            (false, _) => none += 1,
        }
    }
    let all = whole + partly + none;
    format!("{all} rows: {whole} with a test, {partly} in part, {none} with a reason why not.")
}
