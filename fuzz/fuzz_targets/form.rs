//! `application/x-www-form-urlencoded` bodies: the object that a plain reading makes of them, or the text.

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
    let decoded: Option<Vec<(String, String)>> =
        pairs::pairs(data).map(|(key, value)| Some((pairs::strict(key)?, pairs::strict(value)?))).collect();
    match (std::str::from_utf8(data), decoded) {
        (Ok(""), _) => assert!(body.is_null()),
        (Ok(_), Some(pairs)) => {
            let expected = pairs::object(pairs.into_iter());
            assert_eq!(body.to_string(), expected.to_string());
        }
        (Ok(text), None) => assert_eq!(body, Value::from(text)),
        (Err(_), _) => assert_eq!(body, Value::from(data)),
    }
});
