//! Queries: the object that a plain reading of the URL standard makes of them.

#![no_main]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/pairs.rs"]
mod pairs;

use common::{NOW, post};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::trigger::http_event;

fuzz_target!(|data: &[u8]| {
    let event = http_event(
        &mut Vec::new(),
        NOW,
        &tidegate::trigger::HttpData { query: Some(data), ..post(&[], b"") },
    )
    .expect("there is no coding");
    let shown: Value = serde_json::from_slice(event.data().bytes()).expect("valid JSON");
    let pairs = pairs::pairs(data).map(|(key, value)| (pairs::lossy(key), pairs::lossy(value)));
    let expected = pairs::object(pairs);
    assert_eq!(shown["query"], expected);
    // In order too, which equality passes over.
    assert_eq!(shown["query"].to_string(), expected.to_string());
    let bytes_max = 6 * data.len() + 1024;
    assert!(event.bytes().len() <= bytes_max, "{} of {}", event.bytes().len(), data.len());
});
