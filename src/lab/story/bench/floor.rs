//! What the SQL of a placement costs by itself: the statements that the operator issued for one
//! tenant, issued again for others by few sessions that do nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use super::{HOME, NAMESPACE, ONE_LIMIT, placement};
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::postgres::Server;
use crate::story::objects::{kinds, ready};
use crate::story::stage::Stage;

/// The tenant whose statements are taken. Its name must be found in nothing else.
const MODEL: &str = "benchmodel";
/// Tenants that are measured, and those of one session: a call has ten seconds.
const TENANTS: usize = 20;
const OF_SESSION: usize = 5;

/// Seconds for the SQL of one tenant.
pub(super) fn measure(stage: &Stage) -> Result<f64> {
    let server = stage.lab.regions().server(HOME)?;
    let statements = statements(stage, server)?;
    let scripts: Vec<String> = (0..TENANTS).map(|one| script(&statements, one)).collect();
    let begun = monotonic()?;
    for some in scripts.chunks(OF_SESSION) {
        server.superuser_sql("postgres", &some.concat())?;
    }
    Ok((monotonic()? - begun) as f64 / 1e9 / TENANTS as f64)
}

/// A text that was sent to a database.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    database: String,
    sql: String,
}

fn statements(stage: &Stage, server: &Server) -> Result<Vec<Statement>> {
    let log = |on: &str| -> Result<()> {
        for sql in [on, "SELECT pg_reload_conf()"] {
            server.superuser_sql("postgres", sql)?;
        }
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    };
    log("ALTER SYSTEM SET log_statement = 'all'")?;
    let path = server.log();
    let read = || fs::read_to_string(&path).map_err(LabError::file("read", &path));
    let before = read()?.len();
    stage.apply(&[placement(MODEL)])?;
    let place = (kinds::PLACEMENT, Some(NAMESPACE), MODEL);
    stage.objects.wait(place, "ready", ONE_LIMIT, ready)?;
    let told = read()?;
    log("ALTER SYSTEM RESET log_statement")?;
    let found = parse(told.get(before..).unwrap_or_default(), MODEL);
    if found.iter().any(|one| one.sql.contains("CREATE DATABASE")) {
        return Ok(found);
    }
    let text = format!("the log of {HOME} does not tell how {MODEL} was made");
    Err(LabError::State(text))
}

/// The statements of all sessions that named the tenant, in order. Lines have the prefix
/// `TIME [PID] USER@DATABASE `; what goes on in further lines is indented by a tab.
fn parse(log: &str, tenant: &str) -> Vec<Statement> {
    let mut found: Vec<(&str, Statement)> = Vec::new();
    let mut open = false;
    for line in log.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            if let Some((_, last)) = found.last_mut().filter(|_| open) {
                last.sql.push('\n');
                last.sql.push_str(more);
            }
            continue;
        }
        let parsed = line
            .split_once(" LOG:  statement: ")
            .and_then(|(head, sql)| {
                let (head, place) = head.trim_end().rsplit_once(' ')?;
                let (_, pid) = head.rsplit_once('[')?;
                let (_, database) = place.split_once('@')?;
                let (database, sql) = (database.to_owned(), sql.to_owned());
                Some((pid, Statement { database, sql }))
            });
        open = parsed.is_some();
        found.extend(parsed);
    }
    let ours: BTreeSet<&str> = found
        .iter()
        .filter(|(_, one)| one.sql.contains(tenant) || one.database.contains(tenant))
        .map(|(pid, _)| *pid)
        .collect();
    let all = found.into_iter();
    all.filter_map(|(pid, one)| ours.contains(pid).then_some(one))
        .collect()
}

/// The statements for another tenant, as `psql` takes them.
fn script(statements: &[Statement], number: usize) -> String {
    let name = format!("benchfl{number:03}");
    debug_assert_eq!(name.len(), MODEL.len(), "names are as long as the model's");
    let mut script = String::from("\\set QUIET on\n");
    let mut connected = "postgres";
    for Statement { database, sql } in statements {
        // The operator makes a database beside the session that holds the authority row.
        if sql.starts_with("CREATE DATABASE") {
            script += "COMMIT;\n";
        }
        if database != connected {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(script, "\\connect {}", database.replace(MODEL, &name));
            connected = database;
        }
        let _ = writeln!(script, "{};", sql.replace(MODEL, &name));
    }
    script + "\\connect postgres\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_the_tenants_sessions_are_told_apart() {
        let log = "2026-11-29 10:00:00.000 UTC [7] admin@postgres LOG:  statement: BEGIN\n\
                   2026-11-29 10:00:00.001 UTC [8] admin@postgres LOG:  statement: SELECT 1\n\
                   2026-11-29 10:00:00.002 UTC [7] admin@postgres LOG:  statement: CREATE ROLE\n\
                   \t\"t_benchmodel\"\n\
                   2026-11-29 10:00:00.003 UTC [9] admin@t_benchmodel LOG:  statement: SELECT 2\n";
        let found = parse(log, MODEL);
        let texts: Vec<&str> = found.iter().map(|one| one.sql.as_str()).collect();
        assert_eq!(
            texts,
            ["BEGIN", "CREATE ROLE\n\"t_benchmodel\"", "SELECT 2"]
        );
        let script = script(&found, 4);
        assert!(
            script.contains("CREATE ROLE\n\"t_benchfl004\";\n\\connect t_benchfl004\nSELECT 2;")
        );
    }
}
