//! Records as the API shows them.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::AdminState;
use crate::base::id::Id;
use crate::base::text::base64_into;
use crate::model::time_text;
use crate::record::{CallAnswer, Fate, Kind, Record, RecordQuery, RecordedCall};
use crate::trigger::Tail;

/// Fields of a response that are shown: as many as a reply can have, and those of the engine.
const FIELDS_MAX: usize = 256;
/// Status of a refusal by the rate: the one that says nothing of the call itself.
const OVER_RATE: u16 = 429;

/// Shows the records of one webhook.
pub(super) struct Shower {
    pub(super) state: Arc<AdminState>,
    pub(super) webhook: Id,
    /// The rest of a payload that is for no flow.
    pub(super) tail: Tail,
    pub(super) with_payload: bool,
}

/// A record in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    id: String,
    time: String,
    kind: &'static str,
    direction: &'static str,
    connection_id: Option<String>,
    method: String,
    path: String,
    peer: Option<String>,
    status: Option<u16>,
    duration_ms: Option<f64>,
    bytes: u64,
    response_bytes: u64,
    refusal: Option<String>,
    count: u32,
    last_time: String,
    replay_of: Option<String>,
    request_id: Option<String>,
    flows: Vec<Value>,
    payload: Option<Box<RawValue>>,
}

/// One record with all that is kept of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Whole {
    #[serde(flatten)]
    item: Item,
    request: Value,
    response: Value,
    steps: Value,
    is_replayable: bool,
}

impl Shower {
    /// A record in a list; `None` if it cannot be read.
    pub(super) fn item(&self, record: &Record) -> Option<Item> {
        let call = record.call()?;
        let answer = record.answer();
        let refusal = answer.map(|answer| answer.refusal).filter(|refusal| !refusal.is_empty());
        Some(Item {
            id: record.id().to_string(),
            time: time_text(record.unix_millis()),
            kind: call.kind.name(),
            direction: if call.is_sent { "out" } else { "in" },
            connection_id: call.connection.map(|id| id.to_string()),
            method: text_of(call.method),
            path: if call.path.is_empty() { "/".to_owned() } else { text_of(call.path) },
            peer: call.peer.map(|ip: IpAddr| ip.to_canonical().to_string()),
            status: answer.map(|answer| answer.status),
            duration_ms: answer.map(|answer| millis(answer.duration_nanos)),
            bytes: call.body_bytes,
            response_bytes: answer.map_or(0, |answer| answer.response_bytes),
            refusal: refusal.map(text_of),
            count: record.count(),
            last_time: time_text(record.last_millis()),
            replay_of: call.replay_of.map(|id| id.to_string()),
            request_id: (!call.request_id.is_empty()).then(|| text_of(call.request_id)),
            flows: record.fates().map(|fate| fate_of(&fate)).collect(),
            payload: if self.with_payload { self.payload(record, &call) } else { None },
        })
    }

    /// One record with all that is kept of it; `None` if it cannot be read.
    pub(super) fn whole(&self, record: &Record) -> Option<Whole> {
        let call = record.call()?;
        let answer = record.answer();
        Some(Whole {
            item: self.item(record)?,
            request: request_of(&call),
            response: answer.map_or(Value::Null, |answer| response_of(&answer)),
            steps: answer.map_or(Value::Null, |answer| {
                json!({
                    "bodyMs": millis(answer.body_nanos), "verifyMs": millis(answer.verify_nanos),
                    "flowsMs": millis(answer.flows_nanos), "waitMs": millis(answer.wait_nanos),
                })
            }),
            is_replayable: why_not_replayed(record).is_none(),
        })
    }

    fn payload(&self, record: &Record, call: &RecordedCall<'_>) -> Option<Box<RawValue>> {
        let connect = call.connection.filter(|_| call.kind != Kind::Connect).and_then(|connection| {
            let query = RecordQuery {
                kinds: vec![Kind::Connect],
                connection: Some(connection),
                ..RecordQuery::default()
            };
            self.state.shelf.page(self.webhook, &query, 0, 1).records.pop()
        });
        let payload = self.state.engine.payload(self.webhook, record, connect.as_ref(), &self.tail)?;
        // A payload is valid JSON however it came about.
        String::from_utf8(payload).ok().and_then(|payload| RawValue::from_string(payload).ok())
    }
}

/// Why a record is not sent again, if it is not.
pub(super) fn why_not_replayed(record: &Record) -> Option<&'static str> {
    let Some(call) = record.call() else { return Some("the record cannot be read") };
    if call.kind != Kind::Request {
        return Some("what happened on a WebSocket cannot be sent again");
    }
    if !call.is_whole {
        return Some("the request was not received to its end");
    }
    if !call.has_whole_body() {
        return Some("the body is longer than what is kept of it");
    }
    let answer = record.answer()?;
    let was_refused = !answer.refusal.is_empty() && (400..500).contains(&answer.status);
    (was_refused && answer.status != OVER_RATE).then_some("the request was refused and not let in")
}

fn fate_of(fate: &Fate<'_>) -> Value {
    let given = |text: &[u8]| (!text.is_empty()).then(|| text_of(text));
    json!({
        "flowId": fate.flow.to_string(), "nodeId": given(fate.node), "fate": fate.kind.name(),
        "attempts": fate.attempts, "status": (fate.status > 0).then_some(fate.status),
        "error": given(fate.error), "time": time_text(fate.unix_millis),
    })
}

fn request_of(call: &RecordedCall<'_>) -> Value {
    let headers: Vec<[String; 2]> =
        call.headers().map(|(name, value)| [text_of(name), text_of(value)]).collect();
    json!({
        "version": match call.kind {
            Kind::Request | Kind::Connect if call.is_http10 => Value::from("HTTP/1.0"),
            Kind::Request | Kind::Connect => Value::from("HTTP/1.1"),
            Kind::Message | Kind::Close => Value::Null,
        },
        "headers": headers,
        "body": body_of(call.body, call.body_bytes, call.has_whole_body()),
    })
}

fn response_of(answer: &CallAnswer<'_>) -> Value {
    if answer.response.is_empty() {
        return Value::Null;
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(end)) = response.parse(answer.response) else {
        // A head that is longer than what is kept.
        return Value::Null;
    };
    let headers: Vec<[String; 2]> =
        response.headers.iter().map(|field| [field.name.to_owned(), text_of(field.value)]).collect();
    let body = &answer.response[end..];
    let body_bytes = answer.response_bytes.saturating_sub(end as u64);
    json!({
        "status": response.code, "reason": response.reason, "headers": headers,
        "body": body_of(body, body_bytes, body_bytes == body.len() as u64),
    })
}

fn body_of(kept: &[u8], bytes: u64, is_whole: bool) -> Value {
    // A text that is cut within a character is text.
    let text = match std::str::from_utf8(kept) {
        Ok(text) => Some(text),
        Err(error) if !is_whole && error.error_len().is_none() => {
            std::str::from_utf8(&kept[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let base64 = text.is_none().then(|| {
        let mut out = Vec::new();
        base64_into(&mut out, kept);
        String::from_utf8_lossy(&out).into_owned()
    });
    json!({"text": text, "base64": base64, "bytes": bytes, "isWhole": is_whole})
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Text as payloads show it: UTF-8, or else Latin-1.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}
