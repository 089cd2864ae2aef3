//! What was done and what was reached, in lines for people.

use std::time::Duration;

use crate::coverage::Coverage;
use crate::hunt::Found;

pub(crate) fn mutants(found: &[Found]) {
    println!("seeded faults: what is broken, what noticed, after how many seeds");
    for one in found {
        let name = one.mutant.name;
        match &one.by {
            Some((seeds, text)) => println!("  {name:<46} {seeds:>5}  {text}"),
            None => println!("! {name:<46}     -  not found"),
        }
        if let (seeds, Some(first)) = &one.other {
            println!("  {:<46} {seeds:>5}  broke something else: {first}", "");
        }
    }
}

pub(crate) fn reached(coverage: &Coverage, took: Duration) {
    let seconds = took.as_secs_f64().max(0.001);
    let per_second = |number: u64| number as f64 / seconds;
    println!(
        "{} seeds, {} events, {} passes, {} hours of virtual time in {seconds:.0} s",
        coverage.runs,
        coverage.events,
        coverage.passes,
        coverage.milliseconds / 3_600_000,
    );
    println!(
        "{} failovers and {} planned moves, {:.0} moves/s; longest assumed overlap {} s",
        coverage.failovers,
        coverage.planned,
        per_second(coverage.failovers + coverage.planned),
        coverage.overlap / 1000,
    );
    println!(
        "{} promotions on the end of a lease; agents fenced their server {} times; \
         {} writes in the hole of case 21",
        coverage.lease_expired, coverage.self_fences, coverage.returns
    );
    for ((from, to), times) in &coverage.edges {
        println!("  {from} -> {to}: {times}");
    }
    for edge in coverage.seldom() {
        println!("  {edge}");
    }
    for ((side, effect), times) in &coverage.boundaries {
        println!("  crash {side:?} {effect:?}: {times}");
    }
}
