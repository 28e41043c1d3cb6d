//! Entries of a batch: what a core tells of its calls. A batch is entries end to end, each a length of four bytes, a kind, and
//! the fields in a fixed order; all numbers are little endian. A segment on the disk holds the same bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::id::{ID_BYTES, Id};
use crate::base::request_id::REQUEST_ID_FIELD;

/// Kinds of entries, as they are written.
const CALL: u8 = 1;
const ANSWER: u8 = 2;
const FATE: u8 = 3;
const COUNT: u8 = 4;
const LAST_CALL: u8 = 5;
const GONE: u8 = 6;

/// Kind of the event that a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An HTTP request.
    Request,
    /// A WebSocket's handshake.
    Connect,
    /// A WebSocket's message.
    Message,
    /// A WebSocket's end.
    Close,
}

impl Kind {
    /// Every kind with its name.
    pub const ALL: [(&'static str, Kind); 4] = [
        ("request", Kind::Request),
        ("connect", Kind::Connect),
        ("message", Kind::Message),
        ("close", Kind::Close),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    fn of(code: u8) -> Option<Kind> {
        Self::ALL.get(usize::from(code)).map(|(_, kind)| *kind)
    }
}

/// Fate of a call at one flow, or at one of its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FateKind {
    /// The flow ran.
    Ran,
    /// Handed over to a delivering node, and not done.
    Waiting,
    /// An attempt failed; it is tried again.
    Retried,
    /// The delivering node is done.
    Delivered,
    /// Given up: a dead letter.
    Dead,
    /// Nobody waited for it any more.
    Expired,
    /// The node's template or condition failed.
    Failed,
}

impl FateKind {
    const ALL: [(&'static str, FateKind); 7] = [
        ("ran", FateKind::Ran),
        ("waiting", FateKind::Waiting),
        ("retried", FateKind::Retried),
        ("delivered", FateKind::Delivered),
        ("dead", FateKind::Dead),
        ("expired", FateKind::Expired),
        ("failed", FateKind::Failed),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    fn of(code: u8) -> Option<FateKind> {
        Self::ALL.get(usize::from(code)).map(|(_, kind)| *kind)
    }

    /// Whether it is not the last one of its delivery.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, FateKind::Waiting | FateKind::Retried)
    }
}

/// The beginning of a record: what was received, or sent on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedCall<'e> {
    pub id: Id,
    pub webhook: Id,
    pub unix_millis: u64,
    /// Records that the webhook keeps.
    pub events: u32,
    pub kind: Kind,
    /// It was sent by the engine.
    pub is_sent: bool,
    /// Of a message: it is text.
    pub is_text: bool,
    /// HTTP/1.0.
    pub is_http10: bool,
    /// The request was received to its end.
    pub is_whole: bool,
    /// The body was in chunks.
    pub is_chunked: bool,
    pub peer: Option<IpAddr>,
    /// The WebSocket that it belongs to.
    pub connection: Option<Id>,
    /// The record that it replays.
    pub replay_of: Option<Id>,
    /// Bytes of the whole body or message.
    pub body_bytes: u64,
    pub method: &'e [u8],
    /// The part of the target behind the token, with the query.
    pub path: &'e [u8],
    /// Field lines as they were received, each with its line end; credentials are masked.
    pub fields: &'e [u8],
    /// The beginning of the body or the message.
    pub body: &'e [u8],
    /// The id that the caller gave or that was made; empty if there is none.
    pub request_id: &'e [u8],
}

#[cfg(test)]
impl<'e> RecordedCall<'e> {
    /// A request without a peer, fields or a body, for tests to begin with.
    pub(crate) const fn request(
        id: Id,
        webhook: Id,
        unix_millis: u64,
        method: &'e [u8],
        path: &'e [u8],
    ) -> RecordedCall<'e> {
        RecordedCall {
            id,
            webhook,
            unix_millis,
            events: 0,
            kind: Kind::Request,
            is_sent: false,
            is_text: false,
            is_http10: false,
            is_whole: true,
            is_chunked: false,
            peer: None,
            connection: None,
            replay_of: None,
            body_bytes: 0,
            method,
            path,
            fields: b"",
            body: b"",
            request_id: b"",
        }
    }
}

/// The end of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallAnswer<'e> {
    pub record: Id,
    pub webhook: Id,
    /// Of the response, or of a close.
    pub status: u16,
    pub duration_nanos: u64,
    pub body_nanos: u64,
    pub verify_nanos: u64,
    pub flows_nanos: u64,
    pub wait_nanos: u64,
    /// Bytes of the whole response.
    pub response_bytes: u64,
    /// Empty if it was not refused.
    pub refusal: &'e [u8],
    /// The beginning of the response, head included.
    pub response: &'e [u8],
}

