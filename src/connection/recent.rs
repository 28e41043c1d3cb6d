//! The last requests of a core, for those who look at a webhook ([REST API](crate::guide::rest_api), `GET …/requests`),
//! and the streams of those who watch one.
//!
//! Every response leaves one record in a ring of a fixed number of places, whatever webhook it was for: a record
//! overwrites the oldest one and uses its memory again. So keeping them costs the same for one webhook and for a
//! million, and nothing is allocated for a request. Payloads are kept only for webhooks that somebody has looked at
//! in the last ten minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::trigger::Payload;

/// Records of a core. A webhook's last hundred are among them unless others had this many requests since.
pub const RECORDS_MAX: usize = 16_384;
/// Bytes of a path with its query that are kept.
const PATH_BYTES_MAX: usize = 512;
/// Bytes of a refusal that are kept.
const REFUSAL_BYTES_MAX: usize = 256;
/// Bytes of method, path and refusal that lie in the record itself: enough for `POST`, a short path and a rate that is
/// exceeded.
const TEXT_BYTES_INLINE: usize = 40;
/// Bytes of a payload that is kept and shown; of a larger one it is not shown.
pub const SHOWN_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of payloads that are kept on a core.
const KEPT_PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long after the last look payloads are kept.
const LOOK_NANOS: u64 = 600 * NANOS_PER_SECOND;
/// Records a second of one webhook that its streams get from one core; more are counted and left out.
const STREAMED_PER_SECOND_MAX: u32 = 100;
/// Webhooks that are looked at at a time; one more, and the look that is longest ago is forgotten.
const LOOKED_AT_MAX: usize = 256;

/// A request as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenRequest {
    /// When it was whole, in milliseconds since 1970.
    pub unix_millis: u64,
    /// As it came; `MESSAGE` and `CLOSE` on a WebSocket.
    pub method: String,
    /// The path behind the token, with the query.
    pub path: String,
    /// Of the response, or of the close.
    pub status: u16,
    pub duration_nanos: u64,
    /// Of the body or the message.
    pub bytes: u64,
    pub refusal: Option<String>,
    /// JSON.
    pub payload: Option<Vec<u8>>,
}

/// The observer of a webhook's requests. Called on the core: must not block.
pub trait RequestSink: Send + Sync {
    /// A request. False: nobody reads any more.
    fn request(&self, seen: SeenRequest) -> bool;
    /// So many were left out since the last one.
    fn skipped(&self, count: u64);
    /// Whether nobody reads any more.
    fn is_gone(&self) -> bool;
}

/// A response that left.
pub(crate) struct Note<'a> {
    pub(crate) webhook: Id,
    pub(crate) now: Now,
    /// How long it took; none where it is decided in the present batch.
    pub(crate) duration_nanos: Option<u64>,
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) query: Option<&'a [u8]>,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) refusal: Option<&'a str>,
    pub(crate) payload: Option<Payload>,
}

struct Record {
    webhook: Id,
    unix_millis: u64,
    duration_nanos: u64,
    bytes: u64,
    status: u16,
    method_bytes: u16,
    path_bytes: u16,
    /// Method, path and refusal, one after the other. A short text lies in the record, so that keeping one touches what
    /// lies behind the one before and nothing else.
    text: SmallVec<[u8; TEXT_BYTES_INLINE]>,
    /// Boxed, since few have one and every record would have room for it.
    payload: Option<Box<Payload>>,
}

// One to each response, in turn: what is written of it are two lines of the cache.
const _: () = assert!(size_of::<Record>() <= 104);

struct Look {
    until_nanos: u64,
    sinks: Vec<Arc<dyn RequestSink>>,
    /// The start of the second in which `streamed` and `skipped` are counted.
    second: u64,
    streamed: u32,
    skipped: u64,
}

/// The records of a core.
#[derive(Default)]
pub(crate) struct Recent {
    records: Vec<Record>,
    next: usize,
    /// Places whose duration is not known before the batch ends.
    batch: VecDeque<usize>,
    looks: HashMap<Id, Look, ahash::RandomState>,
    payload_bytes: usize,
}

