//! Whatever a spec, a server or another tenant calls a thing: each statement that is built from it
//! is one statement, the intended one, on the thing of that very name, as PostgreSQL's own parser
//! reads it.
//!
//! Each statement is built twice by the same functions that build what is executed: for a tenant
//! with plain names, whose statements are written down in `intended.txt`, and for the hostile one.
//! Both are parsed, and the trees must differ in nothing but the names. `SPECS=1000000` tries that
//! many, from `SEED=1` on; a failure names the seed of its spec.

mod built;
mod check;
mod names;

use std::collections::BTreeMap;

use built::{Case, built};
use check::{Found, compare, kind, parse};
use names::{Random, hostile};

/// Specs of a plain run: as many as fit in some twenty seconds.
const SPECS: u64 = 10_000;

/// Of so many specs one has its questions checked, too: they are long.
const ASKED: u64 = 64;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    text.to_str().and_then(|text| text.parse().ok())
}

/// What the parser makes of the statements of the plain tenant, by their label.
fn intended(asked: bool) -> BTreeMap<String, serde_json::Value> {
    let trees = built(&Case::plain(), asked).into_iter();
    trees
        .map(|(label, sql)| (label, parse(&sql).unwrap()))
        .collect()
}

/// Faults: 13.
#[test]
fn fuzzed_specs_give_exactly_the_intended_statements() {
    let (specs, first) = (
        number("SPECS").unwrap_or(SPECS),
        number("SEED").unwrap_or(1),
    );
    let plain = Case::plain();
    let (effects, all) = (intended(false), intended(true));
    let (mut statements, mut refused) = (0_u64, 0_u64);
    for seed in first..first + specs {
        let case = Case::hostile(&mut Random::new(seed), &mut refused);
        let asked = seed % ASKED == 0;
        let trees = if asked { &all } else { &effects };
        let built = built(&case, asked);
        assert_eq!(built.len(), trees.len(), "seed {seed}");
        let names = case.instead_of(&plain);
        for (label, sql) in built {
            if let Err(found) = compare(&trees[&label], &sql, &names) {
                panic!("seed {seed}, {label}: {found}\n{sql}");
            }
            statements += 1;
        }
    }
    println!(
        "{specs} specs from seed {first}: {statements} statements as intended; {refused} names of \
         databases were refused before"
    );
}

/// The plain tenant's statements, as they are meant to be.
#[test]
fn the_intended_statements_are_those_that_are_written_down() {
    let built = built(&Case::plain(), false);
    let line = |(label, sql): &(String, String)| {
        let words: Vec<&str> = sql.split_whitespace().collect();
        format!("{label}: {}", words.join(" "))
    };
    let lines: Vec<String> = built.iter().map(line).collect();
    let found = lines.join("\n");
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/generic/tenant/fuzz/intended.txt"
        );
        std::fs::write(path, format!("{found}\n")).unwrap();
        return;
    }
    let written = include_str!("intended.txt").trim_end();
    for ((found, written), (_, sql)) in found.lines().zip(written.lines()).zip(&built) {
        assert_eq!(found, written);
        assert_eq!(
            parse(sql).map(|tree| kind(&tree)).unwrap().len(),
            1,
            "{sql}"
        );
    }
    assert_eq!(found.lines().count(), written.lines().count());
}

/// Builds a statement from a name.
type Wrong = fn(&str) -> String;

/// Statements that are built wrongly are found: by quoting that is naive, missing, or of the other
/// kind, and by a name of something else.
#[test]
fn a_statement_that_is_built_wrongly_is_found() {
    let name = |text: &str| text.replace('\0', "");
    let wrong: [(&str, &str, Wrong); 6] = [
        ("bare", "CREATE SCHEMA \"zz_x\"", |text| {
            format!("CREATE SCHEMA {text}")
        }),
        ("naive identifier", "CREATE SCHEMA \"zz_x\"", |text| {
            format!("CREATE SCHEMA \"{text}\"")
        }),
        ("doubled wrongly", "CREATE SCHEMA \"zz_x\"", |text| {
            format!("CREATE SCHEMA \"{}\"", text.replace('"', "\\\""))
        }),
        ("naive literal", "COMMENT ON ROLE r IS 'zz_x'", |text| {
            format!("COMMENT ON ROLE r IS '{text}'")
        }),
        (
            "escaped, not doubled",
            "COMMENT ON ROLE r IS 'zz_x'",
            |text| format!("COMMENT ON ROLE r IS E'{}'", text.replace('\'', "''")),
        ),
        ("another's name", "CREATE SCHEMA \"zz_x\"", |text| {
            format!("CREATE SCHEMA \"x{}\"", text.replace('"', "\"\""))
        }),
    ];
    for (what, plain, build) in wrong {
        let tree = parse(plain).unwrap();
        let mut found = 0;
        for seed in 1..2_000 {
            let text = name(&hostile(&mut Random::new(seed)));
            let names = BTreeMap::from([("zz_x".to_owned(), text.clone())]);
            found += u32::from(compare(&tree, &build(&text), &names).is_err());
        }
        assert!(found > 100, "{what}: found only {found} times in 2000");
        println!("{what}: found {found} times in 2000");
    }
    let tree = parse("DROP ROLE \"zz_x\"").unwrap();
    let names = |text: &str| BTreeMap::from([("zz_x".to_owned(), text.to_owned())]);
    for (sql, found) in [
        ("DROP ROLE \"a\"; DROP ROLE \"b\"", Found::Statements(2)),
        ("DROP ROLE \"a\" -- b", Found::Fine),
        ("", Found::Statements(0)),
        ("DROP ROLE \"a", Found::NoSql(String::new())),
        ("DROP OWNED BY \"a\"", Found::Tree(String::new())),
        ("DROP ROLE \"b\"", Found::Tree(String::new())),
        ("DROP ROLE IF EXISTS \"a\"", Found::Tree(String::new())),
    ] {
        let seen = compare(&tree, sql, &names("a"))
            .err()
            .unwrap_or(Found::Fine);
        let same = std::mem::discriminant(&seen) == std::mem::discriminant(&found);
        assert!(same, "{sql}: {seen}");
    }
}
