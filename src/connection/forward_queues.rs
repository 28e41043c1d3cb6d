//! The forwarded triggers of the flows that a core owns: state only, and the traits that make attempts and keep dead
//! letters. [`forwards`](super::forwards) carries out what the queues ask for.

use std::fmt;
use std::sync::Arc;

use super::attempt::{
    AttemptError, AttemptId, AttemptResult, BegunAnswer, DeadLetter, ForwardTrigger, LastAttempt,
};
use super::message::{CoreMessage, OwnMailbox};
use crate::base::random::Random;
use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerId;
use crate::deliver::entry::Receipt;
use crate::deliver::targets::Targets;
use crate::registry::{Backlog, TargetNode};
use crate::reply::StreamWatch;
use crate::trigger::Payload;

/// Attempts that one core may have under way: each is a task and its request in memory, and at most a connection.
pub const CORE_ATTEMPTS_MAX: usize = 4_096;

/// Makes attempts to deliver, on threads that are no cores.
pub trait Forwarder: Send + Sync {
    /// Makes an attempt and reports its result. Never blocks.
    fn send(&self, attempt: Attempt);
}

/// An attempt to be made.
pub struct Attempt {
    pub node: TargetNode,
    pub payload: Payload,
    /// Names the delivery, in each attempt the same.
    pub id: Arc<str>,
    /// How long it may take.
    pub timeout_nanos: u64,
    /// Bytes of the body of a reply, where a caller waits for the answer: it gets what is received while the rest is still
    /// under way ([`AttemptReport::begin`]).
    pub reply_bytes_max: Option<usize>,
    pub report: AttemptReport,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("target", self.node.target())
            .finish_non_exhaustive()
    }
}

/// Takes the result of one attempt.
pub struct AttemptReport {
    pub(super) id: AttemptId,
    pub(super) mailbox: OwnMailbox,
}

impl AttemptReport {
    /// Reports an answer whose body is still being received, before its result.
    ///
    /// # Errors
    /// As [`AttemptReport::report`].
    pub fn begin(&self, begun: Box<BegunAnswer>) -> Result<(), Box<BegunAnswer>> {
        match (self.mailbox)(CoreMessage::AnswerBegun { id: self.id, begun }) {
            Err(CoreMessage::AnswerBegun { begun, .. }) => Err(begun),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reports the result.
    ///
    /// # Errors
    /// The result, if the core is too busy to take it: to be tried again after a pause.
    pub fn report(&self, result: AttemptResult) -> Result<(), AttemptResult> {
        match (self.mailbox)(CoreMessage::Attempted { id: self.id, result }) {
            Err(CoreMessage::Attempted { result, .. }) => Err(result),
            // Nothing else is returned than what was sent.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Keeps dead letters.
pub trait DeadLetters: Send + Sync {
    /// Keeps a letter and reports whether it is kept; on any thread, and more than once the same letter where a report was
    /// lost. Never blocks.
    fn keep(&self, letter: Arc<DeadLetter>, report: LetterReport);
}

/// Takes whether a dead letter is kept.
pub struct LetterReport {
    /// Names the start of the core.
    pub(super) start: u64,
    pub(super) key: Key,
    pub(super) mailbox: OwnMailbox,
}

impl LetterReport {
    /// Reports whether the letter is kept: until it is, the delivery stays open, and it is offered again after a pause.
    /// Returns `false` if the core is too busy to take the report.
    pub fn report(&self, is_kept: bool) -> bool {
        (self.mailbox)(CoreMessage::LetterKept { start: self.start, key: self.key, is_kept }).is_ok()
    }
}

/// Makes no attempts and keeps nothing.
pub(super) struct NoForwarding;

impl Forwarder for NoForwarding {
    fn send(&self, attempt: Attempt) {
        // One that the core is too busy to hear of counts as lost.
        let _ = attempt.report.report(AttemptResult::Failed(AttemptError::Busy));
    }
}

impl DeadLetters for NoForwarding {
    fn keep(&self, _letter: Arc<DeadLetter>, report: LetterReport) {
        report.report(false);
    }
}

/// A forwarded trigger at its owner.
pub(crate) struct ForwardItem {
    pub(crate) trigger: ForwardTrigger,
    /// Its id in every attempt.
    pub(crate) id: Arc<str>,
    pub(crate) backlog: Arc<Backlog>,
    /// The attempt that is under way, or the last one.
    pub(crate) attempt: u32,
    /// Fires if the result of the attempt was lost.
    pub(crate) watchdog: Option<TimerId>,
    pub(crate) last: Option<LastAttempt>,
    /// The answer that is being passed on to the caller.
    pub(crate) begun: Option<StreamWatch>,
}

/// A dead letter that is not kept yet.
pub(crate) struct UnkeptLetter {
    pub(crate) letter: Arc<DeadLetter>,
    pub(crate) backlog: Arc<Backlog>,
    /// Its share in the entry of a journal.
    pub(crate) receipt: Option<Receipt>,
    /// Fires when it is offered again.
    pub(crate) retry: Option<TimerId>,
}

/// All that a core keeps of forwarded triggers.
pub(crate) struct ForwardQueues {
    pub(super) forwarder: Arc<dyn Forwarder>,
    pub(super) dead_letters: Arc<dyn DeadLetters>,
    pub(super) mailbox: OwnMailbox,
    pub(super) targets: Targets<ForwardItem>,
    pub(super) letters: Slots<UnkeptLetter>,
    /// The timer of the queues, and when it fires.
    pub(super) alarm: Option<(u64, TimerId)>,
    /// Names events.
    pub(super) random: Random,
    /// Names this start of the core: what other threads report of an earlier one names nothing.
    pub(super) start: u64,
}

impl ForwardQueues {
    /// Nothing.
    pub(crate) fn new(
        forwarder: Arc<dyn Forwarder>,
        dead_letters: Arc<dyn DeadLetters>,
        mailbox: OwnMailbox,
        mut random: Random,
    ) -> ForwardQueues {
        let targets = Targets::new(CORE_ATTEMPTS_MAX, Random::new(random.next_u64()));
        let start = random.next_u64();
        ForwardQueues {
            forwarder,
            dead_letters,
            mailbox,
            targets,
            letters: Slots::new(),
            alarm: None,
            random,
            start,
        }
    }

    /// A name for an event, which no other has.
    pub(crate) fn event_id(&mut self) -> u128 {
        u128::from(self.random.next_u64()) << u64::BITS | u128::from(self.random.next_u64())
    }

    /// Triggers that are neither done nor kept as dead letters.
    pub(crate) fn open(&self) -> usize {
        self.targets.open() + self.letters.len()
    }
}