/// Fate of a call at one flow or node; a later one of the same node takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate<'e> {
    pub record: Id,
    pub webhook: Id,
    pub flow: Id,
    pub unix_millis: u64,
    pub kind: FateKind,
    pub attempts: u32,
    /// That the target answered last; 0 if it did not.
    pub status: u16,
    /// Empty for the flow itself.
    pub node: &'e [u8],
    /// Empty if nothing failed.
    pub error: &'e [u8],
}

/// How far the batches of two cores are apart.
const APART_MILLIS: u64 = 1_000;

impl Fate<'_> {
    /// Whether another fate of the same node, told later, came before it: the cores that tell of them are not the same.
    #[must_use]
    pub fn is_after(&self, other: &Fate<'_>) -> bool {
        let is_begun = other.kind == FateKind::Waiting && self.kind != FateKind::Waiting;
        if is_begun {
            return other.unix_millis < self.unix_millis + APART_MILLIS;
        }
        other.unix_millis < self.unix_millis
    }
}

/// One entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'e> {
    Call(RecordedCall<'e>),
    Answer(CallAnswer<'e>),
    Fate(Fate<'e>),
    /// Calls that were not recorded: `folded` are refusals like the last record, `skipped` are others.
    Count {
        webhook: Id,
        unix_millis: u64,
        skipped: u32,
        folded: u32,
    },
    /// When a webhook was last called.
    LastCall {
        webhook: Id,
        unix_millis: u64,
    },
    /// The webhook was deleted, and its records with it.
    Gone {
        webhook: Id,
    },
}

impl Entry<'_> {
    /// Appends the entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Entry::Call(call) => call.write(out),
            Entry::Answer(answer) => answer.write(out),
            Entry::Fate(fate) => fate.write(out),
            Entry::Count { webhook, unix_millis, skipped, folded } => {
                out.push(COUNT);
                out.extend_from_slice(webhook.raw());
                out.extend_from_slice(&unix_millis.to_le_bytes());
                out.extend_from_slice(&skipped.to_le_bytes());
                out.extend_from_slice(&folded.to_le_bytes());
            }
            Entry::LastCall { webhook, unix_millis } => {
                out.push(LAST_CALL);
                out.extend_from_slice(webhook.raw());
                out.extend_from_slice(&unix_millis.to_le_bytes());
            }
            Entry::Gone { webhook } => {
                out.push(GONE);
                out.extend_from_slice(webhook.raw());
            }
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Bits of a call's flags.
const SENT: u8 = 1;
const TEXT: u8 = 1 << 1;
const HTTP10: u8 = 1 << 2;
const WHOLE: u8 = 1 << 3;
const CHUNKED: u8 = 1 << 4;

impl RecordedCall<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = bit(self.is_sent, SENT)
            | bit(self.is_text, TEXT)
            | bit(self.is_http10, HTTP10)
            | bit(self.is_whole, WHOLE)
            | bit(self.is_chunked, CHUNKED);
        out.push(CALL);
        out.extend_from_slice(self.id.raw());
        out.extend_from_slice(self.webhook.raw());
        out.extend_from_slice(&self.unix_millis.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, flags]);
        match self.peer {
            None => out.push(0),
            Some(IpAddr::V4(ip)) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            Some(IpAddr::V6(ip)) => {
                out.push(16);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(self.connection.unwrap_or_default().raw());
        out.extend_from_slice(self.replay_of.unwrap_or_default().raw());
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        let texts = [self.method, self.path, self.fields, self.body, self.request_id];
        texts.into_iter().for_each(|text| write_bytes(out, text));
    }

    fn read<'e>(from: &mut EntryReader<'e>) -> Option<RecordedCall<'e>> {
        let (id, webhook) = (from.id()?, from.id()?);
        let (unix_millis, events) = (from.u64()?, from.u32()?);
        let (kind, flags) = (Kind::of(from.u8()?)?, from.u8()?);
        let peer = match from.u8()? {
            0 => None,
            4 => Some(IpAddr::V4(Ipv4Addr::from(from.array::<4>()?))),
            16 => Some(IpAddr::V6(Ipv6Addr::from(from.array::<16>()?))),
            _ => return None,
        };
        let named = |id: Id| (id != Id::default()).then_some(id);
        Some(RecordedCall {
            id,
            webhook,
            unix_millis,
            events,
            kind,
            is_sent: flags & SENT != 0,
            is_text: flags & TEXT != 0,
            is_http10: flags & HTTP10 != 0,
            is_whole: flags & WHOLE != 0,
            is_chunked: flags & CHUNKED != 0,
            peer,
            connection: named(from.id()?),
            replay_of: named(from.id()?),
            body_bytes: from.u64()?,
            method: from.bytes()?,
            path: from.bytes()?,
            fields: from.bytes()?,
            body: from.bytes()?,
            // A call that was written before requests had ids ends here.
            request_id: from.bytes().unwrap_or_default(),
        })
    }

    /// Names and values of the fields, without the white space around a value.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let lines = self.fields.split(|&byte| byte == b'\n');
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// The fields as payloads show them: with the request's id.
    pub fn shown_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let id = Some(self.request_id).filter(|id| !id.is_empty());
        let is_id = move |name: &[u8]| id.is_some() && name.eq_ignore_ascii_case(REQUEST_ID_FIELD.as_bytes());
        let others = self.headers().filter(move |(name, _)| !is_id(name));
        others.chain(id.map(|id| (REQUEST_ID_FIELD.as_bytes(), id)))
    }

    /// Whether the whole body is kept.
    #[must_use]
    pub fn has_whole_body(&self) -> bool {
        self.is_whole && self.body_bytes == self.body.len() as u64
    }
}

