//! Tests of the records: a core's side and the book, joined by batches.

use std::sync::{Arc, Mutex};

use super::*;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::random::Random;

/// The batches of a core.
#[derive(Default)]
struct Batches(Mutex<Vec<Vec<u8>>>);

impl RecordSink for Batches {
    fn take(&self, batch: Vec<u8>) {
        self.0.lock().expect("not poisoned").push(batch);
    }
}

/// A core, the shelf that its batches go to, and a clock.
struct Pair {
    core: CoreRecords,
    batches: Arc<Batches>,
    shelf: Shelf,
    now: Now,
}

const PLENTY: BookLimits = BookLimits { bytes: 64 * 1024 * 1024, age_millis: 86_400_000 };

fn hook(number: u64) -> Id {
    format!("{number:024x}").parse().expect("an id")
}

impl Pair {
    fn new(events: u32, limits: BookLimits) -> Pair {
        let batches = Arc::new(Batches::default());
        let core = CoreRecords::new(events, Arc::clone(&batches) as Arc<dyn RecordSink>, Random::new(7));
        let now = Now { nanos: NANOS_PER_SECOND, unix_millis: 1_771_521_960_000 };
        Pair { core, batches, shelf: Shelf::new(limits), now }
    }

    fn pass(&mut self, millis: u64) {
        self.now.nanos += millis * 1_000_000;
        self.now.unix_millis += millis;
    }

    /// A call of a webhook, answered with a status; `refusal` may be empty. Returns whether it was recorded.
    fn call(&mut self, webhook: u64, path: &str, status: u16, refusal: &str) -> bool {
        self.call_with(webhook, path, status, refusal, b"content-type: text/plain\r\n\r\n", b"body")
    }

    fn call_with(
        &mut self,
        webhook: u64,
        path: &str,
        status: u16,
        refusal: &str,
        fields: &[u8],
        body: &[u8],
    ) -> bool {
        let refusal = Some(refusal).filter(|refusal| !refusal.is_empty());
        let mark = refusal.map_or(0, |reason| refusal_mark(status, reason, b"POST", path.as_bytes(), None));
        if !self.core.admit(hook(webhook), None, self.now, mark) {
            return false;
        }
        let open = self.core.call(&new_call(hook(webhook), self.now, path, fields, body));
        let nanos = self.now.nanos + 5_000;
        self.core.answer(&open, &NewAnswer { status, refusal, response: b"HTTP/1.1 200 OK\r\n\r\n", nanos });
        true
    }

    /// Hands over to the shelf.
    fn settle(&mut self, webhooks: &[Id]) {
        self.core.settle(webhooks);
        for batch in std::mem::take(&mut *self.batches.0.lock().expect("not poisoned")) {
            self.shelf.take(&batch, 1);
        }
    }

    fn all(&mut self, webhook: u64) -> Vec<Record> {
        self.settle(&[]);
        self.shelf.page(hook(webhook), &RecordQuery::default(), 0, usize::MAX).records
    }

    fn paths(&mut self, webhook: u64) -> Vec<String> {
        let path =
            |record: &Record| String::from_utf8_lossy(record.call().expect("a call").path).into_owned();
        self.all(webhook).iter().map(path).collect()
    }
}

fn new_call<'a>(webhook: Id, now: Now, path: &'a str, fields: &'a [u8], body: &'a [u8]) -> NewCall<'a> {
    NewCall {
        peer: Some([192, 0, 2, 1].into()),
        fields,
        hidden_field: Some("x-key"),
        body,
        body_bytes: body.len() as u64,
        ..NewCall::new(webhook, now, b"POST", path.as_bytes())
    }
}

