//! How the machine behaves, told from outside: what came of some bytes, however they were cut into reads.

mod body;
mod driver;
mod fields;
mod properties;
mod request_line;
mod sequence;
mod written;

use super::{Framing, Refusal};
use crate::base::buffer;
use crate::http as machine;
use driver::{Plan, Read, Seen, drive_cut};

/// A request that is right, for where one is needed behind or before something else.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

/// The bytes are refused for this reason, and no request is seen in them or behind them.
#[track_caller]
fn refused(bytes: &[u8], refusal: Refusal) {
    let mut all = bytes.to_vec();
    all.extend_from_slice(NEXT);
    assert_eq!(drive_cut(&all, &Plan::default()), [Seen::Refused(refusal)], "{}", bytes.escape_ascii());
}

/// The bytes are one request and the beginning of none.
#[track_caller]
fn taken(bytes: &[u8]) -> (Read, Vec<u8>) {
    let mut seen = drive_cut(bytes, &Plan::default());
    if seen.last() == Some(&Seen::Close) {
        seen.pop();
    }
    match <[Seen; 1]>::try_from(seen) {
        Ok([Seen::Request(read, body)]) => (read, body),
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// A request with these field lines besides its Host.
fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[test]
fn every_refusal_has_a_status_of_a_client_error_or_of_what_is_not_spoken_here() {
    let mut names = std::collections::HashSet::new();
    for &refusal in Refusal::ALL {
        assert!(matches!(refusal.status(), 400 | 414 | 417 | 431 | 501 | 505), "{refusal:?}");
        assert!(names.insert(refusal.name()), "{refusal:?}");
        assert!(refusal.message().len() > 10 && !refusal.message().ends_with('.'), "{refusal:?}");
    }
    // Those that have a status of their own (`src/guide/limits-and-refusals.md`).
    for (refusal, status) in [
        (Refusal::HeadTooLarge, 431),
        (Refusal::TooManyFields, 431),
        (Refusal::ChunkOverhead, 431),
        (Refusal::TargetTooLong, 414),
        (Refusal::VersionUnsupported, 505),
        (Refusal::CodingUnsupported, 501),
        (Refusal::CodingNotFinal, 400),
    ] {
        assert_eq!(refusal.status(), status, "{refusal:?}");
    }
}
