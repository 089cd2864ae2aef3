//! Books that contradict the rows, each of which the audit must see.

use super::super::history::{Attempt, Reign};
use super::*;

/// Rows 1 to 8 of one run, each acknowledged before the next was sent.
fn history() -> History {
    let attempt = |seq: u64| Attempt {
        run: "r".to_owned(),
        seq,
        sent: seq * 10,
        acknowledged_before: seq - 1,
        outcome: Outcome::Acknowledged {
            at: seq * 10 + 5,
            by: Reign {
                timeline: 1,
                server: "w".to_owned(),
            },
        },
    };
    History {
        attempts: (1..=8).map(attempt).collect(),
        ..History::default()
    }
}

fn stored() -> Stored {
    (1..=8)
        .map(|seq| (("r".to_owned(), seq), seq - 1))
        .collect()
}

fn books() -> Books {
    let mut accounts: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|one| (one, 1000)).collect();
    // Row 1 moves 1 from 0 to 1, row 5 moves 2 from 1 to 2.
    accounts.extend([(0, 999), (1, 999), (2, 1002)]);
    Books {
        accounts,
        lists: BTreeMap::from([(7, vec![item("r", 3), item("r", 7)])]),
    }
}

#[test]
fn books_that_agree_with_the_rows_are_right() {
    assert_eq!(audit(&history(), &stored(), &books()), Vec::<String>::new());
}

#[test]
fn a_transfer_that_was_done_by_half_changes_the_total() {
    let mut torn = books();
    torn.accounts.insert(0, 1000);
    assert_eq!(audit(&history(), &stored(), &torn).len(), 2);
}

#[test]
fn a_transfer_without_its_row_is_seen_though_the_total_is_right() {
    let mut rows = stored();
    rows.remove(&("r".to_owned(), 5));
    assert_eq!(audit(&history(), &rows, &books()).len(), 1);
}

#[test]
fn items_must_be_there_once_and_with_their_row() {
    for items in [vec![3], vec![3, 7, 7], vec![3, 7, 11]] {
        let mut wrong = books();
        let items = items.into_iter().map(|seq| item("r", seq)).collect();
        wrong.lists.insert(7, items);
        assert_eq!(audit(&history(), &stored(), &wrong).len(), 1);
    }
}

#[test]
fn an_item_may_not_overtake_one_that_was_acknowledged_before_it_was_sent() {
    let mut wrong = books();
    wrong.lists.get_mut(&7).unwrap().reverse();
    assert_eq!(
        audit(&history(), &stored(), &wrong),
        ["list 7 holds r 7 before an older item"]
    );
    // Without an answer the order is open.
    let mut open = history();
    open.attempts[2].outcome = Outcome::Unknown;
    assert!(audit(&open, &stored(), &wrong).is_empty());
}

#[test]
fn a_transfer_goes_to_another_account() {
    for seq in 1..2000 {
        if let Work::Transfer { from, to, amount } = Work::of(seq) {
            assert!(from != to && amount > 0 && (0..ACCOUNTS).contains(&to));
        }
    }
}