#[test]
fn a_record_is_the_call_as_it_was_with_its_answer() {
    let mut pair = Pair::new(100, PLENTY);
    assert!(pair.call(1, "/a?b=1", 200, ""));
    let records = pair.all(1);
    let (call, answer) = (records[0].call().expect("a call"), records[0].answer().expect("an answer"));
    assert_eq!((call.method, call.path, call.body), (&b"POST"[..], &b"/a?b=1"[..], &b"body"[..]));
    assert_eq!(call.peer, Some([192, 0, 2, 1].into()));
    assert_eq!(call.headers().collect::<Vec<_>>(), [(&b"content-type"[..], &b"text/plain"[..])]);
    assert_eq!((answer.status, answer.duration_nanos, answer.refusal), (200, 5_000, &b""[..]));
    assert_eq!(answer.response, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!((records[0].count(), records[0].fates().count()), (1, 0));
}

#[test]
fn credentials_are_masked_in_any_case_and_nothing_else_is() {
    let mut pair = Pair::new(100, PLENTY);
    let fields = b"Host: a\r\nAUTHORIZATION: Bearer s3cret\r\nX-Key:s3cret\r\nCookie: a=s3cret\r\nX-Other:  b \r\n\r\ns3cret: body";
    pair.call_with(1, "/", 200, "", fields, b"");
    let records = pair.all(1);
    let call = records[0].call().expect("a call");
    let expected = b"Host: a\r\nAUTHORIZATION: ***\r\nX-Key: ***\r\nCookie: ***\r\nX-Other:  b \r\n";
    assert_eq!(String::from_utf8_lossy(call.fields), String::from_utf8_lossy(expected));
}

#[test]
fn a_long_body_is_cut_and_its_length_told() {
    let mut pair = Pair::new(100, PLENTY);
    let body = vec![b'x'; BODY_KEPT_BYTES_MAX + 1];
    pair.call_with(1, "/", 200, "", b"\r\n", &body[..BODY_KEPT_BYTES_MAX]);
    pair.call_with(1, "/", 200, "", b"\r\n", &body);
    let records = pair.all(1);
    let kept = |record: &Record| {
        let call = record.call().expect("a call");
        (call.body.len(), call.body_bytes as usize, call.has_whole_body())
    };
    assert_eq!(kept(&records[0]), (BODY_KEPT_BYTES_MAX, body.len(), false));
    assert_eq!(kept(&records[1]), (BODY_KEPT_BYTES_MAX, BODY_KEPT_BYTES_MAX, true));
}

#[test]
fn a_ring_keeps_its_last_records_and_those_of_no_other() {
    let mut pair = Pair::new(3, PLENTY);
    for step in 0..5 {
        pair.call(1, &format!("/{step}"), 200, "");
        pair.pass(1);
    }
    pair.call(2, "/other", 200, "");
    assert_eq!(pair.paths(1), ["/4", "/3", "/2"]);
    assert_eq!(pair.paths(2), ["/other"]);
}

#[test]
fn a_webhook_may_keep_more_fewer_or_none() {
    let mut pair = Pair::new(0, PLENTY);
    assert!(!pair.call(1, "/", 200, ""));
    assert!(pair.core.admit(hook(2), Some(1), pair.now, 0));
    assert!(!pair.core.admit(hook(3), Some(0), pair.now, 0));
    assert!(pair.core.keeps(Some(1)) && !pair.core.keeps(None));
    pair.settle(&[hook(1), hook(3)]);
    let now = pair.now.unix_millis;
    // Who is not recorded is known to have called.
    assert_eq!(
        [1, 3, 4].map(|number| pair.shelf.book().last_call(hook(number))),
        [Some(now), Some(now), None]
    );
}

#[test]
fn a_second_has_a_hundred_records_and_counts_the_others() {
    let mut pair = Pair::new(1_000, PLENTY);
    for step in 0..250 {
        assert_eq!(pair.call(1, "/", 200, ""), step < 100, "{step}");
    }
    assert!(pair.call(2, "/", 200, ""), "another webhook has a second of its own");
    pair.pass(1_000);
    assert!(pair.call(1, "/later", 200, ""));
    pair.settle(&[]);
    let page = pair.shelf.page(hook(1), &RecordQuery::default(), 0, 1);
    assert_eq!((page.total, page.skipped, page.records.len()), (101, 150, 1));
}

#[test]
fn the_last_call_is_exact_whatever_was_recorded() {
    let mut pair = Pair::new(10, PLENTY);
    for _ in 0..1_000 {
        pair.call(1, "/", 429, "Over rate limit, request throttled");
        pair.pass(1);
    }
    let last = pair.now.unix_millis - 1;
    pair.call(2, "/", 200, "");
    pair.settle(&[hook(1)]);
    assert_eq!(pair.shelf.book().last_call(hook(1)), Some(last));
    // Of one that fell out of what a core knows.
    let called = pair.now.unix_millis;
    for number in 10..100_000 {
        pair.call(number, "/", 200, "");
    }
    pair.settle(&[hook(2)]);
    assert_eq!(pair.shelf.book().last_call(hook(2)), Some(called));
}

#[test]
fn equal_refusals_in_succession_are_one_record_with_a_count() {
    let mut pair = Pair::new(100, PLENTY);
    let throttled = "Over rate limit, request throttled";
    for _ in 0..500 {
        pair.call(1, "/a", 429, throttled);
        pair.pass(1);
    }
    let last = pair.now.unix_millis - 1;
    pair.call(1, "/b", 429, throttled);
    pair.call(1, "/b", 401, "Unauthorized");
    pair.call(1, "/b", 200, "");
    pair.call(1, "/b", 200, "");
    let records = pair.all(1);
    let told: Vec<(u32, u16)> =
        records.iter().map(|record| (record.count(), record.answer().expect("an answer").status)).collect();
    assert_eq!(told, [(1, 200), (1, 200), (1, 401), (1, 429), (500, 429)]);
    assert!(records[4].last_millis() >= last && records[4].unix_millis() < last);
}

#[test]
fn equal_refusals_of_two_cores_are_one_record() {
    let mut pair = Pair::new(100, PLENTY);
    let mut other = Pair::new(100, PLENTY);
    other.core = CoreRecords::new(100, Arc::clone(&other.batches) as Arc<dyn RecordSink>, Random::new(8));
    pair.call(1, "/", 429, "no");
    other.call(1, "/", 429, "no");
    other.core.settle(&[]);
    pair.settle(&[]);
    for batch in std::mem::take(&mut *other.batches.0.lock().expect("not poisoned")) {
        pair.shelf.take(&batch, 1);
    }
    assert_eq!(pair.all(1).iter().map(Record::count).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_flood_of_refusals_leaves_every_other_webhooks_records() {
    let mut pair = Pair::new(100, BookLimits { bytes: 2 * 1024 * 1024, age_millis: 86_400_000 });
    for number in 1..=100 {
        pair.call(number, "/kept", 200, "");
    }
    for step in 0..20_000u64 {
        pair.call(1_000, &format!("/{}", step % 7), 429, "Over rate limit, request throttled");
        pair.pass(u64::from(step % 10 == 0));
    }
    assert!((1..=100).all(|number| pair.paths(number) == ["/kept"]));
}

#[test]
fn over_the_bound_goes_what_was_called_and_looked_at_longest_ago() {
    let mut pair = Pair::new(100, BookLimits { bytes: 40_000, age_millis: 86_400_000 });
    let body = vec![b'x'; 1_000];
    for number in [1, 2, 3] {
        for _ in 0..8 {
            pair.call_with(number, "/", 200, "", b"\r\n", &body);
        }
    }
    pair.settle(&[]);
    assert_eq!(pair.all(1).len(), 8);
    // 1 was looked at last; 2 is called and looked at longest ago.
    for _ in 0..12 {
        pair.call_with(4, "/", 200, "", b"\r\n", &body);
    }
    pair.settle(&[]);
    let (_, bytes) = pair.shelf.book().size();
    assert!(bytes <= 40_000, "{bytes}");
    let left = [1, 3, 4].map(|number| pair.all(number).len());
    assert!(left[0] == 8 && left[2] == 12, "{left:?}");
    assert!(pair.all(2).is_empty());
}

#[test]
fn one_webhook_alone_keeps_what_is_within_the_bound() {
    let mut pair = Pair::new(10_000, BookLimits { bytes: 20_000, age_millis: 86_400_000 });
    for step in 0..90 {
        pair.call_with(1, &format!("/{step}"), 200, "", b"\r\n", &[b'x'; 500]);
    }
    let paths = pair.paths(1);
    assert!(paths.len() > 10 && paths[0] == "/89", "{paths:?}");
}

#[test]
fn records_go_with_their_age_and_with_their_webhook() {
    let mut pair = Pair::new(100, BookLimits { bytes: 1 << 20, age_millis: 1_000 });
    pair.call(1, "/old", 200, "");
    pair.pass(900);
    pair.call(1, "/new", 200, "");
    pair.call(2, "/", 200, "");
    pair.settle(&[]);
    pair.shelf.expire(pair.now.unix_millis + 101);
    assert_eq!(pair.paths(1), ["/new"]);
    let mut gone = Vec::new();
    Entry::Gone { webhook: hook(2) }.write(&mut gone);
    pair.shelf.take(&gone, 1);
    assert!(pair.paths(2).is_empty() && pair.shelf.book().last_call(hook(2)).is_none());
    pair.shelf.expire(u64::MAX);
    assert_eq!(pair.shelf.book().size(), (0, 0));
}

#[test]
fn a_list_is_narrowed_by_each_parameter() {
    let mut pair = Pair::new(100, PLENTY);
    pair.call(1, "/Alpha", 200, "");
    pair.pass(10);
    let since = pair.now.unix_millis;
    pair.call_with(1, "/b", 404, "Not found", b"X-Name: needle\r\n\r\n", b"");
    pair.call_with(1, "/c", 503, "Busy", b"\r\n", b"{\"in\": \"the BODY\"}");
    pair.settle(&[]);
    let narrowed = |query: RecordQuery| {
        let page = pair.shelf.page(hook(1), &query, 0, 10);
        assert_eq!(page.total, page.records.len());
        let path =
            |record: &Record| String::from_utf8_lossy(record.call().expect("a call").path).into_owned();
        page.records.iter().map(path).collect::<Vec<_>>()
    };
    let plain = RecordQuery::default;
    let statuses = |text: &str| text.split(',').filter_map(StatusFilter::parse).collect();
    let search = |text: &str| RecordQuery { search: Some(text.to_owned()), ..plain() };
    assert_eq!(narrowed(RecordQuery { statuses: statuses("4xx,200"), ..plain() }), ["/b", "/Alpha"]);
    assert_eq!(narrowed(RecordQuery { methods: vec!["post".into()], ..plain() }).len(), 3);
    assert!(narrowed(RecordQuery { methods: vec!["GET".into()], ..plain() }).is_empty());
    assert!(narrowed(RecordQuery { kinds: vec![Kind::Message], ..plain() }).is_empty());
    assert_eq!(narrowed(RecordQuery { since_unix_millis: Some(since), ..plain() }), ["/c", "/b"]);
    assert_eq!(narrowed(RecordQuery { until_unix_millis: Some(since), ..plain() }), ["/Alpha"]);
    assert_eq!(narrowed(search("alpha")), ["/Alpha"]);
    assert_eq!(narrowed(search("NEEDLE")), ["/b"]);
    assert_eq!(narrowed(search("the body")), ["/c"]);
    assert!(narrowed(RecordQuery { connection: Some(hook(9)), ..plain() }).is_empty());
    let second = pair.shelf.page(hook(1), &plain(), 1, 1);
    assert_eq!((second.total, second.records[0].call().expect("a call").path), (3, &b"/b"[..]));
}

#[test]
fn fates_find_their_record_in_whatever_order_they_come() {
    let mut pair = Pair::new(100, PLENTY);
    assert!(pair.core.admit(hook(1), None, pair.now, 0));
    let open = pair.core.call(&new_call(hook(1), pair.now, "/", b"\r\n", b""));
    let (flow, of) = (hook(50), open.name());
    assert_eq!(record_of(event_id_of(open.id)), Some(open.id));
    assert_eq!(record_of(7), None);
    // The owner of the flow is another core, whose batch arrives first.
    let batches = Arc::new(Batches::default());
    let mut owner = CoreRecords::new(100, Arc::clone(&batches) as Arc<dyn RecordSink>, Random::new(9));
    owner.fate(
        of,
        &NewFate { attempts: 2, status: 200, ..NewFate::new(FateKind::Delivered, flow, "f") },
        pair.now,
    );
    owner.hand_over();
    for batch in std::mem::take(&mut *batches.0.lock().expect("not poisoned")) {
        pair.shelf.take(&batch, 1);
    }
    pair.core.fate(of, &NewFate::new(FateKind::Ran, flow, ""), pair.now);
    pair.core.fate(of, &NewFate::new(FateKind::Waiting, flow, "f"), pair.now);
    pair.core.fate(of, &NewFate::new(FateKind::Waiting, flow, "g"), pair.now);
    let records = pair.all(1);
    assert!(records[0].answer().is_none(), "it waits");
    let mut fates: Vec<(String, &str, u32)> = records[0]
        .fates()
        .map(|fate| (String::from_utf8_lossy(fate.node).into_owned(), fate.kind.name(), fate.attempts))
        .collect();
    fates.sort();
    let expected = [("", "ran", 0), ("f", "delivered", 2), ("g", "waiting", 0)];
    assert_eq!(fates, expected.map(|(node, kind, attempts)| (node.to_owned(), kind, attempts)));
    // A later answer takes the place of an earlier one.
    for (status, refusal) in [(200, None), (503, Some("The journal cannot be written"))] {
        let answer = NewAnswer { status, refusal, response: b"", nanos: pair.now.nanos };
        pair.core.answer(&open, &answer);
    }
    assert_eq!(pair.all(1)[0].answer().expect("an answer").status, 503);
}

#[test]
fn a_record_written_again_is_the_same_in_another_book() {
    let mut pair = Pair::new(100, PLENTY);
    for _ in 0..7 {
        pair.call(1, "/a", 401, "Unauthorized");
        pair.pass(1);
    }
    pair.call(1, "/b", 200, "");
    pair.settle(&[]);
    let copy = Shelf::new(PLENTY);
    let mut moved = Vec::new();
    let (records, _) = pair.shelf.book().look(hook(1));
    for record in records.iter().rev() {
        pair.shelf.book().move_to(hook(1), record.id(), 2, &mut moved);
    }
    copy.take(&moved, 2);
    let told = |shelf: &Shelf| {
        let page = shelf.page(hook(1), &RecordQuery::default(), 0, 10);
        page.records
            .iter()
            .map(|record| (record.id(), record.count(), record.last_millis()))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&copy), told(&pair.shelf));
    let newest = told(&copy)[0].0;
    assert_eq!(copy.book().segment_of(hook(1), newest), Some(2));
}

#[test]
fn entries_that_are_damaged_make_no_record() {
    let mut pair = Pair::new(100, PLENTY);
    pair.call(1, "/a", 200, "");
    pair.core.hand_over();
    let batch = pair.batches.0.lock().expect("not poisoned").remove(0);
    for cut in 0..batch.len() {
        assert!(read_entries(&batch[..cut]).count() < 2);
    }
    for at in 0..batch.len() {
        let mut damaged = batch.clone();
        damaged[at] ^= 0xff;
        let shelf = Shelf::new(PLENTY);
        shelf.take(&damaged, 1);
        for record in shelf.page(hook(1), &RecordQuery::default(), 0, 10).records {
            let _ = (record.call(), record.answer());
        }
    }
}

#[test]
fn a_call_has_its_requests_id_among_its_fields_and_one_of_an_earlier_version_has_none() {
    let mut call = RecordedCall {
        events: 1,
        body_bytes: 1,
        fields: b"a: 1\r\nX-Request-ID: its own\r\nb: 2\r\n",
        body: b"x",
        request_id: b"an-id",
        ..RecordedCall::request(hook(1), hook(2), 1, b"POST", b"/")
    };
    let names = |call: &RecordedCall<'_>| -> Vec<Vec<u8>> {
        call.shown_headers().map(|(name, value)| [name, b"=", value].concat()).collect()
    };
    assert_eq!(names(&call), [&b"a=1"[..], b"b=2", b"x-request-id=an-id"]);
    let mut bytes = Vec::new();
    Entry::Call(call).write(&mut bytes);
    assert_eq!(read_entries(&bytes).next().expect("one").0, Entry::Call(call));
    // As segments of an earlier version have it: nothing behind the body.
    bytes.truncate(bytes.len() - call.request_id.len() - 4);
    let length = u32::try_from(bytes.len() - 4).expect("short");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    call.request_id = b"";
    assert_eq!(read_entries(&bytes).next().expect("one").0, Entry::Call(call));
    assert_eq!(names(&call), [&b"a=1"[..], b"X-Request-ID=its own", b"b=2"]);
}
