//! Text for people, rendered from the JSON that programs get: nothing else is known here.

use serde_json::Value;

use crate::json::{items, plain, text};

/// Longest message in a table, in characters.
const MESSAGE_WIDTH: usize = 90;

/// One object on one screen, from a [`crate::report::Report`].
pub fn report(report: &Value) -> String {
    let mut out = String::new();
    let title = [
        text(report, "/object"),
        in_namespace(&text(report, "/namespace")),
        text(report, "/health"),
        text(report, "/state"),
        since(&text(report, "/age")),
    ];
    line(&mut out, &joined(&title, "  "));
    let summary = text(report, "/summary");
    if !summary.is_empty() {
        line(&mut out, &summary);
    }
    section(
        &mut out,
        "",
        table(items(report, "/facts"), &["name", "value"], None),
    );
    let why: Vec<Value> = items(report, "/why").to_vec();
    section(&mut out, "WHY", findings(&why));
    let steps = table(items(report, "/steps"), &["time", "name", "outcome"], None);
    section(&mut out, "STEPS", steps);
    let related = table(
        items(report, "/related"),
        &["object", "health", "state", "message"],
        None,
    );
    section(&mut out, "RELATED", related);
    section(&mut out, "NEXT", lines(items(report, "/next")));
    out
}

/// All at a glance, from a [`crate::report::Overview`].
pub fn overview(overview: &Value) -> String {
    let mut out = String::new();
    line(
        &mut out,
        &joined(
            &[text(overview, "/health"), text(overview, "/summary")],
            "  ",
        ),
    );
    let policies = [
        "policy",
        "health",
        "state",
        "active",
        "home",
        "epoch",
        "splitBrain",
        "loss",
    ];
    let regions = ["region", "jurisdiction", "health", "reason", "placements"];
    let placements = [
        "namespace",
        "placement",
        "health",
        "reason",
        "home",
        "active",
    ];
    let operations = ["operation", "type", "policy", "target", "state", "message"];
    let parts: [(&str, &[&str]); 4] = [
        ("policies", &policies),
        ("operations", &operations),
        ("regions", &regions),
        ("placements", &placements),
    ];
    for (key, columns) in parts {
        let rows = table(
            items(overview, &format!("/{key}")),
            columns,
            Some(&headings(columns)),
        );
        section(&mut out, "", rows);
    }
    section(&mut out, "NOT READ", lines(items(overview, "/unread")));
    section(&mut out, "NEXT", lines(items(overview, "/next")));
    out
}

/// What would happen, from a [`crate::plan::Plan`].
pub fn plan(plan: &Value) -> String {
    let mut out = String::new();
    let title = [
        format!("without {}", text(plan, "/lost")),
        text(plan, "/health"),
        text(plan, "/summary"),
    ];
    line(&mut out, &joined(&title, "  "));
    for policy in items(plan, "/policies") {
        section(&mut out, "", planned(policy));
    }
    let columns = ["namespace", "placement", "from", "fate", "to"];
    let tenants = items(plan, "/tenants");
    section(
        &mut out,
        "",
        table(tenants, &columns, Some(&headings(&columns))),
    );
    let mut why: Vec<String> = Vec::new();
    for tenant in tenants
        .iter()
        .filter(|tenant| text(tenant, "/fate") != "Moves")
    {
        let alike = |other: &&Value| text(other, "/why") == text(tenant, "/why");
        let count = tenants.iter().filter(alike).count();
        let told = match count {
            1 => format!(
                "{}/{}: {}",
                text(tenant, "/namespace"),
                text(tenant, "/placement"),
                text(tenant, "/why")
            ),
            _ => format!("{count} placements: {}", text(tenant, "/why")),
        };
        if !why.contains(&told) {
            why.push(told);
        }
    }
    section(&mut out, "WHY", why);
    section(&mut out, "ASSUMED", lines(items(plan, "/assumed")));
    section(&mut out, "NOT READ", lines(items(plan, "/unread")));
    section(&mut out, "NEXT", lines(items(plan, "/next")));
    out
}

