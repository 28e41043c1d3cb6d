//! `application/x-www-form-urlencoded` bodies: the object that a plain reading makes of them.

#![no_main]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/pairs.rs"]
mod pairs;

use common::{NOW, body_of, post};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::trigger::http_event;

const FIELDS: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"Application/X-WWW-Form-Urlencoded; charset=utf-8")];

fuzz_target!(|data: &[u8]| {
    let event = http_event(&mut Vec::new(), NOW, &post(&FIELDS, data)).expect("there is no coding");
    let body: Value = serde_json::from_str(body_of(&event)).expect("valid JSON");
    if data.is_empty() {
        assert!(body.is_null());
    } else {
        let decoded = pairs::pairs(data).map(|(key, value)| (pairs::lossy(key), pairs::lossy(value)));
        assert_eq!(body.to_string(), pairs::object(decoded).to_string());
    }
});
