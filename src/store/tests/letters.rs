//! Dead letters as they are kept, found and removed.

use crate::base::id::Id;
use crate::store::letters::{
    Letter, LetterLimits, LetterQuery, LetterSpan, Letters, LookLimits, WholeLetter,
};

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

fn ids(letters: &Letters, flow: Id, query: &LetterQuery, skip: u64, take: usize) -> (Vec<String>, u64) {
    let page = letters.list(&flow, query, LetterSpan { before: None, skip, take }).expect("read");
    (page.letters.into_iter().map(|listed| listed.letter.id).collect(), page.total)
}

#[test]
fn letters_are_listed_newest_first_found_and_removed_by_flow() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    keep(&letters, flow(1), 0..5);
    keep(&letters, flow(2), 5..7);
    let all = LetterQuery::default();
    assert_eq!(ids(&letters, flow(1), &all, 0, 2), (vec!["msg_4".to_owned(), "msg_3".to_owned()], 5));
    assert_eq!(ids(&letters, flow(1), &all, 4, 2), (vec!["msg_0".to_owned()], 5));
    assert_eq!(ids(&letters, flow(3), &all, 0, 2), (vec![], 0));
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
    let all = LetterQuery::default();
    assert_eq!(ids(&letters, flow(1), &all, 0, 9), (vec!["msg_1".to_owned(), "msg_2".to_owned()], 2));
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes_and_when_they_are_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = LetterLimits { bytes: 5_000, age_millis: 1_000, ..LetterLimits::default() };
    let letters = Letters::open(folder.path(), limits).expect("opens");
    keep(&letters, flow(1), 0..3);
    assert_eq!(letters.counts().expect("read").letters, 3);
    keep(&letters, flow(2), 3..40);
    let counts = letters.counts().expect("read");
    assert!(counts.bytes <= 5_000 && counts.letters > 5, "{counts:?}");
    assert_eq!((counts.evicted + counts.letters, counts.expired), (40, 0));
    assert_eq!(ids(&letters, flow(1), &LetterQuery::default(), 0, 99).1, 0, "those of any flow");
    let last = [(flow(3), letter(40))];
    let removed = letters.keep(last.iter().map(|(flow, letter)| (*flow, letter)), 1_000_000 + 1_000 + 39);
    let removed = removed.expect("kept");
    assert_eq!(removed.evicted + removed.expired, counts.letters);
    assert!(removed.expired > 0);
    assert_eq!(letters.counts().expect("read").letters, 1);
}

#[test]
fn letters_are_narrowed_by_what_is_told_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    keep(&letters, flow(1), 0..100);
    let search = |text: &str| LetterQuery { search: Some(text.to_owned()), ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &search("n47n"), 0, 10), (vec!["msg_47".to_owned()], 1));
    assert_eq!(ids(&letters, flow(1), &search("nowhere"), 0, 10), (vec![], 0));
    let narrow = LetterQuery {
        node: Some("odd".to_owned()),
        since_unix_millis: Some(1_000_000 + 10),
        until_unix_millis: Some(1_000_000 + 20),
        ..LetterQuery::default()
    };
    assert_eq!(ids(&letters, flow(1), &narrow, 1, 2), (vec!["msg_17".to_owned(), "msg_15".to_owned()], 5));
    let none = LetterQuery { reason: Some("gone".to_owned()), ..LetterQuery::default() };
    assert_eq!(ids(&letters, flow(1), &none, 0, 2), (vec![], 0));
}

/// The letters of a list from its begin to its end, as far as `take` and one look reach at a time; and how many requests
/// that takes.
fn all_of(letters: &Letters, query: &LetterQuery, take: usize) -> (Vec<String>, usize) {
    let (mut all, mut before) = (Vec::new(), None);
    for request in 1.. {
        let page = letters.list(&flow(1), query, LetterSpan { before, skip: 0, take }).expect("read");
        assert!(page.letters.len() <= take);
        all.extend(page.letters.into_iter().map(|listed| listed.letter.id));
        assert!(page.next.is_none_or(|next| before.is_none_or(|before| next < before)), "it ends");
        before = page.next;
        if before.is_none() {
            return (all, request);
        }
    }
    unreachable!("it ends")
}

