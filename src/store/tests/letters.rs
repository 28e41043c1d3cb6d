//! Dead letters as they are kept, found and removed.

use crate::base::id::Id;
use crate::store::letters::{Letter, LetterLimits, LetterQuery, Letters, WholeLetter};

fn flow(number: u8) -> Id {
    Id::from_raw([number; 12])
}

fn letter(number: u64) -> WholeLetter {
    let letter = Letter {
        id: format!("msg_{number}"),
        webhook: "0123456789abcdef01234567".to_owned(),
        node: if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        reason: "attempts".to_owned(),
        attempts: 3,
        accepted_unix_millis: number,
        died_unix_millis: 1_000_000 + number,
        status: Some(500),
        error: Some("the target answered 500".to_owned()),
        answer: Some("no".to_owned()),
    };
    WholeLetter { letter, payload: format!("{{\"number\":\"n{number}n\"}}").into_bytes(), event: vec![7; 40] }
}

fn keep(letters: &Letters, flow: Id, numbers: impl IntoIterator<Item = u64>) {
    let all: Vec<(Id, WholeLetter)> = numbers.into_iter().map(|number| (flow, letter(number))).collect();
    letters.keep(all.iter().map(|(flow, letter)| (*flow, letter)), 1_000_000).expect("kept");
}

fn ids(letters: &Letters, flow: Id, query: &LetterQuery) -> (Vec<String>, u64) {
    let page = letters.list(&flow, query).expect("read");
    (page.letters.into_iter().map(|(letter, _)| letter.id).collect(), page.total)
}

#[test]
fn letters_are_listed_newest_first_found_and_removed_by_flow() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    keep(&letters, flow(1), 0..5);
    keep(&letters, flow(2), 5..7);
    let page = |skip, take| LetterQuery { skip, take, ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &page(0, 2)), (vec!["msg_4".to_owned(), "msg_3".to_owned()], 5));
    assert_eq!(ids(&letters, flow(1), &page(4, 2)), (vec!["msg_0".to_owned()], 5));
    assert_eq!(ids(&letters, flow(3), &page(0, 2)), (vec![], 0));
    let (place, found) = letters.find(&flow(1), "msg_3").expect("read").expect("is there");
    assert_eq!(found, letter(3));
    assert!(!letters.remove_at(&flow(1), "msg_3", place + 1).expect("another"), "it was kept again");
    assert_eq!(letters.find(&flow(2), "msg_3").expect("read"), None);
    assert!(letters.remove(&flow(1), "msg_3").expect("removed"));
    assert!(!letters.remove(&flow(1), "msg_3").expect("is gone"));
    drop(letters);
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens again");
    assert_eq!(letters.remove_all(&flow(1)).expect("removed"), 4);
    assert_eq!(letters.counts().expect("read").letters, 2);
    assert_eq!(letters.remove_all(&flow(2)).expect("removed"), 2);
    let counts = letters.counts().expect("read");
    assert_eq!((counts.letters, counts.bytes), (0, 0), "nothing is left over");
}

#[test]
fn a_letter_that_is_kept_twice_is_there_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    keep(&letters, flow(1), [1, 2, 1]);
    let all = LetterQuery { take: 9, ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &all), (vec!["msg_1".to_owned(), "msg_2".to_owned()], 2));
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes_and_when_they_are_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = LetterLimits { bytes: 5_000, age_millis: 1_000 };
    let letters = Letters::open(folder.path(), limits).expect("opens");
    keep(&letters, flow(1), 0..3);
    assert_eq!(letters.counts().expect("read").letters, 3);
    keep(&letters, flow(2), 3..40);
    let counts = letters.counts().expect("read");
    assert!(counts.bytes <= 5_000 && counts.letters > 5, "{counts:?}");
    assert_eq!((counts.evicted + counts.letters, counts.expired), (40, 0));
    let all = LetterQuery { take: 99, ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &all).1, 0, "those of any flow");
    let last = [(flow(3), letter(40))];
    let removed = letters.keep(last.iter().map(|(flow, letter)| (*flow, letter)), 1_000_000 + 1_000 + 39);
    let removed = removed.expect("kept");
    assert_eq!(removed.evicted + removed.expired, counts.letters);
    assert!(removed.expired > 0);
    assert_eq!(letters.counts().expect("read").letters, 1);
}

#[test]
fn many_letters_are_paged_searched_and_removed() {
    // Unoptimised, a tenth of them take as long.
    const COUNT: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    for start in (0..COUNT).step_by(5_000) {
        keep(&letters, flow(1), start..start + 5_000);
    }
    let deep = LetterQuery { skip: COUNT - 2, take: 10, ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &deep), (vec!["msg_1".to_owned(), "msg_0".to_owned()], COUNT));
    let search = LetterQuery { search: Some("n4711n".to_owned()), take: 10, ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &search), (vec!["msg_4711".to_owned()], 1));
    let narrow = LetterQuery {
        node: Some("odd".to_owned()),
        since_unix_millis: Some(1_000_000 + 10),
        until_unix_millis: Some(1_000_000 + 20),
        skip: 1,
        take: 2,
        ..LetterQuery::default()
    };
    assert_eq!(ids(&letters, flow(1), &narrow), (vec!["msg_17".to_owned(), "msg_15".to_owned()], 5));
    let none = LetterQuery { reason: Some("gone".to_owned()), take: 2, ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &none), (vec![], 0));
    let oldest = letters.ids(&flow(1), Some(2), 2).expect("read");
    assert_eq!(oldest, [(3, "msg_3".to_owned()), (4, "msg_4".to_owned())]);
    assert_eq!(letters.remove_all(&flow(1)).expect("removed"), COUNT);
    assert_eq!(letters.counts().expect("read").bytes, 0);
}
