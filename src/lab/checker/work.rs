//! The kinds of work that a writer does, and what the tables must say when all of it is there.
//!
//! Every piece of work leaves a row of the register; a transfer also changes two accounts, and an
//! append also lengthens a list, each in the transaction of its row. So accounts and lists can be
//! worked out from the rows, and a server on which they differ tore a transaction apart.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Outcome};
use super::verdict::Stored;

/// How many accounts the bank has; they are numbered from 0.
pub const ACCOUNTS: i64 = 8;
/// What each account holds at first.
pub const OPENING_BALANCE: i64 = 1000;
/// Appends that begin in the same span of this many nanoseconds go to the same list, whoever
/// makes them.
pub const LIST_SPAN: u64 = 2_000_000_000;
/// Most contradictions that are told one by one.
const TOLD: usize = 5;

/// What is done beside the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing: a row of the register.
    Register,
    /// Money goes from one account to another.
    Transfer {
        /// The account that pays.
        from: i64,
        /// The account that is paid, another one.
        to: i64,
        /// How much, at least 1.
        amount: i64,
    },
    /// The row is appended to the list of its time.
    Append,
}

impl Work {
    /// The work of a row, the same for all writers: half are rows of the register alone.
    #[must_use]
    pub fn of(seq: u64) -> Self {
        let number = (seq / 4) as i64;
        match seq % 4 {
            1 => {
                let from = number % ACCOUNTS;
                let step = 1 + (number / ACCOUNTS) % (ACCOUNTS - 1);
                Self::Transfer {
                    from,
                    to: (from + step) % ACCOUNTS,
                    amount: 1 + number % 9,
                }
            }
            3 => Self::Append,
            _ => Self::Register,
        }
    }
}

/// The text by which a list names a row.
#[must_use]
pub fn item(run: &str, seq: u64) -> String {
    format!("{run} {seq}")
}

/// Accounts and lists as a server holds them, in the snapshot of its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Balances by account.
    pub accounts: BTreeMap<i64, i64>,
    /// Items by list, in the list's order; see [`item`].
    pub lists: BTreeMap<i64, Vec<String>>,
}

/// What in the books contradicts the rows, or the order in which the rows were written. Empty
/// when all is well; more than a few contradictions are counted.
#[must_use]
pub fn audit(history: &History, stored: &Stored, books: &Books) -> Vec<String> {
    let mut found = balances(stored, &books.accounts);
    let mut listed = lists(stored, &books.lists);
    listed.extend(disorder(history, &books.lists));
    let more = listed.len().saturating_sub(TOLD);
    listed.truncate(TOLD);
    found.extend(listed);
    if more > 0 {
        found.push(format!("{more} more contradictions of lists"));
    }
    found
}

fn balances(stored: &Stored, accounts: &BTreeMap<i64, i64>) -> Vec<String> {
    let mut right: BTreeMap<i64, i64> = (0..ACCOUNTS)
        .map(|account| (account, OPENING_BALANCE))
        .collect();
    for (_, seq) in stored.keys() {
        match Work::of(*seq) {
            Work::Transfer { from, to, amount } => {
                *right.entry(from).or_default() -= amount;
                *right.entry(to).or_default() += amount;
            }
            Work::Register | Work::Append => {}
        }
    }
    let (total, opened) = (accounts.values().sum::<i64>(), ACCOUNTS * OPENING_BALANCE);
    let mut found = Vec::new();
    if total != opened {
        found.push(format!("the bank holds {total}, not {opened}"));
    }
    if *accounts != right {
        found.push(format!(
            "the accounts say {accounts:?}, the transfers {right:?}"
        ));
    }
    found
}

fn lists(stored: &Stored, lists: &BTreeMap<i64, Vec<String>>) -> Vec<String> {
    let appended = |(_, seq): &&(String, u64)| Work::of(*seq) == Work::Append;
    let rows = stored.keys().filter(appended);
    let mut missing: BTreeSet<String> = rows.map(|(run, seq)| item(run, *seq)).collect();
    let mut found = Vec::new();
    for entry in lists.values().flatten() {
        if !missing.remove(entry) {
            found.push(format!("a list holds {entry} twice or without its row"));
        }
    }
    let absent = missing
        .iter()
        .map(|entry| format!("no list holds {entry}, whose row is there"));
    found.extend(absent);
    found
}

/// An append that began after another one was acknowledged comes after it.
fn disorder(history: &History, lists: &BTreeMap<i64, Vec<String>>) -> Vec<String> {
    let times: BTreeMap<String, (u64, u64)> = history
        .attempts
        .iter()
        .filter(|attempt| Work::of(attempt.seq) == Work::Append)
        .map(|attempt| {
            let answered = match attempt.outcome {
                Outcome::Acknowledged { at, .. } => at,
                Outcome::Failed { .. } | Outcome::Unknown => u64::MAX,
            };
            (item(&attempt.run, attempt.seq), (attempt.sent, answered))
        })
        .collect();
    let mut found = Vec::new();
    for (list, items) in lists {
        let mut earliest_answer = u64::MAX;
        for entry in items.iter().rev() {
            let Some((sent, answered)) = times.get(entry) else {
                continue;
            };
            if earliest_answer < *sent {
                found.push(format!("list {list} holds {entry} before an older item"));
            }
            earliest_answer = earliest_answer.min(*answered);
        }
    }
    found
}

#[cfg(test)]
#[path = "work_tests.rs"]
mod tests;
