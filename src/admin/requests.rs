//! `GET …/requests`: a webhook's last requests, and each further one as it comes (server-sent events, WHATWG HTML,
//! section 9.2).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::IntoResponse;
use hyper::body::Frame;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Receiver;
use tokio::time::Interval;

use super::AdminState;
use super::error::{ApiError, Kind};
use super::resources::webhook_of;
use super::routes::{Call, Outcome};
use crate::base::id::Id;
use crate::store::Resource;

/// Requests that an answer shows at most; the newest.
pub const RECENT_MAX: usize = 100;

/// Streams at a time. Each costs the cores a copy of every payload of its webhook.
pub(super) const WATCHES_MAX: usize = 64;

/// Silence after which a comment is sent, so that whatever stands between knows that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often an open stream looks whether the process is going down, so that it does not hold the end up, and whether
/// its webhook is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

const EVENT_STREAM: &str = "text/event-stream";

/// A request as it was seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenRequest {
    /// When it was whole, in milliseconds since 1970.
    #[serde(rename = "time", serialize_with = "as_text")]
    pub time_millis: u64,
    /// As it came.
    pub method: String,
    /// What follows the token, with the query.
    pub path: String,
    /// Of the response.
    pub status: u16,
    /// From the last byte of the request to the response.
    pub duration_ms: f64,
    /// Of the body.
    pub bytes: u64,
    /// Why it was refused, where it was.
    pub refusal: Option<String>,
    /// What a flow got, where one did.
    pub payload: Option<Box<RawValue>>,
}

/// What a stream tells.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A request.
    Request(Box<SeenRequest>),
    /// So many were left out, since the stream was not read as fast as they came.
    Skipped(u64),
}

fn as_text<S: Serializer>(millis: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::model::time_text(*millis))
}

pub(super) async fn requests(call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    webhook_of(&call.state, application, id).await?;
    if wants_stream(&call) {
        return stream(&call.state, id);
    }
    let engine_error = |(status, message)| ApiError::from_engine(status, message);
    let mut items = call.state.engine.recent(id).await.map_err(engine_error)?;
    items.truncate(RECENT_MAX);
    let answer = Recent {
        count: items.len(),
        items,
        application_id: application.to_string(),
        webhook_id: id.to_string(),
    };
    let text = serde_json::to_vec(&answer).map_err(|error| ApiError::from_engine(500, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recent {
    items: Vec<SeenRequest>,
    count: usize,
    application_id: String,
    webhook_id: String,
}

fn wants_stream(call: &Call) -> bool {
    let accepted = call.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    kinds.any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(EVENT_STREAM))
}

fn stream(state: &Arc<AdminState>, webhook: Id) -> Outcome {
    let full = || {
        ApiError::new(Kind::Internal, format!("at most {WATCHES_MAX} streams at a time; close one"))
            .with_status(axum::http::StatusCode::SERVICE_UNAVAILABLE)
    };
    let place = Arc::clone(&state.watches).try_acquire_owned().map_err(|_| full())?;
    let seen =
        state.engine.watch(webhook).map_err(|(status, message)| ApiError::from_engine(status, message))?;
    let body = Events {
        state: Arc::clone(state),
        webhook,
        seen,
        look: tokio::time::interval(LOOK_INTERVAL),
        silent_looks: 0,
        begun: false,
        _place: place,
    };
    Ok(([(header::CONTENT_TYPE, EVENT_STREAM)], Body::new(body)).into_response())
}

/// The body of a stream.
struct Events {
    state: Arc<AdminState>,
    webhook: Id,
    seen: Receiver<Seen>,
    look: Interval,
    /// Looks since something was sent.
    silent_looks: u32,
    /// Whether the first comment left: it tells the client that the stream is there.
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = serde_json::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, serde_json::Error>>> {
        let send = |text: String| Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))));
        if !self.begun {
            self.begun = true;
            return send(": open\n\n".to_owned());
        }
        match self.seen.poll_recv(context) {
            Poll::Ready(Some(seen)) => {
                self.silent_looks = 0;
                return match event(&seen) {
                    Ok(text) => send(text),
                    Err(error) => Poll::Ready(Some(Err(error))),
                };
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        while self.look.poll_tick(context).is_ready() {
            if !self.state.engine.ready() || !self.state.engine.serves(self.webhook) {
                return Poll::Ready(None);
            }
            self.silent_looks += 1;
            if u64::from(self.silent_looks) * LOOK_INTERVAL.as_secs() >= HEARTBEAT.as_secs() {
                self.silent_looks = 0;
                return send(": still here\n\n".to_owned());
            }
        }
        Poll::Pending
    }
}

/// One event. JSON has no line end outside of its strings' escapes, unless a payload brought white space along.
fn event(seen: &Seen) -> Result<String, serde_json::Error> {
    Ok(match seen {
        Seen::Request(request) => {
            let json = serde_json::to_string(request)?;
            let mut text = String::with_capacity(json.len() + 16);
            // Each line of the data has its field; the client joins them with line ends again.
            for line in json.split(['\n', '\r']) {
                text.push_str("data: ");
                text.push_str(line);
                text.push('\n');
            }
            text.push('\n');
            text
        }
        Seen::Skipped(count) => format!("event: skipped\ndata: {count}\n\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(payload: &str) -> Seen {
        Seen::Request(Box::new(SeenRequest {
            time_millis: 1_771_521_960_123,
            method: "POST".to_owned(),
            path: "/a?b=c".to_owned(),
            status: 200,
            duration_ms: 1.5,
            bytes: 3,
            refusal: None,
            payload: Some(RawValue::from_string(payload.to_owned()).expect("JSON")),
        }))
    }

    #[test]
    fn a_request_is_one_event_with_the_fields_of_the_specification() {
        assert_eq!(
            event(&seen("{\"n\":1.00}")).expect("serializes"),
            "data: {\"time\":\"2026-02-19T17:26:00.123Z\",\"method\":\"POST\",\"path\":\"/a?b=c\",\
             \"status\":200,\"durationMs\":1.5,\"bytes\":3,\"refusal\":null,\"payload\":{\"n\":1.00}}\n\n"
        );
        assert_eq!(event(&Seen::Skipped(7)).expect("text"), "event: skipped\ndata: 7\n\n");
    }

    #[test]
    fn a_payload_with_line_ends_cannot_end_its_event() {
        let text = event(&seen("{\n\n\"a\":\r1}")).expect("serializes");
        assert_eq!(text.matches("\n\n").count(), 1);
        let joined: Vec<&str> = text.trim_end().lines().map(|line| &line["data: ".len()..]).collect();
        let json: serde_json::Value = serde_json::from_str(&joined.join("\n")).expect("JSON again");
        assert_eq!(json["payload"]["a"], 1);
    }
}