impl Recent {
    /// Whether payloads of a webhook are to be kept.
    pub(crate) fn keeps_payloads(&self, webhook: Id, now: Now) -> bool {
        !self.looks.is_empty() && self.looks.get(&webhook).is_some_and(|look| look.until_nanos > now.nanos)
    }

    /// Keeps a record.
    pub(crate) fn note(&mut self, note: Note<'_>) {
        let place = self.next;
        self.next = (self.next + 1) % RECORDS_MAX;
        if place == self.records.len() {
            self.records.push(Record {
                webhook: note.webhook,
                unix_millis: 0,
                duration_nanos: 0,
                bytes: 0,
                status: 0,
                method_bytes: 0,
                path_bytes: 0,
                text: SmallVec::new(),
                payload: None,
            });
        }
        let record = &mut self.records[place];
        if let Some(payload) = record.payload.take() {
            self.payload_bytes -= payload.len();
        }
        record.webhook = note.webhook;
        record.unix_millis = note.now.unix_millis;
        record.duration_nanos = note.duration_nanos.unwrap_or(0);
        record.bytes = note.bytes;
        record.status = note.status;
        record.text.clear();
        record.text.extend_from_slice(&note.method[..note.method.len().min(PATH_BYTES_MAX)]);
        record.method_bytes = record.text.len() as u16;
        let path_start = record.text.len();
        record.text.extend_from_slice(if note.path.is_empty() { b"/" } else { note.path });
        if let Some(query) = note.query {
            record.text.push(b'?');
            record.text.extend_from_slice(query);
        }
        record.text.truncate(path_start + PATH_BYTES_MAX);
        record.path_bytes = (record.text.len() - path_start) as u16;
        if let Some(refusal) = note.refusal {
            record.text.extend_from_slice(&refusal.as_bytes()[..refusal.len().min(REFUSAL_BYTES_MAX)]);
        }
        if let Some(payload) = note.payload
            && payload.len() <= SHOWN_PAYLOAD_BYTES_MAX
            && self.payload_bytes + payload.len() <= KEPT_PAYLOAD_BYTES_MAX
        {
            self.payload_bytes += payload.len();
            record.payload = Some(Box::new(payload));
        }
        if note.duration_nanos.is_some() {
            self.publish(place, note.now);
        } else {
            self.batch.push_back(place);
        }
    }

    /// The batch is over: what was decided in it took this long.
    pub(crate) fn end_batch(&mut self, now: Now, elapsed_nanos: u64) {
        while let Some(place) = self.batch.pop_front() {
            self.records[place].duration_nanos = elapsed_nanos;
            if !self.looks.is_empty() {
                self.publish(place, now);
            }
        }
    }

    /// The webhook's records, newest first, at most `most`. Whoever asks is looking at it.
    pub(crate) fn last(&mut self, webhook: Id, most: usize, now: Now) -> Vec<SeenRequest> {
        self.look(webhook, now);
        let (newer, older) = self.records.split_at(self.next.min(self.records.len()));
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        newest_first.filter(|record| record.webhook == webhook).take(most).map(Record::seen).collect()
    }

    /// When each of the webhooks had its last request, in milliseconds since 1970, where that is known.
    pub(crate) fn last_calls(&self, webhooks: &[Id]) -> Vec<(Id, u64)> {
        let mut last: HashMap<Id, u64, ahash::RandomState> = webhooks.iter().map(|id| (*id, 0)).collect();
        for record in &self.records {
            if let Some(millis) = last.get_mut(&record.webhook) {
                *millis = record.unix_millis.max(*millis);
            }
        }
        last.into_iter().filter(|(_, millis)| *millis > 0).collect()
    }

    /// Somebody wants each further request of a webhook.
    pub(crate) fn watch(&mut self, webhook: Id, sink: Arc<dyn RequestSink>, now: Now) {
        let look = self.look(webhook, now);
        look.sinks.retain(|sink| !sink.is_gone());
        look.sinks.push(sink);
    }

