//! Frames of a worker: refused in words, or what an independent reader finds in them. Each input also chooses a frame
//! that is right, with white space where it may stand: that one must be taken.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use common::{Choices, is_json, members};
use libfuzzer_sys::fuzz_target;
use tidegate::deliver::protocol::{SEQS_MAX, WorkerFrame, parse};

/// Frames that are right.
const GOOD: [&str; 8] = [
    r#"{"type":"ready","credit":1}"#,
    r#"{"type":"ready","credit":4294967295}"#,
    r#"{"type":"ack","seqs":[1]}"#,
    r#"{"type":"ack","seqs":[1,2,18446744073709551615]}"#,
    r#"{"type":"nack","seq":7}"#,
    r#"{"type":"reply","replyId":"a.b"}"#,
    r#"{"type":"reply","replyId":"a.b","responseCode":201,"headers":{"x-a":"b, {c}"},"body":"text: [1]"}"#,
    r#"{"type":"reply","replyId":"a.b","encoding":"base64","body":"aGk="}"#,
];

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let good = choices.one_of(&GOOD);
    let spaced = common::spaced(good, &mut choices);
    assert!(check(spaced.as_bytes()), "{spaced} is not taken");
    check(data);
});

/// Checks what is read from a frame; whether it was taken.
fn check(data: &[u8]) -> bool {
    let frame = match parse(data) {
        Ok(frame) => frame,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert!(is_json(data));
    let text = std::str::from_utf8(data).expect("JSON is UTF-8");
    if text.contains("\\u") {
        // Half a surrogate in a key is JSON, and not text to the other reader.
        return true;
    }
    let members = members(text);
    // Of a repeated key the last counts.
    let last = |name: &str| {
        members.iter().rfind(|(key, _)| key == name).map(|(_, value)| *value).expect("a field that was read")
    };
    let kind: String = serde_json::from_str(last("type")).expect("a text");
    match frame {
        WorkerFrame::Ready { credit } => {
            assert_eq!(kind, "ready");
            assert!(credit > 0);
            assert_eq!(serde_json::from_str::<u32>(last("credit")).expect("a number"), credit);
        }
        WorkerFrame::Ack { seqs } => {
            assert_eq!(kind, "ack");
            assert!(seqs.len() <= SEQS_MAX);
            assert_eq!(serde_json::from_str::<Vec<u64>>(last("seqs")).expect("numbers"), seqs);
        }
        WorkerFrame::Nack { seq } => {
            assert_eq!(kind, "nack");
            assert_eq!(serde_json::from_str::<u64>(last("seq")).expect("a number"), seq);
        }
        WorkerFrame::Reply { reply_id, seq, reply } => {
            assert_eq!(kind, "reply");
            assert_eq!(serde_json::from_str::<String>(last("replyId")).expect("a text"), reply_id);
            let named = members.iter().rfind(|(key, _)| key == "seq").map(|(_, value)| *value);
            assert_eq!(named.map(|named| serde_json::from_str::<u64>(named).expect("a number")), seq);
            assert!(reply.headers.len() <= members.len().max(data.len()));
            assert!(reply.close.is_none_or(|close| close.reason.len() <= 123));
            assert!(reply.body.is_none_or(|body| body.len() <= data.len()));
        }
    }
    true
}
