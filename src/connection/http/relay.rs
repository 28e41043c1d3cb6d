//! A reply that is sent while it is received: its head and the bytes so far at once, the rest as it arrives.
//!
//! The bytes that wait for the caller are bounded: the output of the connection ([`GATHER_BYTES`]) and the queue of the stream
//! ([`STREAM_BYTES_MAX`](crate::reply::STREAM_BYTES_MAX)), behind which the target is held back.
//!
//! **Invariant**: the response ends as its head says, or the connection ends before it: with an HTTP/1.0 caller that is told
//! the end by the end of the connection, by a reset.

use super::super::answer::Exchange;
use super::super::context::CoreState;
use super::super::decide::ReplyWait;
use super::super::message::{ConnectionId, ConnectionMessage, CoreMessage};
use super::next::GATHER_BYTES;
use crate::base::clock::NANOS_PER_SECOND;
use crate::http::Version;
use crate::ingress::framing::BodyFraming;
use crate::record::{BODY_KEPT_BYTES_MAX, NewAnswer};
use crate::registry::Hook;
use crate::reply::{self, Reply, ReplyStream, StreamProgress};

/// Interval at which a stream is read although nobody has told that there is more: a core that is too busy for messages
/// misses one.
pub(super) const RELAY_CHECK_NANOS: u64 = NANOS_PER_SECOND;

/// Why a call with a cut reply is no good one.
const CUT: &str = "The workflow's reply broke off";
const CALLER_GONE: &str = "The caller has gone before the end of its reply";

/// A request whose reply is sent while it is received.
pub(super) struct Relay {
    /// Holds the place of the call, its key and its record.
    pub(super) wait: Box<ReplyWait>,
    stream: ReplyStream,
    framing: BodyFraming,
    pub(super) status: u16,
    /// Whether the connection continues behind the response.
    pub(super) stays: bool,
    /// The beginning of the response for its record, without the frames of chunks; `None`: it has no record.
    kept: Option<Vec<u8>>,
    /// Bytes of the response so far.
    bytes: u64,
}

/// Progress of a reply that is sent while it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relayed {
    /// The output is full.
    Full,
    /// All that was received is in the output.
    Waits,
    /// The response is complete.
    Complete,
    /// It never will be.
    Cut,
}

impl Relay {
    /// Begins a response: its head, and the beginning of its body. Gives the wait back if the response has no body to wait
    /// for, or cannot be sent.
    pub(super) fn begin(
        core: &mut CoreState,
        out: &mut Vec<u8>,
        exchange: &mut Exchange<'_>,
        hook: &Hook,
        reply: &Reply,
        wait: Box<ReplyWait>,
        connection: ConnectionId,
    ) -> Result<Relay, Box<ReplyWait>> {
        let Some(stream) = reply.stream.clone() else { return Err(wait) };
        let Ok(http) = reply::to_http(reply, hook.response_code, hook.payload_bytes as usize) else {
            return Err(wait);
        };
        let framing = BodyFraming::of(stream.length(), exchange.request.version() == Version::Http10);
        let stays = exchange.keep_alive && framing != BodyFraming::UntilClose;
        exchange.keep_alive = stays;
        let start = out.len();
        if !exchange.reply_head(core, out, hook, &http, framing) {
            return Err(wait);
        }
        let kept = wait.record.open().map(|_| out[start..].to_vec());
        let bytes = (out.len() - start) as u64;
        let mut relay = Relay { wait, stream, framing, status: http.status, stays, kept, bytes };
        let mailbox = std::sync::Arc::clone(&core.forwards.mailbox);
        relay.stream.notify_by(Box::new(move || {
            let message = ConnectionMessage::StreamReady;
            mailbox(CoreMessage::Connection { connection, message }).is_ok()
        }));
        relay.framing.write(out, http.body);
        relay.keep(http.body);
        Ok(relay)
    }

    /// Moves what has been received into the output, as far as that has room.
    pub(super) fn pump(&mut self, out: &mut Vec<u8>) -> Relayed {
        let Relay { stream, framing, kept, bytes, .. } = self;
        let room = GATHER_BYTES.saturating_sub(out.len());
        let progress = stream.read(room, |part| {
            framing.write(out, part);
            *bytes += part.len() as u64;
            keep_part(kept, part);
        });
        match progress {
            StreamProgress::More => Relayed::Full,
            StreamProgress::Waits => Relayed::Waits,
            StreamProgress::Complete => {
                framing.end(out);
                Relayed::Complete
            }
            StreamProgress::Broken => Relayed::Cut,
        }
    }

    fn keep(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        keep_part(&mut self.kept, part);
    }

    /// Whether the caller learns by a reset alone that the response is not complete.
    pub(super) fn ends_by_reset(&self) -> bool {
        self.framing == BodyFraming::UntilClose
    }

    /// Notes the end of the call.
    pub(super) fn end(&mut self, core: &mut CoreState, exchange: &Exchange<'_>, relayed: Relayed) {
        let refusal = (relayed == Relayed::Cut).then_some(CUT);
        if refusal.is_none() {
            self.wait.settle_key(core, self.status);
            // Most of the response has left, and what follows it could not say that the key is not written.
            core.awaited = None;
        }
        core.present = std::mem::take(&mut self.wait.record);
        exchange.replied(core, self.status, refusal, self.kept.as_deref().unwrap_or_default(), self.bytes);
    }

    /// The caller is gone: ends the record of its call.
    pub(super) fn abandon(&self, core: &mut CoreState) {
        if let Some(open) = self.wait.record.open() {
            let nanos = core.exact_nanos();
            let response = self.kept.as_deref().unwrap_or_default();
            let answer = NewAnswer { status: self.status, refusal: Some(CALLER_GONE), response, nanos };
            core.records.answer_in_part(&open, &answer, self.bytes);
        }
    }
}

/// Keeps a part of a response for its record, as far as it keeps bodies.
fn keep_part(kept: &mut Option<Vec<u8>>, part: &[u8]) {
    if let Some(kept) = kept {
        let room = BODY_KEPT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..part.len().min(room)]);
    }
}