#[test]
fn one_look_reads_so_many_letters_and_the_next_continues_where_it_ended() {
    const LOOK: u64 = 200;
    let count = 2 * LOOK + 10;
    let folder = tempfile::tempdir().expect("a folder");
    let look = LookLimits { letters: LOOK, ..LookLimits::default() };
    let letters =
        Letters::open(folder.path(), LetterLimits { look, ..LetterLimits::default() }).expect("opens");
    keep(&letters, flow(1), 0..count);
    let search = |text: &str| LetterQuery { search: Some(text.to_owned()), ..LetterQuery::default() };
    // One of the oldest ten: the third look reaches it.
    assert_eq!(all_of(&letters, &search("n7n"), 5), (vec!["msg_7".to_owned()], 3));
    assert_eq!(all_of(&letters, &search("nowhere"), 5), (vec![], 3));
    let first = letters.list(&flow(1), &search("nowhere"), LetterSpan { before: None, skip: 0, take: 5 });
    assert!(first.expect("read").next.is_some());
    // Those that fit and are not on a page are on the next one.
    let odd = |number: &u64| number % 2 == 1;
    let expected: Vec<String> = (0..count).filter(odd).rev().map(|number| format!("msg_{number}")).collect();
    let of_node = LetterQuery { node: Some("odd".to_owned()), ..LetterQuery::default() };
    assert_eq!(all_of(&letters, &of_node, 99).0, expected);
    assert_eq!(all_of(&letters, &LetterQuery::default(), 99), {
        ((0..count).rev().map(|number| format!("msg_{number}")).collect(), 5)
    });
    // Counting and replays look as far.
    let (mut counted, mut before, mut looks) = (0, None, 0);
    while looks == 0 || before.is_some() {
        let (some, next) = letters.count(&flow(1), &of_node, before).expect("read");
        assert!(some <= LOOK / 2 + 1);
        (counted, before, looks) = (counted + some, next, looks + 1);
    }
    assert_eq!((counted, looks), (count / 2, 3));
    let last = letters.last_place().expect("read");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let fitting = letters.fitting(&flow(1), &of_node, (after, last), 60).expect("read");
        assert!(fitting.ids.len() <= 60);
        found.extend(fitting.ids.into_iter().map(|(_, id)| id));
        after = fitting.next;
        if after.is_none() {
            break;
        }
    }
    found.reverse();
    assert_eq!(found, expected);
    assert_eq!(letters.remove_all(&flow(1)).expect("removed"), count);
    assert_eq!(letters.counts().expect("read").bytes, 0);
}

#[test]
fn one_look_reads_so_many_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let look = LookLimits { bytes: 4_000, ..LookLimits::default() };
    let letters =
        Letters::open(folder.path(), LetterLimits { look, ..LetterLimits::default() }).expect("opens");
    let large = |number: u64| WholeLetter { payload: vec![b'x'; 1_000], ..letter(number) };
    for number in 0..6 {
        letters.keep([(flow(1), &large(number))], 1_000_000).expect("kept");
    }
    for query in
        [LetterQuery { search: Some("xx".to_owned()), ..LetterQuery::default() }, LetterQuery::default()]
    {
        let page =
            letters.list(&flow(1), &query, LetterSpan { before: None, skip: 0, take: 99 }).expect("read");
        assert_eq!(page.letters.len(), 4, "{query:?}");
        assert_eq!(page.next, Some(page.letters[3].place));
        assert_eq!(all_of(&letters, &query, 99).0.len(), 6);
    }
}

#[test]
fn places_begin_with_the_time_and_no_letter_gets_one_below_that_of_an_earlier() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    let place = |number: u64, now: u64| {
        letters.keep([(flow(1), &letter(number))], now).expect("kept");
        let id = format!("msg_{number}");
        letters.find(&flow(1), &id).expect("read").expect("is there").0
    };
    let first = place(1, 2_000_000);
    assert_eq!(first >> 10, 2_000_000);
    assert_eq!(place(2, 1_900_000), first + 1, "although the clock has been set back");
    let later = place(3, 2_000_100);
    assert_eq!(later >> 10, 2_000_100);
    assert!(place(1, 2_000_050) > later, "one that is given up again is the newest");
}
