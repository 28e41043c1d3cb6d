//! Bodies that nobody read: an answer may leave before its request's body is there. What is left of the body is read and
//! dropped, so that the next request of the connection is found where it begins; where that is not done, the answer
//! announces that the connection closes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// Bytes of a body that are read and dropped.
const DROP_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long that may take.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that its reader may leave: it stays here until the answer is known.
pub(super) struct UnreadBody {
    body: Arc<Mutex<Body>>,
    /// The client asked whether to send its body: reading it would say yes.
    is_announced: bool,
}

/// The body as its reader has it.
struct LentBody(Arc<Mutex<Body>>);

impl UnreadBody {
    /// Takes the body of a request; the request goes on with a loan of it.
    pub(super) fn lend(request: Request) -> (UnreadBody, Request) {
        let (parts, body) = request.into_parts();
        let is_announced = parts.headers.contains_key(header::EXPECT);
        let body = Arc::new(Mutex::new(body));
        let lent = Body::new(LentBody(Arc::clone(&body)));
        (UnreadBody { body, is_announced }, Request::from_parts(parts, lent))
    }

    /// Has what is left of the body dropped while the answer leaves, or announces the connection's end.
    pub(super) fn settle(self, response: &mut Response) {
        let body = std::mem::take(&mut *lock(&self.body));
        if body.is_end_stream() {
            return;
        }
        if self.is_announced || body.size_hint().lower() > DROP_BYTES_MAX {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if !self.is_announced {
            tokio::spawn(tokio::time::timeout(DROP_TIMEOUT, drop_rest(body)));
        }
    }
}

async fn drop_rest(mut body: Body) {
    let mut dropped = 0;
    while dropped < DROP_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else { return };
        dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

fn lock(body: &Mutex<Body>) -> std::sync::MutexGuard<'_, Body> {
    // A reader that panicked left the body where it was.
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *lock(&self.0)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).size_hint()
    }
}