/// A policy of a plan, in a few lines.
fn planned(policy: &Value) -> Vec<String> {
    let field = |key: &str| text(policy, &format!("/{key}"));
    let head = [
        format!("policy/{}", field("policy")),
        field("fate"),
        field("to"),
        format!("{} tenants", field("tenants")),
        match field("to").as_str() {
            "" => String::new(),
            to => format!("{to} serves {} now", field("alreadyThere")),
        },
    ];
    let mut rows = vec![joined(&head, "  ")];
    if !field("proof").is_empty() {
        rows.push(format!(
            "  against two writers: {}; loss: {} s if it dies, {} s if it is cut off",
            field("proof"),
            field("crashLoss"),
            field("partitionLoss")
        ));
        let part = |key: &str| text(policy, &format!("/rto/{key}"));
        rows.push(format!(
            "  about {} s = detect {} + confirm {} + fence {} + catch up {} + promote {} + \
             reroute {}",
            part("total"),
            part("detect"),
            part("confirm"),
            part("fence"),
            part("catchUp"),
            part("promote"),
            part("reroute")
        ));
    }
    let why = items(policy, "/why").iter();
    rows.extend(why.map(|reason| format!("  {}", plain(reason))));
    rows
}

/// Rows of equal columns, two spaces apart, without borders. No rows, no table.
pub fn table(rows: &[Value], columns: &[&str], headings: Option<&[String]>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let cell = |row: &Value, key: &&str| {
        let text = plain(row.get(*key).unwrap_or(&Value::Null));
        shortened(&if text.is_empty() {
            "-".to_owned()
        } else {
            text
        })
    };
    let mut cells: Vec<Vec<String>> = Vec::new();
    cells.extend(headings.map(<[String]>::to_vec));
    cells.extend(
        rows.iter()
            .map(|row| columns.iter().map(|key| cell(row, key)).collect()),
    );
    let width = |column: usize| {
        cells
            .iter()
            .filter_map(|row| row.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let padded = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(padded).collect()
}

fn findings(why: &[Value]) -> Vec<String> {
    let mut out = Vec::new();
    for finding in why {
        let since = since(&text(finding, "/age"));
        let head = [text(finding, "/reason"), text(finding, "/source"), since];
        out.push(joined(&head, "  "));
        let message = text(finding, "/message");
        if !message.is_empty() {
            out.push(format!("  {message}"));
        }
    }
    out
}

fn headings(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| column.to_uppercase()).collect()
}

fn section(out: &mut String, heading: &str, rows: Vec<String>) {
    if rows.is_empty() {
        return;
    }
    out.push('\n');
    if !heading.is_empty() {
        line(out, heading);
    }
    for row in rows {
        line(out, &format!("  {row}"));
    }
}

fn lines(values: &[Value]) -> Vec<String> {
    values.iter().map(plain).collect()
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn joined(parts: &[String], separator: &str) -> String {
    let kept: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|p| !p.is_empty())
        .collect();
    kept.join(separator)
}

fn in_namespace(namespace: &str) -> String {
    if namespace.is_empty() {
        String::new()
    } else {
        format!("-n {namespace}")
    }
}

fn since(age: &str) -> String {
    if age.is_empty() {
        String::new()
    } else {
        format!("({age})")
    }
}

fn shortened(text: &str) -> String {
    let one_line = text.replace('\n', " ");
    if one_line.chars().count() <= MESSAGE_WIDTH {
        return one_line;
    }
    let kept: String = one_line.chars().take(MESSAGE_WIDTH - 1).collect();
    // Cut between words, so that no word is shown that the JSON does not hold.
    let whole = kept
        .rsplit_once(' ')
        .map_or(kept.as_str(), |(whole, _)| whole);
    format!("{whole} …")
}
