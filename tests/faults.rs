//! The table of faults: each row has a test that says so itself, or a written reason why not.
//! `UPDATE=1` writes `docs/faults.md`, a plain run compares all of it but the results: those are
//! from the logs of the last runs (`make faults`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

#[path = "faults/claims.rs"]
mod claims;
#[path = "faults/results.rs"]
mod results;
#[path = "faults/table.rs"]
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use claims::{Claim, claims, program};
use results::{Run, later};
use table::{Group, Row, document, problems, without_results};

const DOCUMENT: &str = "docs/faults.md";
const HEAD: &str = include_str!("faults/head.md");

#[test]
fn each_row_has_a_test_or_a_reason_and_the_document_is_current() {
    let file = repository().join(DOCUMENT);
    let before = fs::read_to_string(&file).unwrap_or_default();
    let groups: Vec<Group> = serde_saphyr::from_str(include_str!("faults/rows.yaml")).unwrap();
    let (claims, mut wrong) = all_claims();
    wrong.extend(problems(&groups, &claims));
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));

    let (runs, kept) = (runs(), table::results(&before));
    let result = |claim: &Claim| {
        let kept = kept.get(&table::test(claim)).cloned();
        let seen = runs
            .iter()
            .filter_map(|run| run.cell(&claim.program, &claim.runs));
        seen.fold(kept.unwrap_or_else(|| "not run".to_owned()), later)
    };
    let made = document(HEAD, &groups, &claims, result);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, made).unwrap();
        return;
    }
    let current = without_results(&before) == without_results(&made);
    assert!(current, "{DOCUMENT} is out of date: run `make faults`");
}

/// All claims, by program and name, and what is wrong with some.
fn all_claims() -> (Vec<Claim>, Vec<String>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for folder in ["src", "tests"] {
        for (path, text) in sources(&repository().join(folder)) {
            if program(&path) == "faults" {
                continue;
            }
            let root = repository().join(format!("tests/{}.rs", program(&path)));
            let root = fs::read_to_string(root).unwrap_or_default();
            for claim in claims(&path, &text, &root) {
                match claim {
                    Ok(claim) => found.push(claim),
                    Err(problem) => wrong.push(problem),
                }
            }
        }
    }
    found.sort_by_key(|claim| (claim.program.clone(), claim.name.clone()));
    (found, wrong)
}

