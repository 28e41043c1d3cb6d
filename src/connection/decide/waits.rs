//! A request that waits, for its reply or for the chain that signed it, and what it holds meanwhile.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::slots::Key;
use crate::connection::calls::OpenSpan;
use crate::connection::context::CoreState;
use crate::connection::present::Present;
use crate::connection::{durable, key_notes};
use crate::journal::Note;
use crate::limit::Claim;
use crate::record::NewAnswer;
use crate::registry::Hook;
use crate::verify::alexa::{self, AlexaRefusal, FetchError};

/// A limit of the concurrency that is none.
const UNLIMITED: u32 = 0;

/// A share of the webhook's concurrency, given back when dropped.
pub(crate) struct AdmissionGuard {
    hook: Arc<Hook>,
}

impl AdmissionGuard {
    /// Takes a share, if there is one; a replay is let in without one.
    pub(super) fn acquire(hook: &Arc<Hook>, is_replay: bool) -> Option<AdmissionGuard> {
        let limit = if is_replay { UNLIMITED } else { hook.concurrency_limit };
        let is_admitted = hook.concurrency.try_acquire(limit);
        is_admitted.then(|| AdmissionGuard { hook: Arc::clone(hook) })
    }

    /// The webhook.
    pub(crate) fn hook(&self) -> &Arc<Hook> {
        &self.hook
    }
}

impl Drop for AdmissionGuard {
    fn drop(&mut self) {
        self.hook.concurrency.release();
    }
}

/// A request that waits for its reply. Ends with [`ReplyWait::end`].
pub(crate) struct ReplyWait {
    pub(crate) admission: AdmissionGuard,
    pub(crate) slot: Key,
    pub(crate) since: u64,
    pub(crate) deadline: u64,
    /// Bytes of the body.
    pub(crate) bytes: usize,
    /// Number of its id, if that is made.
    pub(crate) number: u64,
    pub(crate) span: Option<Box<OpenSpan>>,
    /// Its record.
    pub(crate) record: Present,
    /// The key that it has taken, given back if it gets no good answer.
    pub(super) claim: Option<Box<Claim>>,
}

impl ReplyWait {
    /// Keeps the key of the call, if the status of its answer says that it was taken: its answer waits for that.
    pub(crate) fn settle_key(&mut self, core: &mut CoreState, status: u16) {
        if let (Some(claim), Some(deduplicate)) = (self.claim.take(), self.admission.hook.deduplicate()) {
            let note = key_notes::note(&self.admission.hook, deduplicate, &claim);
            settle_key(core, &note, *claim, status);
        }
    }

    /// Whether the call has taken a key.
    pub(crate) fn has_key(&self) -> bool {
        self.claim.is_some()
    }

    /// The caller is gone: ends the wait, and its record.
    pub(crate) fn abandon(&self, core: &mut CoreState) {
        if let Some(open) = self.record.open() {
            let nanos = core.exact_nanos();
            let refusal = Some("The caller has gone before its reply");
            core.records.answer(&open, &NewAnswer { status: 0, refusal, response: b"", nanos });
        }
        self.end(core);
    }

    /// Gives the slot back.
    pub(crate) fn end(&self, core: &mut CoreState) {
        core.metrics.wait_ended();
        core.pending.remove(self.slot);
    }
}

/// A request that waits for the chain that signed it.
pub(crate) struct ChainWait {
    pub(crate) hook: Arc<Hook>,
    pub(crate) pending: Box<alexa::Pending>,
    pub(crate) ticket: u64,
    pub(crate) deadline: u64,
}

impl ChainWait {
    /// The verdict about the request, from the outcome of the fetch.
    pub(crate) fn verdict(
        &self,
        outcome: Result<Arc<alexa::Chain>, FetchError>,
        body: &[u8],
        now: Now,
    ) -> Result<(), AlexaRefusal> {
        match outcome {
            Ok(chain) => alexa::finish(&self.pending, &chain, body, now),
            Err(error) => Err(AlexaRefusal::Fetch(error)),
        }
    }
}

/// A request that has its key on this node, and waits until it is known whether another node has it.
pub(crate) struct KeyWait {
    pub(crate) hook: Arc<Hook>,
    pub(crate) claim: Claim,
    pub(crate) ticket: u64,
    pub(crate) deadline: u64,
}

/// Keeps a key, or gives it back: the sender of a call that got an error sends it again.
pub(super) fn settle_key(core: &mut CoreState, note: &Note, claim: Claim, status: u16) {
    if status < FIRST_ERROR_STATUS
        && let Err((_, claim)) = durable::keep_key(core, note, claim)
    {
        // Its flow has replied, so that it is not refused: the key is kept as long as the process lasts.
        claim.keep(core.now().unix_millis);
    }
}

/// RFC 9110, 15.5.
const FIRST_ERROR_STATUS: u16 = 400;
