//! Tests of the thread that keeps records, over a folder of its own.

use std::fs;
use std::path::Path;

use super::*;
use crate::record::{BookLimits, Record, RecordQuery, RecordedCall};

const PLENTY: BookLimits = BookLimits { bytes: 256 * 1024 * 1024, age_millis: u64::MAX };
/// A moment of which no record is too old.
const MILLIS: u64 = 1_771_521_960_000;

fn id(number: u64) -> Id {
    format!("{number:024x}").parse().expect("an id")
}

/// The entry of a call.
fn call(webhook: u64, number: u64, body: &[u8]) -> Vec<u8> {
    let call = RecordedCall {
        events: 8,
        body_bytes: body.len() as u64,
        body,
        ..RecordedCall::request(id(number), id(webhook), MILLIS + number, b"POST", b"/")
    };
    let mut entry = Vec::new();
    Entry::Call(call).write(&mut entry);
    entry
}

fn start(folder: &Path, bytes: u64) -> (KeptRecords, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::new(PLENTY));
    let kept = KeptRecords::start(Arc::clone(&shelf), Some(folder), bytes, Clock::new()).expect("a thread");
    (kept, shelf)
}

fn settle(kept: &KeptRecords) {
    let (tell, told) = std::sync::mpsc::channel();
    kept.settle(Box::new(move || tell.send(()).expect("somebody waits")));
    told.recv().expect("the thread lives");
}

fn numbers(shelf: &Shelf, webhook: u64) -> Vec<Id> {
    let page = shelf.page(id(webhook), &RecordQuery::default(), 0, usize::MAX);
    page.records.iter().map(Record::id).collect()
}

#[test]
fn records_are_read_back_and_a_torn_end_costs_the_last_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (kept, _) = start(folder.path(), 1 << 20);
    for number in 1..=3 {
        kept.take(call(1, number, b"body"));
    }
    kept.end();
    let (kept, shelf) = start(folder.path(), 1 << 20);
    settle(&kept);
    assert_eq!(numbers(&shelf, 1), [3, 2, 1].map(id));
    assert_eq!(shelf.book().last_call(id(1)), Some(MILLIS + 3));
    kept.take(call(1, 4, b"body"));
    kept.forget(id(2));
    kept.end();
    let mut files: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "nothing is appended to what an earlier run wrote");
    let torn = fs::read(&files[0]).expect("a segment");
    fs::write(&files[0], &torn[..torn.len() - 1]).expect("written");
    let (kept, shelf) = start(folder.path(), 1 << 20);
    settle(&kept);
    assert_eq!(numbers(&shelf, 1), [4, 2, 1].map(id));
    kept.forget(id(1));
    kept.end();
    let (kept, shelf) = start(folder.path(), 1 << 20);
    settle(&kept);
    assert!(numbers(&shelf, 1).is_empty() && shelf.book().last_call(id(1)).is_none());
    kept.end();
}

#[test]
fn a_quiet_webhook_keeps_its_records_however_much_others_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let (kept, shelf) = start(folder.path(), 1 << 20);
    kept.take(call(1, 1, b"kept"));
    // The last call of a webhook whose records are gone.
    let mut last = Vec::new();
    Entry::LastCall { webhook: id(3), unix_millis: 7 }.write(&mut last);
    kept.take(last);
    let body = vec![b'x'; 512 * 1024];
    for number in 2..=150 {
        kept.take(call(2, number, &body));
        settle(&kept);
    }
    let segments = fs::read_dir(folder.path()).expect("a folder").count();
    assert!(segments < 8, "75 MiB were written: {segments} segments are left");
    assert!(!folder.path().join("0000000001.records").exists(), "the first was moved forward");
    assert_eq!(numbers(&shelf, 1), [id(1)]);
    kept.end();
    let (kept, shelf) = start(folder.path(), 1 << 20);
    settle(&kept);
    assert_eq!(numbers(&shelf, 1), [id(1)]);
    assert_eq!(shelf.book().last_call(id(3)), Some(7));
    kept.end();
}

#[test]
fn without_a_disk_records_are_kept_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("no-folder");
    fs::write(&file, b"").expect("written");
    let (kept, shelf) = start(&file, 1 << 20);
    kept.take(call(1, 1, b""));
    settle(&kept);
    assert_eq!(numbers(&shelf, 1), [id(1)]);
    kept.end();
    // After its end, whoever waits is told at once.
    settle(&kept);
}
