//! Received WebSocket bytes: read whole and in pieces with the same outcome, and as tungstenite reads them; with
//! permessage-deflate, which that does not know, whole and in pieces.
//!
//! The first byte chooses the role, and whether the rest are the bytes themselves or choices of frames.

#![no_main]

#[path = "../../tests/websocket_oracle/compare.rs"]
mod compare;

use libfuzzer_sys::fuzz_target;
use tidegate::websocket::{DeflateParameters, Role};

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    let role = if how & 1 == 0 { Role::Server } else { Role::Client };
    let bytes = match how & 2 {
        0 => rest.to_vec(),
        _ => {
            let mut choices = rest.iter().copied();
            compare::frames(role, || choices.next())
        }
    };
    if how & 4 == 0 {
        compare::compare(role, &bytes);
        return;
    }
    let alone = how & 8 == 0;
    // Keys of a client are random, so only events are compared.
    let deflate = Some(DeflateParameters {
        server_no_context_takeover: alone,
        client_no_context_takeover: alone,
        server_max_window_bits: None,
        client_max_window_bits: None,
    });
    let whole = compare::ours(role, deflate, &bytes, bytes.len()).0;
    assert_eq!(compare::ours(role, deflate, &bytes, 1).0, whole);
});
