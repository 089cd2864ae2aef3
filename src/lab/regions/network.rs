//! Cutting a region off, and counting what arrives.
//!
//! All rules live in the region's own network namespace, in tables of our own. What runs in the
//! namespace talks to the region's server over its loopback device, which no rule touches.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{REGIONS, Region};
use crate::error::{LabError, Result};
use crate::process::{run, run_input, run_ok};
use crate::space::Space;

const LIMIT: Duration = Duration::from_secs(10);
const CUT: &str = "lab_cut";
const COUNT: &str = "lab_count";
const APART: &str = "lab_apart";
const LOSS: &str = "lab_loss";

/// An amount of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes, with the headers of IP.
    pub bytes: u64,
}

/// Says what is missing when `nft` is.
pub(super) fn check() -> Result<()> {
    let found = run(Command::new("nft").arg("--version"), LIMIT);
    found
        .map(drop)
        .map_err(|_| LabError::missing("nft", "apt-get install nftables"))
}

/// Begins to count what arrives at a region from each of the others, after any cut.
pub(super) fn count(space: &Space, region: &Region) -> Result<()> {
    let (mut counters, mut rules) = (String::new(), String::new());
    for other in REGIONS.iter().filter(|other| other.name != region.name) {
        let name = counter(other);
        let _infallible = writeln!(counters, "counter {name} {{ }}");
        let _infallible = writeln!(rules, "ip saddr {} counter name {name}", other.address);
    }
    let script = format!(
        "table inet {COUNT} {{\n{counters}chain input {{\n\
         type filter hook input priority 10; policy accept;\n{rules}}}\n}}\n"
    );
    nft(space, region, &script)
}

/// What has arrived at `at` from `from`.
pub(super) fn arrived(space: &Space, at: &Region, from: &Region) -> Result<Traffic> {
    if at == from {
        return Ok(Traffic::default());
    }
    let mut command = space.command(Some(at.name), "nft");
    command.args(["--json", "list", "counter", "inet", COUNT, &counter(from)]);
    let said = run_ok(&mut command, LIMIT)?.stdout;
    let what = "a packet counter";
    let wrong = |source| LabError::Json {
        what: what.to_owned(),
        source,
    };
    let list: Value = serde_json::from_str(&said).map_err(wrong)?;
    let entries = list.get("nftables").and_then(Value::as_array);
    let counter = entries
        .into_iter()
        .flatten()
        .find_map(|entry| entry.get("counter"));
    Traffic::deserialize(counter.unwrap_or(&Value::Null)).map_err(wrong)
}

/// A direction of packets, as the region sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Both,
    In,
    Out,
}

/// Drops every packet that enters or leaves the region.
pub(super) fn cut(space: &Space, region: &Region, direction: Direction) -> Result<()> {
    let input = "chain input { type filter hook input priority -10; iifname != \"lo\" drop; }\n";
    let output = "chain output { type filter hook output priority -10; oifname != \"lo\" drop; }\n";
    let forward = "chain forward { type filter hook forward priority -10; drop; }\n";
    let (input, output) = match direction {
        Direction::Both => (input, output),
        Direction::In => (input, ""),
        Direction::Out => ("", output),
    };
    nft(
        space,
        region,
        &format!("table inet {CUT} {{\n{input}{output}{forward}}}\n"),
    )
}

/// Undoes [`cut`]; a region that is not cut stays as it is.
pub(super) fn heal(space: &Space, region: &Region) -> Result<()> {
    nft(space, region, &without(CUT))
}

/// Drops what goes between the region and some addresses.
pub(super) fn part(space: &Space, region: &Region, from: &[String]) -> Result<()> {
    let them = from.join(", ");
    nft(
        space,
        region,
        &format!(
            "{}table inet {APART} {{\n\
             chain input {{ type filter hook input priority -9; ip saddr {{ {them} }} drop; }}\n\
             chain output {{ type filter hook output priority -9; ip daddr {{ {them} }} drop; }}\n\
             }}\n",
            without(APART)
        ),
    )
}

/// Drops that many of a hundred packets that enter or leave the region, by chance.
pub(super) fn thin(space: &Space, region: &Region, percent: u8) -> Result<()> {
    let chance = format!("numgen random mod 100 < {percent} drop;");
    nft(
        space,
        region,
        &format!(
            "{}table inet {LOSS} {{\n\
             chain input {{ type filter hook input priority -8; iifname != \"lo\" {chance} }}\n\
             chain output {{ type filter hook output priority -8; oifname != \"lo\" {chance} }}\n\
             }}\n",
            without(LOSS)
        ),
    )
}

/// Undoes [`part`] and [`thin`].
pub(super) fn mend(space: &Space, region: &Region) -> Result<()> {
    let script = format!("{}{}", without(APART), without(LOSS));
    nft(space, region, &script)
}

/// Removes a table. Its first line makes the second succeed where there is none.
fn without(table: &str) -> String {
    format!("table inet {table} {{ }}\ndelete table inet {table}\n")
}

fn counter(region: &Region) -> String {
    format!("from_{}", region.name.replace('-', "_"))
}

fn nft(space: &Space, region: &Region, script: &str) -> Result<()> {
    let mut command = space.command(Some(region.name), "nft");
    run_input(command.args(["--file", "-"]), script, LIMIT).map(drop)
}
