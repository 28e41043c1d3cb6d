//! Passes the answer of a target on to the caller that waits for it.
//!
//! An answer that is complete at once is passed on whole, and one that cannot be is refused as a whole. Of any other the
//! caller gets the head and what has been received while the rest is still under way; the target is held back where the
//! caller does not keep up.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::timeout;

use super::reporting::report;
use crate::base::clock::{Clock, NANOS_PER_SECOND};
use crate::engine::{ANSWER_KEPT_BYTES_MAX, AttemptError, AttemptReport, BegunAnswer, TargetAnswer};
use crate::reply::{STREAM_BYTES_MAX, StreamRefused, StreamWriter, stream};

/// How long an answer that has begun is waited for to be passed on whole: longer than one needs that was sent at once.
const WHOLE_TIME_NANOS: u64 = NANOS_PER_SECOND / 1_000;

/// An answer that is passed on.
pub(super) struct Passing {
    pub(super) answer: TargetAnswer,
    /// Bytes that the body may have.
    pub(super) bytes_max: usize,
    /// When the time of the attempt is over, as `clock` counts.
    pub(super) ends: u64,
    /// How long the caller may hold the target back, in all.
    pub(super) caller_time: Duration,
    pub(super) clock: Clock,
}

impl Passing {
    /// Passes the answer on; returns it, whole, where its body had been received before the caller got any of it.
    pub(super) async fn pass_on(
        mut self,
        mut body: Incoming,
        attempt: &AttemptReport,
    ) -> Result<TargetAnswer, AttemptError> {
        let length = body.size_hint().exact();
        if body.size_hint().lower() > self.bytes_max as u64 {
            return Err(AttemptError::TooLarge);
        }
        if self.begin(&mut body).await? {
            return Ok(self.answer);
        }
        let (writer, stream) = stream(self.answer.body.len(), length, self.bytes_max);
        let kept = self.answer.body.slice(..self.answer.body.len().min(ANSWER_KEPT_BYTES_MAX));
        let rest = TargetAnswer { body: kept, ..self.answer.clone() };
        let begun = BegunAnswer { answer: self.answer, stream, watch: writer.watch() };
        if !report(Box::new(begun), |begun| attempt.begin(begun)).await {
            return Err(AttemptError::Busy);
        }
        let rest_time = RestTime { ends: self.ends, caller: self.caller_time, clock: self.clock };
        pass_rest(body, writer, rest_time).await?;
        Ok(rest)
    }

    /// Receives the beginning of the body; returns whether that is all of it.
    async fn begin(&mut self, body: &mut Incoming) -> Result<bool, AttemptError> {
        let soon = self.clock.now().nanos + WHOLE_TIME_NANOS;
        let mut first: Option<Bytes> = None;
        let mut gathered: Vec<u8> = Vec::new();
        let is_whole = loop {
            if body.is_end_stream() {
                break true;
            }
            let left = soon.min(self.ends).saturating_sub(self.clock.now().nanos);
            let data = match timeout(Duration::from_nanos(left), body.frame()).await {
                Err(_) if self.ends <= soon => return Err(AttemptError::TimedOut),
                Err(_) => break false,
                Ok(None) => break true,
                Ok(Some(frame)) => data(frame)?,
            };
            let received = first.as_ref().map_or(gathered.len(), Bytes::len) + data.len();
            if received > self.bytes_max {
                return Err(AttemptError::TooLarge);
            }
            // Most bodies arrive in one piece, which need not be copied.
            match first.take() {
                None if gathered.is_empty() => first = Some(data),
                before => {
                    gathered.extend_from_slice(&before.unwrap_or_default());
                    gathered.extend_from_slice(&data);
                }
            }
            if received >= STREAM_BYTES_MAX {
                break body.is_end_stream();
            }
        };
        self.answer.body = first.unwrap_or_else(|| gathered.into());
        Ok(is_whole)
    }
}

/// The time for the rest of an answer.
struct RestTime {
    ends: u64,
    caller: Duration,
    clock: Clock,
}

impl RestTime {
    /// Waits until the caller has room; returns `false` if it has gone. The time does not count for the target.
    async fn wait_for_room(&mut self, writer: &StreamWriter) -> Result<bool, AttemptError> {
        let began = self.clock.now().nanos;
        let has_room = timeout(self.caller, writer.room()).await.map_err(|_| AttemptError::NotTaken)?;
        let waited = self.clock.now().nanos.saturating_sub(began);
        self.caller = self.caller.saturating_sub(Duration::from_nanos(waited));
        self.ends = self.ends.saturating_add(waited);
        Ok(has_room)
    }

    /// Time that is left for the target.
    fn left(&self) -> Duration {
        Duration::from_nanos(self.ends.saturating_sub(self.clock.now().nanos))
    }
}

/// Passes the rest of a body on. That nobody reads it any more is no failure of the target.
async fn pass_rest(mut body: Incoming, writer: StreamWriter, mut time: RestTime) -> Result<(), AttemptError> {
    while time.wait_for_room(&writer).await? {
        let frame = tokio::select! {
            frame = timeout(time.left(), body.frame()) => frame.map_err(|_| AttemptError::TimedOut)?,
            () = writer.closed() => return Ok(()),
        };
        let Some(frame) = frame else {
            writer.finish();
            return Ok(());
        };
        match writer.push(data(frame)?) {
            Ok(()) => {}
            Err(StreamRefused::TooLarge) => return Err(AttemptError::TooLarge),
            Err(StreamRefused::Closed) => return Ok(()),
        }
    }
    Ok(())
}

/// The bytes of a frame of a body: none in one of trailers.
fn data(frame: Result<hyper::body::Frame<Bytes>, hyper::Error>) -> Result<Bytes, AttemptError> {
    let frame = frame.map_err(|error| AttemptError::Broken(error.to_string()))?;
    Ok(frame.into_data().unwrap_or_default())
}
