//! A million dead letters of one flow: what keeping them, a page, a search, a replay's look and dropping them cost (pages
//! and looks within 100 ms). `cargo bench --bench letters` prints the longest of many; `TIDEGATE_LETTERS` says how many
//! letters.

use std::time::{Duration, Instant};

use tidegate::base::id::Id;
use tidegate::store::letters::{
    Letter, LetterLimits, LetterQuery, LetterSpan, Letters, SKIPPED_MAX, WholeLetter,
};

const LETTERS: u64 = 1_000_000;
/// Letters of one transaction, as the thread that keeps them writes.
const PER_COMMIT: u64 = 1_024;
const PER_PAGE: usize = 100;
const LISTS: u64 = 100;
/// Moment at which the first letter died; the others follow, one a millisecond.
const FIRST_UNIX_MILLIS: u64 = 1_771_521_960_000;

fn letter(number: u64) -> WholeLetter {
    let died_unix_millis = FIRST_UNIX_MILLIS + number;
    let letter = Letter {
        id: format!("msg_{number:032}"),
        webhook: "5f3e3ad2c4d0e9a1b2c3d4e5".to_owned(),
        node: if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        reason: "attempts".to_owned(),
        attempts: 3,
        accepted_unix_millis: died_unix_millis - 60_000,
        died_unix_millis,
        status: Some(500),
        error: Some("the target answered 500".to_owned()),
        answer: Some("no".to_owned()),
    };
    let payload = format!("{{\"data\":{{\"body\":{{\"device\":{number},\"values\":[1.0,2.0,3.0]}}}}}}");
    WholeLetter { letter, payload: payload.into_bytes(), event: vec![7; 300] }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let value = work();
    (value, begun.elapsed())
}

fn main() {
    // There are no tests here, says this to who lists them.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let count = std::env::var("TIDEGATE_LETTERS").map_or(LETTERS, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let letters = Letters::open(folder.path(), LetterLimits::default()).expect("opens");
    let flow: Id = "5f3e3ad2c4d0e9a1b2c3d4e6".parse().expect("an id");
    let ((), kept) = timed(|| {
        for start in (0..count).step_by(PER_COMMIT as usize) {
            let some: Vec<WholeLetter> = (start..count.min(start + PER_COMMIT)).map(letter).collect();
            letters.keep(some.iter().map(|letter| (flow, letter)), FIRST_UNIX_MILLIS + start).expect("kept");
        }
    });
    let counts = letters.counts().expect("read");
    println!("{} letters of {} MiB kept in {kept:?}", counts.letters, counts.bytes >> 20);
    drop(letters);
    let (letters, opened) =
        timed(|| Letters::open(folder.path(), LetterLimits::default()).expect("opens again"));
    println!("opened again in {opened:?}");
    let list = |query: &LetterQuery, before: Option<u64>, skip: u64| {
        let span = LetterSpan { before, skip, take: PER_PAGE };
        timed(|| letters.list(&flow, query, span).expect("read"))
    };
    let all = LetterQuery::default();
    // Pages all over the list.
    let longest = |skip: u64| {
        let page = |number: u64| {
            let place = (FIRST_UNIX_MILLIS + (number + 1) * count / LISTS) << 10;
            list(&all, Some(place), skip).1
        };
        (0..LISTS).map(page).max().unwrap_or_default()
    };
    println!("a page, the longest of {LISTS}: {:?}", longest(0));
    let skipped = SKIPPED_MAX.min(count);
    println!("a page behind {skipped} letters: {:?}", longest(skipped));
    for (what, query) in [
        (
            "a text that is nowhere",
            LetterQuery { search: Some("nowhere".to_owned()), ..LetterQuery::default() },
        ),
        (
            "the oldest letter's payload",
            LetterQuery { search: Some("\"device\":0,".to_owned()), ..LetterQuery::default() },
        ),
        ("a node", LetterQuery { node: Some("other".to_owned()), ..LetterQuery::default() }),
    ] {
        let (mut before, mut looks, mut found) = (None, 0, 0);
        let (mut longest, mut whole) = (Duration::ZERO, Duration::ZERO);
        loop {
            let (page, took) = list(&query, before, 0);
            (before, looks, found) = (page.next, looks + 1, found + page.letters.len());
            (longest, whole) = (longest.max(took), whole + took);
            if before.is_none() {
                break;
            }
        }
        println!(
            "a search for {what}: {found} found in {looks} requests, the longest {longest:?}, all {whole:?}"
        );
    }
    let of_node = LetterQuery { node: Some("odd".to_owned()), ..LetterQuery::default() };
    let last = letters.last_place().expect("read");
    let looks = (0..LISTS).map(|number| {
        let after = (FIRST_UNIX_MILLIS + number * count / LISTS) << 10;
        timed(|| letters.fitting(&flow, &of_node, (Some(after), last), PER_PAGE).expect("read")).1
    });
    println!("a replay's look, the longest of {LISTS}: {:?}", looks.max().unwrap_or_default());
    let (dropped, took) = timed(|| letters.remove_all(&flow).expect("removed"));
    println!("{dropped} dropped in {took:?}");
}
