//! Members of `data` that all kinds of events share.

use crate::base::json;

/// Bytes of a payload beside its body that room is made for at once; most requests of devices have fewer.
pub(super) const ENVELOPE_BYTES: usize = 1024;

/// Keys that all kinds of events share.
pub(super) const PATH: &[u8] = b"\"path\":";
pub(super) const HEADERS: &[u8] = b"\"headers\":";
pub(super) const QUERY: &[u8] = b"\"query\":";
pub(super) const CLAIMS: &[u8] = b"\"claims\":";
pub(super) const REPLY_ID: &[u8] = b"\"replyId\":";

/// Writes a path, which begins with a slash.
pub(super) fn write_path(out: &mut Vec<u8>, path: &[u8]) {
    out.push(b'"');
    if path.first() != Some(&b'/') {
        out.push(b'/');
    }
    json::escape_latin1_fragment_into(out, path);
    out.push(b'"');
}
