//! The records of a WebSocket's messages, in both directions, and of its end.

use super::context::CoreState;
use super::present::Present;
use crate::base::id::Id;
use crate::record::{Kind, NewAnswer, NewCall, OpenRecord};
use crate::registry::Hook;

/// Status of a message that was taken or sent, among the records.
const TAKEN: u16 = 200;

/// Data that the records of a WebSocket have in common.
#[derive(Clone, Copy)]
pub(super) struct SocketRecords<'a> {
    pub(super) hook: &'a Hook,
    /// Names the connection.
    pub(super) id: Id,
    /// The part of the target behind the token.
    pub(super) path: &'a [u8],
}

impl SocketRecords<'_> {
    /// Begins the record of a message that was received, if it is to have one: the present call of the core.
    pub(super) fn begin_message(&self, core: &mut CoreState, text: bool, data: &[u8]) {
        core.present = self.begin(core, Kind::Message, false, text, data);
    }

    /// Begins the record of the end.
    pub(super) fn begin_close(&self, core: &mut CoreState) {
        core.present = self.begin(core, Kind::Close, false, false, b"");
    }

    /// Records a message that was sent. The present call, which it may answer, stays as it is.
    pub(super) fn sent(&self, core: &mut CoreState, text: bool, data: &[u8]) {
        if let Present::Open(open) = self.begin(core, Kind::Message, true, text, data) {
            let nanos = core.now().nanos;
            core.records.answer(&open, &NewAnswer { status: TAKEN, refusal: None, response: b"", nanos });
        }
    }

    fn begin(&self, core: &mut CoreState, kind: Kind, is_sent: bool, is_text: bool, data: &[u8]) -> Present {
        let (now, events) = (core.now(), self.hook.record_events());
        let webhook = self.hook.webhook_id;
        let is_recorded = if is_sent {
            core.records.admit_sent(webhook, events, now)
        } else {
            core.records.admit(webhook, events, now, 0)
        };
        if !is_recorded {
            return Present::Unrecorded;
        }
        let method: &[u8] = if kind == Kind::Close { b"CLOSE" } else { b"MESSAGE" };
        Present::Open(core.records.call(&NewCall {
            events,
            kind,
            is_sent,
            is_text,
            connection: Some(self.id),
            body: data,
            body_bytes: data.len() as u64,
            ..NewCall::new(webhook, now, method, self.path)
        }))
    }
}

/// Ends the record of the present message: it was taken, or refused with this code for this reason.
pub(super) fn end_message(core: &mut CoreState, refused: Option<(u16, &str)>) {
    let (status, refusal) = refused.map_or((TAKEN, None), |(code, reason)| (code, Some(reason)));
    end(core, status, refusal);
}

/// Ends the record of a close.
pub(super) fn end_close(core: &mut CoreState, code: u16, reason: &str) {
    end(core, code, Some(reason).filter(|reason| !reason.is_empty()));
}

fn end(core: &mut CoreState, status: u16, refusal: Option<&str>) {
    let Some(open): Option<OpenRecord> = std::mem::take(&mut core.present).open() else { return };
    let nanos = core.exact_nanos();
    core.records.answer(&open, &NewAnswer { status, refusal, response: b"", nanos });
}
