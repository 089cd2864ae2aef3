//! Two statements that differ in nothing but names, by PostgreSQL's own parser (`libpg_query`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Longest identifier; the parser cuts longer ones, as the server does. The API's schema refuses
/// such names before.
const LONGEST: usize = 63;

/// Fields that say where something stands in the text.
const PLACES: [&str; 4] = ["location", "stmt_len", "list_start", "list_end"];

/// What is wrong with a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Fine,
    /// The parser refuses it.
    NoSql(String),
    /// It is not one statement, but so many.
    Statements(usize),
    /// It is another statement, or is about something else: where the trees part.
    Tree(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fine => write!(f, "nothing is wrong"),
            Self::NoSql(error) => write!(f, "it is no SQL: {error}"),
            Self::Statements(count) => write!(f, "it is {count} statements"),
            Self::Tree(place) => write!(f, "it is another statement: {place}"),
        }
    }
}

/// The statements of a text, each as a tree.
pub(super) fn parse(sql: &str) -> Result<Value, Found> {
    let refused = |error: pg_query::Error| Found::NoSql(error.to_string());
    let parsed = pg_query::parse(sql, 0).map_err(refused)?;
    let stmts = &parsed.protobuf.stmts;
    serde_json::to_value(stmts).map_err(|error| Found::NoSql(error.to_string()))
}

/// The kinds of statements in a tree.
pub(super) fn kind(tree: &Value) -> Vec<String> {
    let stmts = tree.as_array().map(Vec::as_slice).unwrap_or_default();
    let node = |stmt: &Value| stmt["stmt"]["node"].as_object()?.keys().next().cloned();
    stmts.iter().filter_map(node).collect()
}

/// Compares a statement with the tree of the intended one, in which `names` stand for others.
pub(super) fn compare(
    intended: &Value,
    sql: &str,
    names: &BTreeMap<String, String>,
) -> Result<(), Found> {
    let tree = parse(sql)?;
    let count = |tree: &Value| tree.as_array().map_or(0, Vec::len);
    if count(&tree) != count(intended) {
        return Err(Found::Statements(count(&tree)));
    }
    same(intended, &tree, names, "").map_err(Found::Tree)
}

fn same(
    intended: &Value,
    found: &Value,
    names: &BTreeMap<String, String>,
    place: &str,
) -> Result<(), String> {
    let differs = || Err(format!("{place} is {found}, meant was {intended}"));
    match (intended, found) {
        (Value::Object(meant), Value::Object(is)) => {
            if meant.len() != is.len() {
                return differs();
            }
            for ((key, meant), (other, is)) in meant.iter().zip(is) {
                if key != other {
                    return differs();
                }
                if !PLACES.iter().any(|place| key.ends_with(place)) {
                    same(meant, is, names, key)?;
                }
            }
            Ok(())
        }
        (Value::Array(meant), Value::Array(is)) => {
            if meant.len() != is.len() {
                return differs();
            }
            let mut pairs = meant.iter().zip(is);
            pairs.try_for_each(|(meant, is)| same(meant, is, names, place))
        }
        (Value::String(meant), Value::String(is)) => {
            let meant = names.get(meant).unwrap_or(meant);
            if is == meant || is == cut(meant) {
                Ok(())
            } else {
                differs()
            }
        }
        (Value::Number(meant), Value::Number(is)) => {
            let meant = meant.to_string();
            let meant = names.get(&meant).unwrap_or(&meant);
            if *meant == is.to_string() {
                Ok(())
            } else {
                differs()
            }
        }
        (meant, is) if meant == is => Ok(()),
        _ => differs(),
    }
}

fn cut(name: &str) -> &str {
    let mut end = name.len().min(LONGEST);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
