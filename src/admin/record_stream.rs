//! `GET …/requests` as a stream: each further record as it comes (server-sent events, WHATWG HTML, section 9.2).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Interval;

use super::AdminState;
use super::call::Outcome;
use super::error::{ApiError, Kind};
use super::record_shown::Shower;
use crate::record::{Noted, RecordQuery, Watcher};

/// Streams at a time. Each makes the payloads of its webhook.
pub(super) const WATCHES_MAX: usize = 64;
/// Changes that wait for a stream's reader; more are left out and counted.
const STREAM_ROOM: usize = 256;

/// Silence after which a comment is sent, so that whatever stands between knows that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often an open stream checks whether the process is going down, so that it does not hold the end up, and whether
/// its webhook is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

const EVENT_STREAM: &str = "text/event-stream";

/// Whether a stream is asked for.
pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    kinds.any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(EVENT_STREAM))
}

/// Answers with a stream of the records that are asked for, and of what other nodes tell of theirs.
pub(super) fn stream(
    state: &Arc<AdminState>,
    shower: Shower,
    query: RecordQuery,
    has_updates: bool,
    others: Option<Receiver<Bytes>>,
) -> Outcome {
    let full = || {
        ApiError::new(Kind::Internal, format!("at most {WATCHES_MAX} streams at a time; close one"))
            .with_status(axum::http::StatusCode::SERVICE_UNAVAILABLE)
    };
    let place = Arc::clone(&state.watches).try_acquire_owned().map_err(|_| full())?;
    let (sender, noted) = channel(STREAM_ROOM);
    state.shelf.watch(shower.webhook, Arc::new(StreamReader { sender, skipped: AtomicU64::new(0) }));
    let body = Events {
        shower,
        query,
        has_updates,
        noted,
        others,
        look: tokio::time::interval(LOOK_INTERVAL),
        silent_looks: 0,
        begun: false,
        _place: place,
    };
    Ok(([(header::CONTENT_TYPE, EVENT_STREAM)], Body::new(body)).into_response())
}

/// The reader of a stream.
struct StreamReader {
    sender: Sender<Noted>,
    /// Left out for want of room.
    skipped: AtomicU64,
}

impl Watcher for StreamReader {
    fn note(&self, noted: Noted) -> bool {
        let skipped = self.skipped.swap(0, Ordering::Relaxed);
        let webhook = noted.webhook();
        if skipped > 0 && self.sender.try_send(Noted::Skipped { webhook, count: skipped }).is_err() {
            self.skipped.fetch_add(skipped, Ordering::Relaxed);
        }
        if self.sender.try_send(noted).is_err() {
            let count = if let Noted::Skipped { count, .. } = noted { count } else { 1 };
            self.skipped.fetch_add(count, Ordering::Relaxed);
        }
        !self.sender.is_closed()
    }
}

/// The body of a stream.
struct Events {
    shower: Shower,
    query: RecordQuery,
    /// Whether changes of records that were told are told.
    has_updates: bool,
    noted: Receiver<Noted>,
    /// Events of the other nodes of a cluster, as they are sent.
    others: Option<Receiver<Bytes>>,
    look: Interval,
    /// Looks since something was sent.
    silent_looks: u32,
    /// Whether the first comment left: it tells the client that the stream is there.
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// The event of a change; `None` if the reader is not told of it.
    fn event(&self, noted: Noted) -> Option<String> {
        match noted {
            Noted::Record { is_new: false, .. } if !self.has_updates => None,
            Noted::Record { webhook, id, is_new } => {
                let record =
                    self.shower.state.shelf.find(webhook, id).filter(|record| self.query.fits(record))?;
                let json = serde_json::to_string(&self.shower.item(&record)?).ok()?;
                Some(event(if is_new { "" } else { "update" }, &json))
            }
            Noted::Skipped { count, .. } => Some(event("skipped", &count.to_string())),
        }
    }
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        let send = |text: String| Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))));
        if !self.begun {
            self.begun = true;
            return send(": open\n\n".to_owned());
        }
        loop {
            match self.noted.poll_recv(context) {
                Poll::Ready(Some(noted)) => {
                    if let Some(text) = self.event(noted) {
                        self.silent_looks = 0;
                        return send(text);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        if let Some(others) = &mut self.others {
            match others.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    self.silent_looks = 0;
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                Poll::Ready(None) => self.others = None,
                Poll::Pending => {}
            }
        }
        while self.look.poll_tick(context).is_ready() {
            let engine = &self.shower.state.engine;
            if !engine.ready() || !engine.serves(self.shower.webhook) {
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
fn event(name: &str, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + 32);
    if !name.is_empty() {
        text.push_str("event: ");
        text.push_str(name);
        text.push('\n');
    }
    // Each line of the data has its field; the client joins them with line ends again.
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_name_and_its_data() {
        assert_eq!(event("", "{\"n\":1.00}"), "data: {\"n\":1.00}\n\n");
        assert_eq!(event("skipped", "7"), "event: skipped\ndata: 7\n\n");
    }

    #[test]
    fn a_payload_with_line_ends_cannot_end_its_event() {
        let text = event("", "{\n\n\"a\":\r1}");
        assert_eq!(text.matches("\n\n").count(), 1);
        let joined: Vec<&str> = text.trim_end().lines().map(|line| &line["data: ".len()..]).collect();
        let json: serde_json::Value = serde_json::from_str(&joined.join("\n")).expect("JSON again");
        assert_eq!(json["a"], 1);
    }
}
