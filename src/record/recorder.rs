//! The side of a core: which calls are recorded, and the batch that they are written into.

use std::net::IpAddr;
use std::sync::Arc;

use super::call_record::{BODY_KEPT_BYTES_MAX, CallRecord, EVENTS_MAX};
use super::entry::{CallAnswer, Entry, Fate, FateKind, Kind, RecordedCall};
use super::mask::fields_into;
use super::seats::{Seat, Seats};
use super::shelf::RecordSink;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::random::Random;

/// Records of one webhook that a core makes in a second.
const WEBHOOK_RECORDS_PER_SECOND_MAX: u32 = 100;
/// Bytes that a core records in a second: a million webhooks, each below its sampling, cost it a few hundredths of its time.
const CORE_BYTES_PER_SECOND_MAX: usize = 32 * 1024 * 1024;
/// Bytes that a record counts beside its own.
const RECORD_COST_BYTES: usize = 1_024;
/// A batch of this size is handed over at the end of the turn.
const BATCH_BYTES: usize = 512 * 1024;
/// How long entries wait in a batch that is not full.
pub const HAND_OVER_NANOS: u64 = NANOS_PER_SECOND / 20;
/// How often the last calls of all webhooks that the core knows are handed over, so that a crash loses no more.
const LAST_CALLS_NANOS: u64 = 60 * NANOS_PER_SECOND;
/// Bytes of the text of an error that are kept.
const ERROR_BYTES_MAX: usize = 512;
/// Bytes of memory for a batch that are taken at once.
const BATCH_BYTES_FIRST: usize = 4 * 1024;

/// A call that is recorded.
#[derive(Clone, Copy, Debug)]
pub struct NewCall<'a> {
    pub webhook: Id,
    pub now: Now,
    /// Records that the webhook keeps, where it says.
    pub events: Option<u32>,
    pub kind: Kind,
    /// It was sent by the engine.
    pub is_sent: bool,
    /// Of a message: it is text.
    pub is_text: bool,
    pub is_http10: bool,
    /// The request was received to its end.
    pub is_whole: bool,
    pub is_chunked: bool,
    pub peer: Option<IpAddr>,
    /// The WebSocket that it belongs to.
    pub connection: Option<Id>,
    /// The record that it replays.
    pub replay_of: Option<Id>,
    pub method: &'a [u8],
    /// The part of the target behind the token.
    pub path: &'a [u8],
    /// Without credentials.
    pub query: Option<&'a [u8]>,
    /// The head from its first field line on.
    pub fields: &'a [u8],
    /// A further field that holds a credential.
    pub hidden_field: Option<&'a str>,
    pub body: &'a [u8],
    /// Bytes of the whole body.
    pub body_bytes: u64,
    /// Empty if there is none.
    pub request_id: &'a [u8],
}

impl<'a> NewCall<'a> {
    /// A call without a peer, fields or a body; what else there is to tell is set over it.
    #[must_use]
    pub const fn new(webhook: Id, now: Now, method: &'a [u8], path: &'a [u8]) -> NewCall<'a> {
        NewCall {
            webhook,
            now,
            events: None,
            kind: Kind::Request,
            is_sent: false,
            is_text: false,
            is_http10: false,
            is_whole: true,
            is_chunked: false,
            peer: None,
            connection: None,
            replay_of: None,
            method,
            path,
            query: None,
            fields: b"",
            hidden_field: None,
            body: b"",
            body_bytes: 0,
            request_id: b"",
        }
    }
}

/// The end of a call that is recorded.
#[derive(Clone, Copy, Debug)]
pub struct NewAnswer<'a> {
    pub status: u16,
    pub refusal: Option<&'a str>,
    /// The response as it was written; empty if there is none.
    pub response: &'a [u8],
    /// The time now, as exactly as it is known.
    pub nanos: u64,
}

/// Fate of a call that has a record.
#[derive(Clone, Copy, Debug)]
pub struct NewFate<'a> {
    pub flow: Id,
    pub kind: FateKind,
    pub attempts: u32,
    pub status: u16,
    /// Empty for the flow itself.
    pub node: &'a str,
    /// Empty if nothing failed.
    pub error: &'a str,
}

