//! `Content-Disposition` of a part of a form: any value leaves a form with one part or the body as a string, and one that
//! was built names what it was built of, in quotes, as a token, in UTF-8 and in ISO-8859-1.
//!
//! The first byte chooses between the two; what one is built of are parameters that end with a NUL.

#![no_main]

#[path = "../common/headers.rs"]
mod headers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| headers::disposition(data));
