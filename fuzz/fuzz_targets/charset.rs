//! Bodies in a declared charset: text as it is decoded byte by byte, JSON as serde_json reads what was decoded, forms as
//! their escapes say, UTF-16 as the standard library reads it.
//!
//! The first byte chooses the label, the second whether the rest is text, JSON or what a form has.

#![no_main]

#[path = "../common/headers.rs"]
mod headers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| headers::charset(data));