impl CallAnswer<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(ANSWER);
        out.extend_from_slice(self.record.raw());
        out.extend_from_slice(self.webhook.raw());
        out.extend_from_slice(&self.status.to_le_bytes());
        for nanos in [
            self.duration_nanos,
            self.body_nanos,
            self.verify_nanos,
            self.flows_nanos,
            self.wait_nanos,
            self.response_bytes,
        ] {
            out.extend_from_slice(&nanos.to_le_bytes());
        }
        write_bytes(out, self.refusal);
        write_bytes(out, self.response);
    }

    fn read<'e>(from: &mut EntryReader<'e>) -> Option<CallAnswer<'e>> {
        Some(CallAnswer {
            record: from.id()?,
            webhook: from.id()?,
            status: from.u16()?,
            duration_nanos: from.u64()?,
            body_nanos: from.u64()?,
            verify_nanos: from.u64()?,
            flows_nanos: from.u64()?,
            wait_nanos: from.u64()?,
            response_bytes: from.u64()?,
            refusal: from.bytes()?,
            response: from.bytes()?,
        })
    }
}

impl Fate<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(FATE);
        out.extend_from_slice(self.record.raw());
        out.extend_from_slice(self.webhook.raw());
        out.extend_from_slice(self.flow.raw());
        out.extend_from_slice(&self.unix_millis.to_le_bytes());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.attempts.to_le_bytes());
        out.extend_from_slice(&self.status.to_le_bytes());
        write_bytes(out, self.node);
        write_bytes(out, self.error);
    }

    fn read<'e>(from: &mut EntryReader<'e>) -> Option<Fate<'e>> {
        Some(Fate {
            record: from.id()?,
            webhook: from.id()?,
            flow: from.id()?,
            unix_millis: from.u64()?,
            kind: FateKind::of(from.u8()?)?,
            attempts: from.u32()?,
            status: from.u16()?,
            node: from.bytes()?,
            error: from.bytes()?,
        })
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Everything that is written here is bounded far below 4 GiB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The entries of a batch with the bytes of each, length included. Ends at the first that is cut off; one of an unknown
/// kind, or that is not what its kind says, is passed over.
pub fn read_entries(batch: &[u8]) -> impl Iterator<Item = (Entry<'_>, &[u8])> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        loop {
            let length = u32::from_le_bytes(*rest.first_chunk::<4>()?) as usize;
            let end = length.checked_add(4)?;
            let bytes = rest.get(..end)?;
            rest = rest.get(end..)?;
            if let Some(entry) = read_entry(bytes) {
                return Some((entry, bytes));
            }
        }
    })
}

/// Reads one entry, whose bytes begin with its length.
pub(super) fn read_entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let mut from = EntryReader(bytes.get(4..)?);
    Some(match from.u8()? {
        CALL => Entry::Call(RecordedCall::read(&mut from)?),
        ANSWER => Entry::Answer(CallAnswer::read(&mut from)?),
        FATE => Entry::Fate(Fate::read(&mut from)?),
        COUNT => Entry::Count {
            webhook: from.id()?,
            unix_millis: from.u64()?,
            skipped: from.u32()?,
            folded: from.u32()?,
        },
        LAST_CALL => Entry::LastCall { webhook: from.id()?, unix_millis: from.u64()? },
        GONE => Entry::Gone { webhook: from.id()? },
        _ => return None,
    })
}

/// Takes fields off the front of an entry.
struct EntryReader<'e>(&'e [u8]);

impl<'e> EntryReader<'e> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn id(&mut self) -> Option<Id> {
        self.array::<ID_BYTES>().map(Id::from_raw)
    }

    fn bytes(&mut self) -> Option<&'e [u8]> {
        let length = self.u32()? as usize;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }
}