impl<'a> NewFate<'a> {
    /// A fate of a node, or of the flow itself if `node` is empty.
    #[must_use]
    pub fn new(kind: FateKind, flow: Id, node: &'a str) -> NewFate<'a> {
        NewFate { flow, kind, attempts: 0, status: 0, node, error: "" }
    }
}

/// A record whose call has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRecord {
    pub id: Id,
    pub webhook: Id,
    /// When the request was complete.
    pub began_nanos: u64,
    /// Time from its head to the end of its body.
    pub body_nanos: u64,
    /// When it was known to be genuine; 0: that was not looked at.
    pub verified_nanos: u64,
    /// When its flows had run; 0: they have not.
    pub ran_nanos: u64,
}

impl OpenRecord {
    /// A record that is known by its name alone.
    #[must_use]
    pub fn of(name: CallRecord, began_nanos: u64) -> OpenRecord {
        OpenRecord {
            id: name.record,
            webhook: name.webhook,
            began_nanos,
            body_nanos: 0,
            verified_nanos: 0,
            ran_nanos: 0,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> CallRecord {
        CallRecord { record: self.id, webhook: self.webhook }
    }
}

/// Names a refusal: the same for those that are one record.
#[must_use]
pub fn refusal_mark(status: u16, reason: &str, method: &[u8], path: &[u8], query: Option<&[u8]>) -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
    hasher.write_u16(status);
    for text in [reason.as_bytes(), method, path, query.unwrap_or_default()] {
        hasher.write(text);
    }
    (hasher.finish() as u32).max(1)
}

/// The records of one core.
pub struct CoreRecords {
    /// Records that a webhook keeps where it does not say.
    events: u32,
    seats: Seats,
    batch: Vec<u8>,
    /// Places of seats that have counts to hand over.
    listed: Vec<u32>,
    sink: Arc<dyn RecordSink>,
    ids: RecordIds,
    /// Bytes that may be recorded in the present second.
    budget: usize,
    /// When that second is over.
    budget_ends: u64,
    /// When the last calls of all seats are due.
    last_calls_due: u64,
    /// Whether a timer is set for the batch.
    is_timed: bool,
    text: Vec<u8>,
    fields: Vec<u8>,
}

/// Makes ids of records: the second, a number of the start of the core, a count.
struct RecordIds {
    start: [u8; 4],
    count: u32,
}

impl RecordIds {
    fn next(&mut self, unix_millis: u64) -> Id {
        let seconds = u32::try_from(unix_millis / 1_000).unwrap_or(u32::MAX);
        self.count = self.count.wrapping_add(1);
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.start);
        bytes[8..].copy_from_slice(&self.count.to_be_bytes());
        Id::from_raw(bytes)
    }
}

