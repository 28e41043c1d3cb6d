//! The parts of a payload and how they are put together.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

mod sample;
mod stored;

use super::parts::{PARTS, Part, Parts};
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

/// The kind of source of an event: its parts have different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    WebSocket,
}

/// Where a value stands in the text of an event; nowhere if it is empty. A body of 64 MiB, all of it escaped, is far below
/// 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(range: Range<usize>) -> Span {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: place(range.start), end: place(range.end) }
    }

    fn of(self, bytes: &[u8]) -> Option<Raw<'_>> {
        let value = bytes.get(self.start as usize..self.end as usize)?;
        (!value.is_empty()).then(|| Raw::trusted(value))
    }
}

/// Where the parts stand in the text of an event, noted while it was written.
#[derive(Clone, Debug)]
struct Places {
    kind: Kind,
    parts: [Span; PARTS],
}

/// An event and where its parts stand, in whatever buffer.
#[derive(Clone, Copy)]
struct View<'e> {
    bytes: &'e [u8],
    places: &'e Places,
    /// A WebSocket's message, if it is text.
    message: Option<&'e str>,
}

impl<'e> View<'e> {
    fn time(self) -> Option<Raw<'e>> {
        self.bytes.get(TIME).map(Raw::trusted)
    }

    fn data(self) -> Option<Raw<'e>> {
        self.bytes.get(DATA_START..self.bytes.len().saturating_sub(1)).map(Raw::trusted)
    }

    fn part(self, part: Part) -> Option<Raw<'e>> {
        self.places.parts[part as usize].of(self.bytes)
    }

    /// The value of a key of `data`.
    fn member(self, key: &str) -> Option<Raw<'e>> {
        self.part(part_named(self.places.kind, key)?)
    }
}

fn part_named(kind: Kind, key: &str) -> Option<Part> {
    Some(match (key, kind) {
        ("method", Kind::Http) | ("type", Kind::WebSocket) => Part::Kind,
        ("path", _) => Part::Path,
        ("headers", _) => Part::Headers,
        ("query", _) => Part::Query,
        ("body", Kind::Http) | ("message", Kind::WebSocket) => Part::Body,
        ("replyId", _) => Part::ReplyId,
        ("rawBody", Kind::Http) => Part::RawBody,
        ("claims", _) => Part::Claims,
        _ => return None,
    })
}

/// A body as it was received, for who sends it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBody {
    pub bytes: Bytes,
    /// `Content-Type` and `Content-Encoding`, where they were sent.
    pub content_type: Option<Box<[u8]>>,
    pub content_encoding: Option<Box<[u8]>>,
}

/// The front of a payload: `{"time":…,"data":{…},`. Built once, shared by all flows; a clone is a reference.
#[derive(Clone, Debug)]
pub struct Event {
    bytes: Bytes,
    places: Places,
    /// `None` where no flow of the webhook sends it on.
    raw: Option<Arc<RawBody>>,
}

impl Event {
    fn view(&self) -> View<'_> {
        View { bytes: &self.bytes, places: &self.places, message: None }
    }

    /// The same event, with the body as it was received.
    #[must_use]
    pub fn with_raw(self, raw: RawBody) -> Event {
        Event { raw: Some(Arc::new(raw)), ..self }
    }

    /// The body as it was received, where that was kept.
    #[must_use]
    pub fn raw(&self) -> Option<&RawBody> {
        self.raw.as_deref()
    }

    /// Bytes that the event keeps in memory.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.bytes.len() + self.raw.as_ref().map_or(0, |raw| raw.bytes.len())
    }

    /// The text, an object that is left open after a comma.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value of `time`.
    #[must_use]
    pub fn time(&self) -> Raw<'_> {
        self.view().time().unwrap_or(Raw::NULL)
    }

    /// The value of `data`.
    #[must_use]
    pub fn data(&self) -> Raw<'_> {
        self.view().data().unwrap_or(Raw::NULL)
    }

    /// The value of `data.body`, or of `data.message` on a WebSocket.
    #[must_use]
    pub fn body(&self) -> Raw<'_> {
        self.view().part(Part::Body).unwrap_or(Raw::NULL)
    }
}

/// An event in the buffer that it was written in, with those of its parts that were asked for.
#[derive(Debug)]
pub struct Draft<'s> {
    out: &'s mut Vec<u8>,
    wanted: Parts,
    places: Places,
    message: Option<&'s str>,
}

impl<'s> Draft<'s> {
    /// Begins `data` in an emptied buffer with room for `room` bytes. Nothing is written where nothing is wanted.
    pub(super) fn begin(out: &'s mut Vec<u8>, now: Now, room: usize, wanted: Parts, kind: Kind) -> Draft<'s> {
        out.clear();
        let places = Places { kind, parts: [Span::default(); PARTS] };
        if wanted.writes_something() {
            out.reserve(room);
            out.extend_from_slice(BEGIN);
            out.push(b'"');
            write_time(out, now.unix_millis);
            out.push(b'"');
            out.extend_from_slice(BEFORE_DATA);
            debug_assert_eq!(out.len(), DATA_START);
            out.push(b'{');
        }
        Draft { out, wanted, places, message: None }
    }

    pub(super) fn wants(&self, part: Part) -> bool {
        self.wanted.has(part)
    }

    /// Writes a part, if it is wanted. `key` is the name with its quotes and colon.
    pub(super) fn part(&mut self, part: Part, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        if !self.wanted.has(part) {
            return;
        }
        self.out.extend_from_slice(key);
        let start = self.out.len();
        write(self.out);
        self.places.parts[part as usize] = Span::new(start..self.out.len());
        self.out.push(b',');
    }

    /// Writes parts as they were written elsewhere, with a comma between two; `at` says where their values stand there.
    pub(super) fn parts(&mut self, text: &[u8], at: &[(Part, Range<usize>)]) {
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for (part, range) in at {
            self.places.parts[*part as usize] = Span::new(start + range.start..start + range.end);
        }
        self.out.push(b',');
    }

    /// The message as it is, beside its JSON.
    pub(super) fn set_message(&mut self, text: &'s str) {
        self.message = Some(text);
    }

    /// Ends `data`.
    pub(super) fn finish(self) -> Draft<'s> {
        if self.wanted.writes_something() {
            if self.out.last() == Some(&b',') {
                self.out.pop();
            }
            self.out.push(b'}');
            self.out.push(b',');
        }
        self
    }

