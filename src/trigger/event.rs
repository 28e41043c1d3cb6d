//! The parts of a payload and how they are put together.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::json::{self, Raw};
use crate::base::text::write_time;
use crate::template::Root;

const BEGIN: &[u8] = b"{\"time\":";
const BEFORE_DATA: &[u8] = b",\"data\":";
/// Where the value of `time` stands: 24 characters and its quotes.
const TIME: Range<usize> = BEGIN.len()..BEGIN.len() + 26;
/// Where the value of `data` begins.
const DATA_START: usize = TIME.end + BEFORE_DATA.len();

/// Events up to this size are copied out of the buffer they were built in, so that a waiting one holds no more memory
/// than it needs; larger ones take the buffer along.
const COPY_BYTES_MAX: usize = 16 * 1024;

/// The front of a payload: `{"time":…,"data":{…},`. Built once, shared by all flows; a clone is a reference.
#[derive(Clone, Debug)]
pub struct Event {
    bytes: Bytes,
    body: Range<usize>,
}

impl Event {
    /// The text, an object that is left open after a comma.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value of `time`.
    #[must_use]
    pub fn time(&self) -> Raw<'_> {
        Raw::trusted(&self.bytes[TIME])
    }

    /// The value of `data`.
    #[must_use]
    pub fn data(&self) -> Raw<'_> {
        Raw::trusted(&self.bytes[DATA_START..self.bytes.len() - 1])
    }

    /// The value of a key of `data` that is found by where the body stands: the body's own, and the `replyId` behind it.
    fn beside_body(&self, key: &str) -> Option<Raw<'_>> {
        let bytes = &self.bytes[..];
        match key {
            "body" | "message" => {
                let before = bytes[..self.body.start].strip_suffix(b"\":")?.strip_suffix(key.as_bytes())?;
                before.ends_with(b"\"").then(|| self.body())
            }
            "replyId" => {
                // An id has no escapes: it ends at the next quote.
                let id = bytes[self.body.end..].strip_prefix(b",\"replyId\":\"")?;
                let start = bytes.len() - id.len() - 1;
                let end = start + 1 + memchr::memchr(b'"', id)? + 1;
                Some(Raw::trusted(&bytes[start..end]))
            }
            _ => None,
        }
    }

    /// The value of `data.body`, or of `data.message` on a WebSocket.
    #[must_use]
    pub fn body(&self) -> Raw<'_> {
        Raw::trusted(&self.bytes[self.body.clone()])
    }
}

/// An event that is being written.
pub(super) struct Draft<'s> {
    out: &'s mut Vec<u8>,
}

impl<'s> Draft<'s> {
    /// Begins `data` in an emptied buffer with room for `room` bytes.
    pub(super) fn begin(out: &'s mut Vec<u8>, now: Now, room: usize) -> Draft<'s> {
        out.clear();
        out.reserve(room);
        out.extend_from_slice(BEGIN);
        out.push(b'"');
        write_time(out, now.unix_millis);
        out.push(b'"');
        out.extend_from_slice(BEFORE_DATA);
        debug_assert_eq!(out.len(), DATA_START);
        out.push(b'{');
        Draft { out }
    }

    /// The buffer, inside of `data`.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Ends `data`. `body` is where its payload proper stands.
    pub(super) fn finish(self, body: Range<usize>) -> Event {
        self.out.extend_from_slice(b"},");
        let bytes = if self.out.len() <= COPY_BYTES_MAX {
            Bytes::copy_from_slice(self.out)
        } else {
            Bytes::from(std::mem::take(self.out))
        };
        Event { bytes, body }
    }
}

/// `relayId` of the public relay; the platform has others, Tidegate has not.
const RELAY: &str = "\"relayId\":\"000000000000000000000000\",\"relayType\":\"public\"";

/// The rest of a payload, the same for all events that one flow gets from one webhook.
#[derive(Clone, Debug)]
pub struct Tail {
    /// `{"applicationId":…,…,"globals":`. The brace is not part of the payload; it makes an object of the text.
    text: Box<[u8]>,
    globals: Arc<[u8]>,
}

impl Tail {
    /// Writes the tail. `globals` is a valid JSON object, shared by all flows of the application.
    #[must_use]
    pub fn new(
        application_id: Id,
        application_name: &str,
        webhook_id: Id,
        flow_id: Id,
        flow_name: &str,
        globals: Arc<[u8]>,
    ) -> Tail {
        let mut text = Vec::with_capacity(320 + application_name.len() + flow_name.len());
        text.extend_from_slice(b"{\"applicationId\":\"");
        text.extend_from_slice(&application_id.digits());
        text.extend_from_slice(b"\",\"applicationName\":");
        json::escape_into(&mut text, application_name);
        text.extend_from_slice(b",\"triggerId\":\"");
        text.extend_from_slice(&webhook_id.digits());
        text.extend_from_slice(b"\",\"triggerType\":\"webhook\",");
        text.extend_from_slice(RELAY.as_bytes());
        text.extend_from_slice(b",\"flowId\":\"");
        text.extend_from_slice(&flow_id.digits());
        text.extend_from_slice(b"\",\"flowName\":");
        json::escape_into(&mut text, flow_name);
        text.extend_from_slice(b",\"globals\":");
        Tail { text: text.into_boxed_slice(), globals }
    }

    /// Appends what follows an event in a payload, closing brace included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text[1..]);
        out.extend_from_slice(&self.globals);
        out.push(b'}');
    }

    /// How many bytes [`Tail::write`] appends.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len() - 1 + self.globals.len() + 1
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The value of one of the tail's keys.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Raw<'_>> {
        if key == "globals" {
            return Some(Raw::trusted(&self.globals));
        }
        Raw::trusted(&self.text).get(key)
    }
}

/// One event for one flow.
#[derive(Clone, Debug)]
pub struct Payload {
    /// What happened.
    pub event: Event,
    /// Who is told.
    pub tail: Arc<Tail>,
}

impl Payload {
    /// Appends the payload, one JSON object.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.len());
        out.extend_from_slice(&self.event.bytes);
        self.tail.write(out);
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.event.bytes.len() + self.tail.len()
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Root for Payload {
    /// Looks into the one part that has the key, not through the whole payload.
    fn get(&self, key: &str) -> Option<Raw<'_>> {
        match key {
            "time" => Some(self.event.time()),
            "data" => Some(self.event.data()),
            _ => self.tail.get(key),
        }
    }

    /// Knows where the body and the `replyId` stand: `data` need not be looked through for them.
    fn get_member(&self, key: &str, member: &str) -> Option<Raw<'_>> {
        let known = if key == "data" { self.event.beside_body(member) } else { None };
        known.or_else(|| self.get(key)?.get(member))
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        let mut whole = Vec::new();
        self.write(&mut whole);
        Cow::Owned(whole)
    }
}
