//! A million records of a hundred thousand webhooks: what a list, a search and a batch cost (lists and searches
//! within 100 ms). `cargo bench --bench records` prints the longest of many.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tidegate::base::clock::Now;
use tidegate::base::id::Id;
use tidegate::base::random::Random;
use tidegate::record::{BookLimits, CoreRecords, NewAnswer, NewCall, RecordQuery, RecordSink, Shelf};

const WEBHOOKS: u64 = 100_000;
const RECORDS: u64 = 1_000_000;
const LISTS: u64 = 1_000;
const FIELDS: &[u8] =
    b"Host: hooks.example.org\r\nContent-Type: application/json\r\nUser-Agent: a-sender/1.0\r\n\
    X-Signature: 0123456789abcdef0123456789abcdef\r\n\r\n";
const BODY: &[u8] =
    b"{\"event\":\"reading\",\"device\":\"a-device\",\"values\":[1.0,2.0,3.0],\"unit\":\"celsius\"}";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"success\":true}";

#[derive(Default)]
struct Batches(Mutex<Vec<Vec<u8>>>);

impl RecordSink for Batches {
    fn take(&self, batch: Vec<u8>) {
        self.0.lock().expect("not poisoned").push(batch);
    }
}

fn webhook(number: u64) -> Id {
    format!("{number:024x}").parse().expect("an id")
}

fn main() {
    // There are no tests here, says this to who lists them.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let shelf = Shelf::new(BookLimits { bytes: usize::MAX, age_millis: u64::MAX });
    let batches = Arc::new(Batches::default());
    let mut core = CoreRecords::new(100, Arc::clone(&batches) as Arc<dyn RecordSink>, Random::new(1));
    let (mut on_core, mut on_shelf) = (0, 0);
    for number in 0..RECORDS {
        // 12,500 calls a second: below what a core records.
        let now =
            Now { nanos: 1_000_000_000 + number * 80_000, unix_millis: 1_771_521_960_000 + number * 2 / 25 };
        let begun = Instant::now();
        let id = webhook(number * 7_919 % WEBHOOKS);
        if core.admit(id, None, now, 0) {
            let open = core.call(&NewCall {
                peer: Some([192, 0, 2, 1].into()),
                query: Some(b"floor=1"),
                fields: FIELDS,
                body: BODY,
                body_bytes: BODY.len() as u64,
                ..NewCall::new(id, now, b"POST", b"/readings")
            });
            let answer = NewAnswer { status: 200, refusal: None, response: RESPONSE, nanos: now.nanos };
            core.answer(&open, &answer);
        }
        if core.is_full() || number + 1 == RECORDS {
            core.hand_over();
        }
        on_core += begun.elapsed().as_nanos();
        for batch in std::mem::take(&mut *batches.0.lock().expect("not poisoned")) {
            let begun = Instant::now();
            shelf.take(&batch, 1);
            on_shelf += begun.elapsed().as_nanos();
        }
    }
    let (records, bytes) = shelf.book().size();
    println!("{records} records of {WEBHOOKS} webhooks in {} MiB", bytes >> 20);
    let each = |nanos: u128| nanos / u128::from(RECORDS);
    println!("a record: {} ns of a core, {} ns of the thread that keeps it", each(on_core), each(on_shelf));
    let longest = |query: &RecordQuery| {
        let list = |number: u64| {
            let begun = Instant::now();
            let page = shelf.page(webhook(number * 104_729 % WEBHOOKS), query, 0, 100);
            assert!(page.records.len() == page.total);
            begun.elapsed()
        };
        (0..LISTS).map(list).max().unwrap_or_default()
    };
    let search = RecordQuery { search: Some("no such text".to_owned()), ..RecordQuery::default() };
    println!("the longest list: {:?}", longest(&RecordQuery::default()));
    println!("the longest search: {:?}", longest(&search));
    // What a reader waits for meanwhile is the longest of the pieces.
    let begun = Instant::now();
    shelf.expire(1_771_521_960_000);
    println!("looking for old records: {:?}", begun.elapsed());
    // One webhook with as many as it can have, each as long as it can be.
    let long = vec![b'x'; 64 * 1024];
    let busy = webhook(WEBHOOKS + 1);
    for number in 0..2_000u64 {
        let now = Now { nanos: 1 << 50 | (number * 2_000_000_000), unix_millis: 1_771_521_960_000 + number };
        let call = NewCall {
            events: Some(10_000),
            fields: FIELDS,
            body: &long,
            body_bytes: long.len() as u64,
            ..NewCall::new(busy, now, b"POST", b"/")
        };
        let open = core.call(&call);
        core.answer(&open, &NewAnswer { status: 200, refusal: None, response: RESPONSE, nanos: now.nanos });
        core.hand_over();
        for batch in std::mem::take(&mut *batches.0.lock().expect("not poisoned")) {
            shelf.take(&batch, 1);
        }
    }
    for text in ["no such text", "X-Signature: 0", "xxxxxxxxxxxxy"] {
        let search = RecordQuery { search: Some(text.to_owned()), ..RecordQuery::default() };
        let begun = Instant::now();
        let found = shelf.page(busy, &search, 0, 100).total;
        println!("a search for {text:?} in 2,000 bodies of 64 KiB: {found} found in {:?}", begun.elapsed());
    }
}