    /// The event by itself. All of its parts must have been asked for.
    #[must_use]
    pub fn keep(self) -> Event {
        debug_assert_eq!(self.wanted, Parts::ALL);
        let bytes = if self.out.len() <= COPY_BYTES_MAX {
            Bytes::copy_from_slice(self.out)
        } else {
            Bytes::from(std::mem::take(self.out))
        };
        Event { bytes, places: self.places, raw: None }
    }

    /// Bytes that were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The root that a flow's templates are rendered over: as a [`Payload`], except that only the demanded parts exist.
    #[must_use]
    pub fn payload<'e>(&'e self, tail: &'e Tail) -> impl Root + 'e {
        let event = View { bytes: self.out, places: &self.places, message: self.message };
        PayloadView { event, tail }
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
        let mut text = Tail::begin(application_id, application_name, webhook_id, flow_name.len());
        text.extend_from_slice(b",\"flowId\":\"");
        text.extend_from_slice(&flow_id.digits());
        text.extend_from_slice(b"\",\"flowName\":");
        json::escape_into(&mut text, flow_name);
        text.extend_from_slice(b",\"globals\":");
        Tail { text: text.into_boxed_slice(), globals }
    }

    /// Writes the tail of a payload that is for no flow. Its application's globals are in it.
    #[must_use]
    pub fn of_webhook(
        application_id: Id,
        application_name: &str,
        webhook_id: Id,
        globals: Arc<[u8]>,
    ) -> Tail {
        let mut text = Tail::begin(application_id, application_name, webhook_id, 0);
        text.extend_from_slice(b",\"globals\":");
        Tail { text: text.into_boxed_slice(), globals }
    }

    fn begin(application_id: Id, application_name: &str, webhook_id: Id, more: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(320 + application_name.len() + more);
        text.extend_from_slice(b"{\"applicationId\":\"");
        text.extend_from_slice(&application_id.digits());
        text.extend_from_slice(b"\",\"applicationName\":");
        json::escape_into(&mut text, application_name);
        text.extend_from_slice(b",\"triggerId\":\"");
        text.extend_from_slice(&webhook_id.digits());
        text.extend_from_slice(b"\",\"triggerType\":\"webhook\",");
        text.extend_from_slice(RELAY.as_bytes());
        text
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
    /// The event, the same for all flows.
    pub event: Event,
    /// The part that is the flow's own.
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

    /// Bytes that it keeps in memory: those of the payload, and of the body as it was received.
    #[must_use]
    pub fn kept_len(&self) -> usize {
        self.event.kept_bytes() + self.tail.len()
    }

    /// A field of the request's head, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.event.view().part(Part::Headers)?.get(name)?.as_str()
    }

    fn view(&self) -> PayloadView<'_> {
        PayloadView { event: self.event.view(), tail: &self.tail }
    }
}

/// A payload as templates see it.
struct PayloadView<'e> {
    event: View<'e>,
    tail: &'e Tail,
}

impl<'e> PayloadView<'e> {
    /// Looks into the one part that has the key, not through the whole payload.
    fn value(&self, key: &str) -> Option<Raw<'e>> {
        match key {
            "time" => self.event.time(),
            "data" => self.event.data(),
            _ => self.tail.get(key),
        }
    }

    /// Knows where the parts of `data` stand: it need not be looked through for them.
    fn member(&self, key: &str, member: &str) -> Option<Raw<'e>> {
        if key == "data" { self.event.member(member) } else { None }
    }

    /// Bytes that [`PayloadView::value`] searches.
    fn cost(&self, key: &str) -> usize {
        if matches!(key, "time" | "data" | "globals") { 0 } else { self.tail.text.len() }
    }
}

impl Root for PayloadView<'_> {
    fn get(&self, key: &str) -> Option<Raw<'_>> {
        self.value(key)
    }

    fn get_cost(&self, key: &str) -> usize {
        self.cost(key)
    }

    fn get_member(&self, key: &str, member: &str) -> Option<Raw<'_>> {
        self.member(key, member)
    }

    fn knows_members(&self, key: &str) -> bool {
        key == "data"
    }

    fn text(&self, steps: [&str; 3]) -> Option<&str> {
        self.event.message.filter(|_| steps == ["data", "message", "data"])
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        let mut whole = self.event.bytes.to_vec();
        self.tail.write(&mut whole);
        Cow::Owned(whole)
    }

    fn whole_len(&self) -> usize {
        self.event.bytes.len() + self.tail.len()
    }
}

impl Root for Payload {
    fn get(&self, key: &str) -> Option<Raw<'_>> {
        self.view().value(key)
    }

    fn get_cost(&self, key: &str) -> usize {
        self.view().cost(key)
    }

    fn get_member(&self, key: &str, member: &str) -> Option<Raw<'_>> {
        self.view().member(key, member)
    }

    fn knows_members(&self, key: &str) -> bool {
        key == "data"
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        let mut whole = Vec::new();
        self.write(&mut whole);
        Cow::Owned(whole)
    }

    fn whole_len(&self) -> usize {
        self.len()
    }
}