    fn look(&mut self, webhook: Id, now: Now) -> &mut Look {
        if self.looks.len() >= LOOKED_AT_MAX && !self.looks.contains_key(&webhook) {
            self.looks.retain(|_, look| {
                look.sinks.retain(|sink| !sink.is_gone());
                !look.sinks.is_empty() || look.until_nanos > now.nanos
            });
            if self.looks.len() >= LOOKED_AT_MAX
                && let Some(oldest) =
                    self.looks.iter().min_by_key(|(_, look)| look.until_nanos).map(|(id, _)| *id)
            {
                self.looks.remove(&oldest);
            }
        }
        let look = self.looks.entry(webhook).or_insert_with(|| Look {
            until_nanos: 0,
            sinks: Vec::new(),
            second: 0,
            streamed: 0,
            skipped: 0,
        });
        look.until_nanos = now.nanos + LOOK_NANOS;
        look
    }

    /// Gives a record to those who watch its webhook.
    fn publish(&mut self, place: usize, now: Now) {
        let record = &self.records[place];
        let Some(look) = self.looks.get_mut(&record.webhook) else { return };
        if look.sinks.is_empty() {
            if look.until_nanos <= now.nanos {
                self.looks.remove(&record.webhook);
            }
            return;
        }
        look.until_nanos = now.nanos + LOOK_NANOS;
        let second = now.nanos / NANOS_PER_SECOND;
        if look.second != second {
            (look.second, look.streamed) = (second, 0);
        }
        if look.streamed >= STREAMED_PER_SECOND_MAX {
            look.skipped += 1;
            return;
        }
        look.streamed += 1;
        let skipped = std::mem::take(&mut look.skipped);
        look.sinks.retain(|sink| {
            if skipped > 0 {
                sink.skipped(skipped);
            }
            sink.request(record.seen())
        });
    }
}

