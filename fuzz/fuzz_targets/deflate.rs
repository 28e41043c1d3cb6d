//! permessage-deflate: what is inflated keeps its limit, whatever was inflated before; what was deflated comes back.
//!
//! The first byte chooses between the two. Where no context is taken over, an inflater of another origin (miniz) has the
//! same opinion.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use miniz_oxide::{DataFormat, MZFlush, MZStatus, inflate};
use tidegate::websocket::deflate::{
    COMPRESS_BYTES_MIN, Scratch, Takeover, WINDOW_BITS_MAX, WINDOW_BITS_MIN, compressed_bytes_max,
};

const LIMITS: [usize; 5] = [0, 1, 300, 5_000, 262_144];

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    if choices.truth() { round_trip(choices) } else { receive(choices) }
});

/// A sync flush's last bytes, which a message goes without (RFC 7692, 7.2.1), and an empty last block, which ends the
/// stream for an inflater that knows nothing of messages.
const END: &[u8] = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff";

/// The same with an empty block more between.
const LONGER_END: &[u8] = b"\x00\x00\xff\xff\x00\x00\x00\xff\xff\x01\x00\x00\xff\xff";

/// The message that miniz inflates `payload` to, if it stands for itself and ends where a block does. `None` for a message
/// that breaks off within a block (what is put behind it is then read as a part of it), and for one with bytes behind a
/// block that says it is the last (miniz stops there): nothing can be said of those.
fn by_miniz(payload: &[u8], limit: usize) -> Option<Vec<u8>> {
    let inflated = |end: &[u8]| {
        let mut message = vec![0; limit + 1];
        let result = inflate::stream::inflate(
            &mut inflate::stream::InflateState::new(DataFormat::Raw),
            &[payload, end].concat(),
            &mut message,
            MZFlush::Finish,
        );
        message.truncate(result.bytes_written);
        (result.status == Ok(MZStatus::StreamEnd) && result.bytes_consumed >= payload.len())
            .then_some(message)
    };
    let message = inflated(END)?;
    (inflated(LONGER_END)? == message).then_some(message)
}

/// Messages of a peer, one after the other on one core.
fn receive(mut choices: Choices<'_>) {
    let limit = choices.one_of(&LIMITS);
    let mut lent = Scratch::new();
    let (mut kept, mut kept_elsewhere) = (Takeover::default(), Takeover::default());
    while !choices.is_over() {
        let takes_over = choices.truth();
        let payload = choices.some_bytes();
        let mut own = Scratch::new();
        let outcome = lent.inflate(takes_over.then_some(&mut kept), payload, limit);
        // A scratch that served others first makes no difference.
        assert_eq!(own.inflate(takes_over.then_some(&mut kept_elsewhere), payload, limit), outcome);
        assert_eq!(own.message(), lent.message());
        match outcome {
            Ok(()) => {
                assert!(lent.message().len() <= limit);
                if !takes_over && let Some(message) = by_miniz(payload, limit) {
                    assert_eq!(message, lent.message());
                }
            }
            Err(_) => assert!(lent.message().len() <= limit + 1 + 1024, "{} read", lent.message().len()),
        }
        if takes_over && outcome.is_err() {
            // The connection ends here.
            break;
        }
        lent.trim();
    }
}

/// Messages of ours to one peer, who has the windows that were agreed on.
fn round_trip(mut choices: Choices<'_>) {
    let bits = WINDOW_BITS_MIN + choices.below(usize::from(WINDOW_BITS_MAX - WINDOW_BITS_MIN) + 1) as u8;
    let takes_over = choices.truth();
    let (mut scratch, mut peer) = (Scratch::new(), Scratch::new());
    let (mut sent, mut received) = (Takeover::default(), Takeover::default());
    while !choices.is_over() {
        let times = 1 + choices.below(40) * choices.below(40);
        let message = choices.some_bytes().repeat(times);
        if choices.byte() == 1 {
            sent.release_sent();
        }
        let payload = scratch.deflate(takes_over.then_some(&mut sent), &message, bits);
        let Some(payload) = payload else {
            assert!(
                message.len() < COMPRESS_BYTES_MIN || !takes_over,
                "not sent, and the window is not the peer's"
            );
            continue;
        };
        assert!(payload.len() <= compressed_bytes_max(message.len()));
        assert!(takes_over || payload.len() < message.len());
        if !takes_over {
            assert_eq!(by_miniz(payload, message.len()).as_deref(), Some(&message[..]));
        }
        peer.inflate(takes_over.then_some(&mut received), payload, message.len()).expect("our own message");
        assert_eq!(peer.message(), message);
    }
}
