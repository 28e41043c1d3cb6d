//! One attempt: a request to a target, and what of its answer is of use.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::connect::{ConnectError, Connector};
use super::passing::Passing;
use super::reporting::report;
use crate::base::clock::{Clock, Now};
use crate::base::random::Random;
use crate::deliver::request::{ForwardRequest, request};
use crate::deliver::schedule::retry_after;
use crate::engine::{ANSWER_KEPT_BYTES_MAX, Attempt, AttemptError, AttemptResult, TargetAnswer};
use crate::metrics::TargetsInFlight;
use crate::registry::{ForwardNode, TargetNode};

/// How long a connection is kept that nothing is sent on: shorter than most servers keep one.
const IDLE_TIME: Duration = Duration::from_secs(55);
/// Connections to one target that are kept while nothing is sent on them.
const IDLE_MAX: usize = 128;
/// A connection of HTTP/2 carries all requests to its target: one that has died without a word is found out by a ping.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIME: Duration = Duration::from_secs(10);
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The rest of an answer that is of no use is received to keep its connection, up to this many bytes and this long.
const DROPPED_BYTES_MAX: usize = 64 * 1024;
const DROP_TIME: Duration = Duration::from_secs(5);

/// Told of attempts: for traces. Called on the threads that make them.
pub(crate) trait AttemptSink: Send + Sync {
    /// An attempt ended, whose request named `span` as its own.
    fn attempted(&self, attempt: &Attempt, span: u64, began: Now, ended: Now, result: &AttemptResult);
}

/// Makes attempts.
pub(super) struct Exchanger {
    client: Client<Connector, Full<Bytes>>,
    counts: Arc<TargetsInFlight>,
    clock: Clock,
    /// Names of the attempts' spans.
    span_ids: Mutex<Random>,
    sink: Option<Arc<dyn AttemptSink>>,
}

impl Exchanger {
    pub(super) fn new(
        connector: Connector,
        counts: Arc<TargetsInFlight>,
        sink: Option<Arc<dyn AttemptSink>>,
        clock: Clock,
    ) -> Exchanger {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIME)
            .build(connector);
        Exchanger { client, counts, clock, span_ids: Mutex::new(Random::from_system()), sink }
    }

    /// Makes an attempt and reports its result.
    pub(super) async fn attempt(&self, attempt: Attempt) {
        let TargetNode::Http(node) = &attempt.node else {
            let elsewhere = AttemptError::Connect("this is no HTTP target".to_owned());
            report(AttemptResult::Failed(elsewhere), |result| attempt.report.report(result)).await;
            return;
        };
        let _in_flight = self.counts.begin(&node.target);
        let span = self.span_ids.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        let began = self.clock.now();
        let (result, rest) = self.exchange(node, &attempt, span).await;
        if let Some(sink) = &self.sink {
            sink.attempted(&attempt, span, began, self.clock.now(), &result);
        }
        report(result, |result| attempt.report.report(result)).await;
        if let Some(rest) = rest {
            // Too much, too slow or broken: the connection is closed.
            let _ = tokio::time::timeout(DROP_TIME, drop_rest(rest)).await;
        }
    }

    /// The result, and what of the answer's body was not received.
    async fn exchange(
        &self,
        node: &ForwardNode,
        attempt: &Attempt,
        span: u64,
    ) -> (AttemptResult, Option<Incoming>) {
        let ends = self.clock.now().nanos.saturating_add(attempt.timeout_nanos);
        let time = Duration::from_nanos(attempt.timeout_nanos);
        let (answer, mut body) = match timeout(time, self.head(node, attempt, span)).await {
            Err(_) => return (AttemptResult::Failed(AttemptError::TimedOut), None),
            Ok(Err(error)) => return (AttemptResult::Failed(error), None),
            Ok(Ok(answered)) => answered,
        };
        if let Some(bytes_max) = attempt.reply_bytes_max {
            let passing = Passing { answer, bytes_max, ends, caller_time: time, clock: self.clock };
            let result = passing.pass_on(body, &attempt.report).await;
            return (result.map_or_else(AttemptResult::Failed, AttemptResult::Answered), None);
        }
        let mut answer = answer;
        if !answer.is_success() {
            // What arrives of it is kept; that it ends well matters to nobody.
            answer.body = beginning(&mut body).await;
        }
        (AttemptResult::Answered(answer), Some(body))
    }

    /// The head of the answer, and its body.
    async fn head(
        &self,
        node: &ForwardNode,
        attempt: &Attempt,
        span: u64,
    ) -> Result<(TargetAnswer, Incoming), AttemptError> {
        let unix_seconds = self.clock.now().unix_seconds();
        let made = request(node, &attempt.payload, &attempt.id, unix_seconds, span)
            .map_err(AttemptError::Request)?;
        let response = self.client.request(hyper_request(made)?).await.map_err(|error| failure(&error))?;
        let (status, headers) = (response.status(), response.headers());
        let answer = TargetAnswer {
            status: status.as_u16(),
            retry_after_nanos: self.retry_after(status, headers),
            headers: if attempt.reply_bytes_max.is_some() { fields(headers) } else { Vec::new() },
            ..TargetAnswer::default()
        };
        Ok((answer, response.into_body()))
    }

    /// The pause that a target asks for, where the status is one that asks.
    fn retry_after(&self, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
        let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let value = headers.get(RETRY_AFTER).filter(|_| asks)?.to_str().ok()?;
        retry_after(value, self.clock.now().unix_seconds())
    }
}

fn hyper_request(made: ForwardRequest) -> Result<Request<Full<Bytes>>, AttemptError> {
    let mut builder = Request::builder().method(made.method.as_str()).uri(made.url);
    for (name, value) in made.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(made.body)).map_err(|error| AttemptError::Broken(error.to_string()))
}

/// The attempt's error for a failure of the client.
fn failure(error: &legacy::Error) -> AttemptError {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    let mut innermost = error.to_string();
    while let Some(error) = cause {
        if let Some(ConnectError(error)) = error.downcast_ref() {
            return error.clone();
        }
        innermost = error.to_string();
        cause = error.source();
    }
    AttemptError::Broken(innermost)
}

/// The fields of an answer that are text.
fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    text.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The first bytes of a body, as far as they arrive in time.
async fn beginning(body: &mut Incoming) -> Bytes {
    let mut kept = Vec::new();
    let receive = async {
        while kept.len() < ANSWER_KEPT_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            if let Some(data) = frame.data_ref() {
                kept.extend_from_slice(&data[..data.len().min(ANSWER_KEPT_BYTES_MAX - kept.len())]);
            }
        }
    };
    let _ = tokio::time::timeout(DROP_TIME, receive).await;
    kept.into()
}

/// Receives the rest of a body, if that is little.
async fn drop_rest(mut body: Incoming) {
    let mut left = DROPPED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(less) = left.checked_sub(bytes) else { return };
        left = less;
    }
}