impl Record {
    fn seen(&self) -> SeenRequest {
        let (method, rest) = self.text.split_at(usize::from(self.method_bytes));
        let (path, refusal) = rest.split_at(usize::from(self.path_bytes));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        SeenRequest {
            unix_millis: self.unix_millis,
            method: text(method),
            path: text(path),
            status: self.status,
            duration_nanos: self.duration_nanos,
            bytes: self.bytes,
            refusal: (!refusal.is_empty()).then(|| text(refusal)),
            payload: self.payload.as_ref().map(|payload| {
                let mut bytes = Vec::with_capacity(payload.len());
                payload.write(&mut bytes);
                bytes
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[derive(Default)]
    struct Reader {
        seen: Mutex<Vec<String>>,
        gone: AtomicBool,
    }

    impl RequestSink for Reader {
        fn request(&self, seen: SeenRequest) -> bool {
            self.seen.lock().unwrap().push(format!("{} {}", seen.path, seen.duration_nanos));
            !self.gone.load(Relaxed)
        }
        fn skipped(&self, count: u64) {
            self.seen.lock().unwrap().push(format!("{count} skipped"));
        }
        fn is_gone(&self) -> bool {
            self.gone.load(Relaxed)
        }
    }

    fn webhook(number: u64) -> Id {
        format!("{number:024x}").parse().unwrap()
    }

    fn at(nanos: u64) -> Now {
        Now { nanos, unix_millis: 1_000 + nanos / 1_000_000 }
    }

    fn note(recent: &mut Recent, number: u64, path: &str, now: Now) {
        recent.note(Note {
            webhook: webhook(number),
            now,
            duration_nanos: None,
            method: b"POST",
            path: path.as_bytes(),
            query: Some(b"a=1"),
            status: 200,
            bytes: 7,
            refusal: None,
            payload: None,
        });
    }

    #[test]
    fn the_newest_come_first_and_of_one_webhook_alone() {
        let mut recent = Recent::default();
        for step in 0..RECORDS_MAX as u64 + 10 {
            note(&mut recent, step % 3, &format!("/{step}"), at(step));
        }
        recent.end_batch(at(0), 5);
        assert_eq!(recent.records.len(), RECORDS_MAX);
        let last = recent.last(webhook(1), 2, at(0));
        let newest = (RECORDS_MAX as u64..RECORDS_MAX as u64 + 10).rev().find(|step| step % 3 == 1).unwrap();
        let expected = [format!("/{newest}?a=1"), format!("/{}?a=1", newest - 3)];
        assert_eq!(last.iter().map(|seen| seen.path.clone()).collect::<Vec<_>>(), expected);
        assert_eq!((last[0].method.as_str(), last[0].bytes, last[0].duration_nanos), ("POST", 7, 5));
    }

    #[test]
    fn long_paths_and_refusals_are_cut_and_stay_apart() {
        let mut recent = Recent::default();
        let (path, refusal) = ("/".repeat(PATH_BYTES_MAX * 2), "x".repeat(REFUSAL_BYTES_MAX * 2));
        recent.note(Note {
            webhook: webhook(1),
            now: at(0),
            duration_nanos: Some(1),
            method: b"GET",
            path: path.as_bytes(),
            query: None,
            status: 401,
            bytes: 0,
            refusal: Some(&refusal),
            payload: None,
        });
        let seen = &recent.last(webhook(1), 1, at(0))[0];
        assert_eq!((seen.method.as_str(), seen.path.len()), ("GET", PATH_BYTES_MAX));
        assert_eq!(seen.refusal.as_ref().map(String::len), Some(REFUSAL_BYTES_MAX));
    }

    #[test]
    fn a_stream_gets_what_comes_after_it_and_hears_what_it_missed() {
        let mut recent = Recent::default();
        note(&mut recent, 1, "/before", at(0));
        recent.end_batch(at(0), 1);
        let reader = Arc::new(Reader::default());
        recent.watch(webhook(1), Arc::clone(&reader) as Arc<dyn RequestSink>, at(0));
        for step in 0..STREAMED_PER_SECOND_MAX + 5 {
            note(&mut recent, 1, &format!("/{step}"), at(1));
        }
        recent.end_batch(at(1), 9);
        note(&mut recent, 2, "/other", at(NANOS_PER_SECOND));
        note(&mut recent, 1, "/later", at(NANOS_PER_SECOND));
        recent.end_batch(at(NANOS_PER_SECOND), 9);
        let seen = reader.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), STREAMED_PER_SECOND_MAX as usize + 2);
        assert_eq!(seen[0], "/0?a=1 9");
        assert_eq!(&seen[seen.len() - 2..], ["5 skipped", "/later?a=1 9"]);
    }

    #[test]
    fn payloads_are_kept_for_ten_minutes_after_the_last_look() {
        let mut recent = Recent::default();
        assert!(!recent.keeps_payloads(webhook(1), at(0)));
        assert!(recent.last(webhook(1), 100, at(0)).is_empty());
        assert!(recent.keeps_payloads(webhook(1), at(LOOK_NANOS - 1)));
        assert!(!recent.keeps_payloads(webhook(1), at(LOOK_NANOS)));
        assert!(!recent.keeps_payloads(webhook(2), at(1)));
    }

    #[test]
    fn a_reader_that_is_gone_is_let_go_of_and_looks_have_a_bound() {
        let mut recent = Recent::default();
        let reader = Arc::new(Reader::default());
        recent.watch(webhook(1), Arc::clone(&reader) as Arc<dyn RequestSink>, at(0));
        reader.gone.store(true, Relaxed);
        for _ in 0..2 {
            note(&mut recent, 1, "/", at(1));
            recent.end_batch(at(1), 1);
        }
        assert_eq!(reader.seen.lock().unwrap().len(), 1);
        for number in 0..LOOKED_AT_MAX as u64 * 2 {
            recent.last(webhook(number), 1, at(number));
        }
        assert_eq!(recent.looks.len(), LOOKED_AT_MAX);
    }
}