impl CoreRecords {
    /// Nothing recorded. `random` names the start of the core.
    #[must_use]
    pub fn new(events: u32, sink: Arc<dyn RecordSink>, mut random: Random) -> CoreRecords {
        let seed = random.next_u64();
        CoreRecords {
            events: events.min(EVENTS_MAX),
            seats: Seats::new(random.next_u64()),
            batch: Vec::new(),
            listed: Vec::new(),
            sink,
            ids: RecordIds { start: (seed as u32).to_be_bytes(), count: (seed >> 32) as u32 },
            budget: 0,
            budget_ends: 0,
            last_calls_due: 0,
            is_timed: false,
            text: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Notes a call of a webhook; returns whether it is to be recorded. `refusal` is its [`refusal_mark`]; 0: it is none.
    #[inline]
    pub fn admit(&mut self, webhook: Id, events: Option<u32>, now: Now, refusal: u32) -> bool {
        let (place, given_up) = self.seats.place(webhook);
        if let Some(seat) = given_up {
            self.tell_of(&seat);
        }
        let seat = self.seats.at(place);
        // 0 is that of a seat that is free.
        seat.last_call = now.unix_millis.max(1);
        if seat.taken >= WEBHOOK_RECORDS_PER_SECOND_MAX && seat.second_ends > now.nanos {
            let is_folded = refusal != 0 && refusal == seat.refusal;
            self.count(place, is_folded);
            return false;
        }
        self.admit_sampled(place, events, now, refusal)
    }

    /// Notes a message that is sent, which is no call; returns whether it is to be recorded.
    pub fn admit_sent(&mut self, webhook: Id, events: Option<u32>, now: Now) -> bool {
        let (place, given_up) = self.seats.place(webhook);
        if let Some(seat) = given_up {
            self.tell_of(&seat);
        }
        let seat = self.seats.at(place);
        // The seat is taken.
        seat.last_call = seat.last_call.max(1);
        if seat.taken >= WEBHOOK_RECORDS_PER_SECOND_MAX && seat.second_ends > now.nanos {
            self.count(place, false);
            return false;
        }
        self.admit_sampled(place, events, now, 0)
    }

    fn admit_sampled(&mut self, place: usize, events: Option<u32>, now: Now, refusal: u32) -> bool {
        if events.unwrap_or(self.events) == 0 {
            return false;
        }
        if now.nanos >= self.budget_ends {
            self.budget = CORE_BYTES_PER_SECOND_MAX;
            self.budget_ends = now.nanos + NANOS_PER_SECOND;
        }
        let has_budget = self.budget > 0;
        let seat = self.seats.at(place);
        let is_folded = refusal != 0 && refusal == seat.refusal;
        if is_folded || !has_budget {
            self.count(place, is_folded);
            return false;
        }
        if now.nanos >= seat.second_ends {
            seat.second_ends = now.nanos + NANOS_PER_SECOND;
            seat.taken = 0;
        }
        seat.taken += 1;
        seat.refusal = refusal;
        let folded = std::mem::take(&mut seat.folded);
        if folded > 0 {
            // They are of the record before this one.
            let (webhook, unix_millis) = (seat.webhook, now.unix_millis);
            Entry::Count { webhook, unix_millis, skipped: 0, folded }.write(&mut self.batch);
        }
        true
    }

    /// Counts a call that is not recorded.
    #[inline]
    fn count(&mut self, place: usize, is_folded: bool) {
        let seat = self.seats.at(place);
        let count = if is_folded { &mut seat.folded } else { &mut seat.skipped };
        *count = count.saturating_add(1);
        if !std::mem::replace(&mut seat.is_listed, true) {
            self.listed.push(place as u32);
        }
    }

    /// Notes that a webhook was called that is recorded whatever was recorded before: a replay.
    pub fn note_call(&mut self, webhook: Id, now: Now) {
        let (place, given_up) = self.seats.place(webhook);
        if let Some(seat) = given_up {
            self.tell_of(&seat);
        }
        let seat = self.seats.at(place);
        seat.last_call = now.unix_millis.max(1);
        seat.refusal = 0;
    }

    /// Whether a webhook keeps records at all.
    #[must_use]
    pub fn keeps(&self, events: Option<u32>) -> bool {
        events.unwrap_or(self.events) > 0
    }

    /// Returns an id for a WebSocket, which is that of no record.
    pub fn connection_id(&mut self, now: Now) -> Id {
        self.ids.next(now.unix_millis)
    }

    /// Begins the record of a call.
    pub fn call(&mut self, new: &NewCall<'_>) -> OpenRecord {
        let id = self.ids.next(new.now.unix_millis);
        self.text.clear();
        self.text.extend_from_slice(new.path);
        if let Some(query) = new.query {
            self.text.push(b'?');
            self.text.extend_from_slice(query);
        }
        self.fields.clear();
        fields_into(&mut self.fields, new.fields, new.hidden_field);
        let start = self.begin_entry();
        let call = RecordedCall {
            id,
            webhook: new.webhook,
            unix_millis: new.now.unix_millis,
            events: new.events.unwrap_or(self.events).min(EVENTS_MAX),
            kind: new.kind,
            is_sent: new.is_sent,
            is_text: new.is_text,
            is_http10: new.is_http10,
            is_whole: new.is_whole,
            is_chunked: new.is_chunked,
            peer: new.peer,
            connection: new.connection,
            replay_of: new.replay_of,
            body_bytes: new.body_bytes,
            method: new.method,
            path: &self.text,
            fields: &self.fields,
            body: &new.body[..new.body.len().min(BODY_KEPT_BYTES_MAX)],
            request_id: new.request_id,
        };
        Entry::Call(call).write(&mut self.batch);
        self.spend(start);
        OpenRecord::of(CallRecord { record: id, webhook: new.webhook }, new.now.nanos)
    }

    /// Ends a record, or ends it otherwise than it was said before.
    pub fn answer(&mut self, open: &OpenRecord, new: &NewAnswer<'_>) {
        self.answer_in_part(open, new, new.response.len() as u64);
    }

    /// As [`CoreRecords::answer`], for a response of `response_bytes` bytes of which the beginning was kept.
    pub fn answer_in_part(&mut self, open: &OpenRecord, new: &NewAnswer<'_>, response_bytes: u64) {
        let start = self.begin_entry();
        let began = open.began_nanos;
        let verified = open.verified_nanos.max(began);
        let has_run = open.ran_nanos > 0;
        // Flows that have not run to their end reply now.
        let runs = if has_run || open.verified_nanos == 0 { open.ran_nanos } else { new.nanos };
        let ran = runs.max(verified);
        let answer = CallAnswer {
            record: open.id,
            webhook: open.webhook,
            status: new.status,
            duration_nanos: new.nanos.saturating_sub(began),
            body_nanos: open.body_nanos,
            verify_nanos: verified - began,
            flows_nanos: ran - verified,
            wait_nanos: if has_run { new.nanos.saturating_sub(ran) } else { 0 },
            response_bytes,
            refusal: new.refusal.unwrap_or_default().as_bytes(),
            response: &new.response[..new.response.len().min(BODY_KEPT_BYTES_MAX)],
        };
        Entry::Answer(answer).write(&mut self.batch);
        self.spend(start);
    }

    /// Notes what became of a call that has a record.
    pub fn fate(&mut self, of: CallRecord, new: &NewFate<'_>, now: Now) {
        let start = self.begin_entry();
        let fate = Fate {
            record: of.record,
            webhook: of.webhook,
            flow: new.flow,
            unix_millis: now.unix_millis,
            kind: new.kind,
            attempts: new.attempts,
            status: new.status,
            node: new.node.as_bytes(),
            error: &new.error.as_bytes()[..new.error.len().min(ERROR_BYTES_MAX)],
        };
        Entry::Fate(fate).write(&mut self.batch);
        self.spend(start);
    }

    fn begin_entry(&mut self) -> usize {
        if self.batch.capacity() == 0 {
            self.batch.reserve(BATCH_BYTES_FIRST);
        }
        self.batch.len()
    }

    fn spend(&mut self, start: usize) {
        let bytes = self.batch.len() - start;
        self.budget = self.budget.saturating_sub(bytes + RECORD_COST_BYTES);
    }

    /// Whether a timer is to be set after which [`CoreRecords::hand_over`] is called. Says so once.
    #[inline]
    pub fn wants_timer(&mut self) -> bool {
        let has_some = !self.batch.is_empty() || !self.listed.is_empty();
        has_some && !std::mem::replace(&mut self.is_timed, true)
    }

    /// Whether the batch is large enough to be handed over at once.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_BYTES
    }

    /// The timer has fired: hands over what there is.
    pub fn on_timer(&mut self, now: Now) {
        self.is_timed = false;
        if now.nanos >= self.last_calls_due {
            if self.last_calls_due > 0 {
                self.tell_last_calls();
            }
            self.last_calls_due = now.nanos + LAST_CALLS_NANOS;
        }
        self.hand_over();
    }

    /// Hands over what there is, and when these webhooks were last called.
    pub fn settle(&mut self, webhooks: &[Id]) {
        for webhook in webhooks {
            if let Some(seat) = self.seats.find_taken(*webhook) {
                let (webhook, unix_millis) = (seat.webhook, seat.last_call);
                Entry::LastCall { webhook, unix_millis }.write(&mut self.batch);
            }
        }
        self.hand_over();
    }

    /// The core ends: hands over all that it knows.
    pub fn end(&mut self) {
        self.tell_last_calls();
        self.hand_over();
    }

    /// Hands over what there is.
    pub fn hand_over(&mut self) {
        for place in std::mem::take(&mut self.listed) {
            let seat = self.seats.at(place as usize);
            if !std::mem::take(&mut seat.is_listed) {
                continue;
            }
            let (folded, skipped) = (std::mem::take(&mut seat.folded), std::mem::take(&mut seat.skipped));
            let (webhook, unix_millis) = (seat.webhook, seat.last_call);
            if folded > 0 || skipped > 0 {
                Entry::Count { webhook, unix_millis, skipped, folded }.write(&mut self.batch);
            }
        }
        if !self.batch.is_empty() {
            // The sink says of what it cannot take.
            self.sink.take(std::mem::take(&mut self.batch));
        }
    }

    fn tell_last_calls(&mut self) {
        let batch = &mut self.batch;
        for seat in self.seats.taken() {
            Entry::LastCall { webhook: seat.webhook, unix_millis: seat.last_call }.write(batch);
        }
    }

    /// Tells of a seat that was given up.
    fn tell_of(&mut self, seat: &Seat) {
        let Seat { webhook, folded, skipped, last_call, .. } = *seat;
        if folded > 0 || skipped > 0 {
            let unix_millis = last_call;
            Entry::Count { webhook, unix_millis, skipped, folded }.write(&mut self.batch);
        }
        Entry::LastCall { webhook, unix_millis: last_call }.write(&mut self.batch);
    }
}
