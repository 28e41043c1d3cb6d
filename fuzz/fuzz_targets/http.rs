//! Bytes of HTTP: the same events whole, byte by byte and at chosen cuts, taken and dropped; and nothing is read out
//! of a connection that was refused.
//!
//! The first byte chooses how bodies are treated, whether the rest are the bytes or choices of requests, and how many
//! of them are places of cuts.

#![no_main]

#[allow(dead_code, reason = "what other tests that include this file use")]
#[path = "../../src/http/tests/driver.rs"]
mod driver;
#[allow(dead_code, reason = "what the tests that include this file use")]
#[path = "../../tests/http_oracle/grammar.rs"]
mod grammar;

use driver::{Plan, Seen, drive};
use libfuzzer_sys::fuzz_target;
use tidegate::base::buffer;
use tidegate::http as machine;

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    let (cuts, rest) = rest.split_at(usize::from(how >> 5).min(rest.len()));
    let bytes = match how & 1 {
        0 => rest.to_vec(),
        _ => {
            let mut choices = rest.iter().copied();
            grammar::requests(|| choices.next())
        }
    };
    let body_bytes_max = if how & 2 == 0 { 262_144 } else { 8 };
    let plan = Plan { is_dropping: how & 4 != 0, body_bytes_max, ..Plan::default() };
    let whole = drive([&bytes[..]], &plan);
    assert_eq!(drive(bytes.chunks(1), &plan), whole);
    let mut pieces = Vec::new();
    let mut left = &bytes[..];
    for &cut in cuts {
        let (piece, more) = left.split_at(usize::from(cut).min(left.len()));
        pieces.push(piece);
        left = more;
    }
    pieces.push(left);
    assert_eq!(drive(pieces, &plan), whole);
    let ends = whole.iter().filter(|seen| !matches!(seen, Seen::Request(..) | Seen::Dropped(_))).count();
    assert!(ends == 0 || ends == 1 && !matches!(whole.last(), Some(Seen::Request(..) | Seen::Dropped(_))));
});