/// The files of Rust below a folder, by their path from the root of the project.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let shown = path
                .strip_prefix(repository())
                .unwrap()
                .display()
                .to_string();
            found.push((shown, fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn runs() -> Vec<Run> {
    let logs = fs::read_dir(repository().join("target/results"));
    let logs = logs.into_iter().flatten().flatten();
    let texts = logs.filter_map(|log| fs::read_to_string(log.path()).ok());
    texts.filter_map(|text| Run::read(&text)).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

const ROOT: &str =
    "#[test]\nfn the_test() {\n    step(&world);\n}\n\nfn other() {\n    odd(&w);\n}";

fn names(path: &str, text: &str) -> Vec<Result<String, String>> {
    let all = claims(path, text, ROOT).into_iter();
    all.map(|claim| claim.map(|claim| format!("{} {:?}", claim.name, claim.rows)))
        .collect()
}

#[test]
fn every_form_of_a_test_can_claim_rows() {
    let cases = [
        (
            "tests/a.rs",
            "/// It holds.\n/// Faults: 1, 22.\n#[test]\nfn a() {",
            "a [1, 22]",
        ),
        (
            "tests/a.rs",
            "// Faults: 3.\n#[tokio::test(\n)]\nasync fn b() {",
            "b [3]",
        ),
        (
            "tests/a.rs",
            "on_both_versions!(\n    c,\n);\n/// Faults: 4.\nasync fn c(b: &B)",
            "c [4]",
        ),
        (
            "tests/a.rs",
            "/// Faults: 5.\npub(super) fn step(world: &W) {",
            "the_test, step [5]",
        ),
        (
            "tests/e2e.rs",
            "// Faults: 6.\nscenario(\n    \"moves\",\n    true,",
            "moves [6]",
        ),
        (
            "tests/sim/mutants/table.rs",
            "// Faults: 7.\ndoes(\"lies\", x),",
            "seeded: lies [7]",
        ),
        (
            "tests/sim/fault.rs",
            "/// Faults: 8.\nHubAway,",
            "seeds with HubAway [8]",
        ),
        (
            "src/lab/story/soak/fault.rs",
            "/// Faults: 9.\nHealsMidway,",
            "heals-midway [9]",
        ),
    ];
    for (path, text, wanted) in cases {
        assert_eq!(names(path, text), [Ok(wanted.to_owned())], "{text}");
    }
}

#[test]
fn a_claim_of_what_nothing_runs_is_found() {
    for text in [
        "/// Faults: 1.\nfn helper() {}",
        "/// Faults: 1.\nfn odd(w: &W) {}",
        "/// Faults: 1.\nstruct S;",
        "/// Faults: one.\n#[test]\nfn a() {",
        "/// Faults: 1, 2\n#[test]\nfn a() {",
        "/// Faults: 1.",
    ] {
        let found = names("tests/a.rs", text);
        assert!(matches!(&found[..], [Err(_)]), "{text}: {found:?}");
    }
}

fn row(number: u8, missing: Option<&str>) -> Row {
    let (fault, right) = ("it breaks".to_owned(), "it holds".to_owned());
    let missing = missing.map(str::to_owned);
    Row {
        number,
        fault,
        right,
        missing,
    }
}

fn group(rows: Vec<Row>) -> [Group; 1] {
    [Group {
        group: "All".to_owned(),
        rows,
    }]
}

fn claim() -> Claim {
    let text = "/// Faults: 1.\n#[test]\nfn a() {";
    claims("tests/b.rs", text, "")[0].clone().unwrap()
}

#[test]
fn a_row_without_test_or_reason_and_a_claim_of_no_row_are_found() {
    let good = group(vec![row(1, None), row(2, Some("a reason"))]);
    assert_eq!(problems(&good, &[claim()]), [] as [String; 0]);
    for bad in [
        group(vec![row(1, None), row(2, None)]),
        group(vec![row(2, Some("a reason"))]),
        group(vec![row(2, Some("a reason")), row(1, None)]),
        group(vec![row(1, Some("a | b"))]),
    ] {
        assert_eq!(problems(&bad, &[claim()]).len(), 1, "{bad:?}");
    }
}

#[test]
fn all_but_the_results_must_be_current() {
    let groups = group(vec![row(1, Some("more")), row(2, Some("a reason"))]);
    let with = |result: &str| document("# Head", &groups, &[claim()], |_| result.to_owned());
    let (one, other) = (with("passed 2026-01-01T00:00:00Z abc"), with("not run"));
    assert_ne!(one, other);
    assert_eq!(without_results(&one), without_results(&other));
    assert!(
        one.contains("2 rows: 0 with a test, 1 in part, 1 with a reason"),
        "{one}"
    );
    let results = table::results(&one);
    let kept = results.get("b: [a](../tests/b.rs)").map(String::as_str);
    assert_eq!(kept, Some("passed 2026-01-01T00:00:00Z abc"));
    let less = group(vec![row(1, Some("less")), row(2, Some("a reason"))]);
    let less = document("# Head", &less, &[claim()], |_| "not run".to_owned());
    assert_ne!(without_results(&one), without_results(&less));
}

#[test]
fn a_log_tells_what_passed_and_what_failed() {
    let log = "run of 0123abc at 2026-11-24T20:00:00Z\n     \
        Running unittests src/lib.rs (target/debug/deps/domicile_core-90ab)\n\
        test health::tests::good ... ok\ntest result: ok. 1 passed\n     \
        Running tests/e2e.rs (target/debug/deps/e2e-90ab)\n\
        test moves@system ... ok (1.2 s) told\ntest moves@18 ... FAILED (1.2 s)\n\
        test left ... ignored\n\
        [   1.0 s] cycle 1 kill at eu-west: ok (9.0 s) moved\n\
        [   2.0 s] cycle 2 flap at eu-west: void, slow (9.0 s)\n\
        [   3.0 s] cycle 3 cut-in FAILED: nobody moved\n";
    let run = Run::read(log).unwrap();
    let passed = Some("passed 2026-11-24T20:00:00Z 0123abc".to_owned());
    let new = "**failed** 2026-11-24T20:00:00Z 0123abc".to_owned();
    let failed = Some(new.clone());
    assert_eq!(run.cell("domicile_core", "good"), passed);
    assert_eq!(run.cell("e2e", "moves"), failed, "the worst of both");
    assert_eq!(run.cell("e2e", "good"), None);
    assert_eq!(run.cell("e2e", "left"), None);
    assert_eq!(run.cell("soak", "kill"), passed);
    assert_eq!(
        (run.cell("soak", "flap"), run.cell("soak", "cut-in")),
        (None, failed)
    );
    assert!(Run::read("test a ... ok").is_none());
    let old = "passed 2026-01-01T00:00:00Z a".to_owned();
    assert_eq!(later(old.clone(), new.clone()), new);
    assert_eq!(later(new.clone(), old.clone()), new);
    assert_eq!(later("not run".to_owned(), old.clone()), old);
}
