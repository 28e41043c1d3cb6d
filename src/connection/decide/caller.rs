//! The caller of a request while the flows of its webhook run.

use crate::base::slots::Key;
use crate::connection::answer::Exchange;
use crate::connection::context::CoreState;
use crate::connection::message::ReplyOutcome;
use crate::ingress::request;
use crate::ingress::respond::Answer;
use crate::registry::Hook;
use crate::reply::{self, Rendered, Reply};

/// A caller that may wait for a reply.
pub(super) struct ReplyTarget<'a> {
    pub(super) reply_id: &'a str,
    pub(super) slot: Key,
    pub(super) deadline: u64,
}

/// The caller, as its webhook's flows reply to it: the first reply counts.
pub(super) struct Caller<'a> {
    pub(super) exchange: &'a Exchange<'a>,
    pub(super) hook: &'a Hook,
    pub(super) out: &'a mut Vec<u8>,
    /// A reply that is to be written once all flows have run.
    pub(super) reply: Option<Box<Reply>>,
    /// It has been replied to, or takes no reply.
    pub(super) has_replied: bool,
    /// The status of a reply that was written.
    pub(super) status: u16,
}

impl Caller<'_> {
    /// Writes a template's reply.
    pub(super) fn reply_now(&mut self, core: &mut CoreState, reply: &Rendered<'_>) -> ReplyOutcome {
        if std::mem::replace(&mut self.has_replied, true) {
            return ReplyOutcome::NotWaiting;
        }
        let http = reply.to_http(self.hook.response_code, self.hook.payload_bytes as usize);
        let outcome = http
            .as_ref()
            .map_or_else(|error| ReplyOutcome::Refused(error.to_string()), |_| ReplyOutcome::Accepted);
        if self.hook.deduplicate().is_some() {
            self.status = final_status(self.hook, http.as_ref().ok().map(|http| http.status));
        }
        self.exchange.reply(core, self.out, self.hook, http);
        outcome
    }

    /// Keeps a reply until all flows have run.
    pub(super) fn keep(&mut self, reply: Box<Reply>) -> ReplyOutcome {
        if std::mem::replace(&mut self.has_replied, true) {
            return ReplyOutcome::NotWaiting;
        }
        let size = reply::check_size(reply.body.as_deref(), self.hook.payload_bytes as usize);
        self.reply = Some(reply);
        size.map_or_else(|error| ReplyOutcome::Refused(error.to_string()), |()| ReplyOutcome::Accepted)
    }
}

/// The status with which a reply reaches the caller.
pub(crate) fn reply_status(hook: &Hook, reply: &Reply) -> u16 {
    let http = reply::to_http(reply, hook.response_code, hook.payload_bytes as usize);
    final_status(hook, http.ok().map(|http| http.status))
}

/// `status` is that of the reply; `None` if it cannot be sent.
fn final_status(hook: &Hook, status: Option<u16>) -> u16 {
    request::instead_of_reply(hook)
        .map_or_else(|| status.unwrap_or(Answer::BadReply("").status()), |answer| answer.status())
}
