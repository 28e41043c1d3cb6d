//! One write of records, until its fate is known.
//!
//! Its messages name the write, and the stream takes them only right behind the sequence that they expect. So they are
//! there if and only if the message behind that sequence names this write, whatever became of the acks: an attempt whose
//! ack was lost is followed by others with the same name, and where one is refused the watch decides.

use crate::base::clock::{NANOS_PER_SECOND, Now};

/// The pause before the next attempt where nobody answers: the stream has no leader for some seconds.
pub(super) const RETRY_NANOS: u64 = NANOS_PER_SECOND / 4;

/// The answer to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishAnswer {
    /// It is there; the sequence of its last message.
    Stored(u64),
    /// The stream has gone on since.
    WrongLast,
    /// There is nobody, or no answer came.
    Unknown,
    /// It is never taken, and why.
    Refused(String),
}

/// The next action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Publish it (again).
    Publish,
    /// Wait until this moment, or until the watch has come further.
    Wait(u64),
    /// It is there, and this is the sequence of its last message.
    Stored(u64),
    /// It is not there and never will be: another write was first.
    Conflict,
    /// Nobody knows.
    Unknown,
    /// It is never taken, and why.
    Refused(String),
}

/// A write under way.
#[derive(Clone, Debug)]
pub struct WriteAttempt {
    /// The sequence that it expects to be the last.
    base: u64,
    /// Messages that it consists of.
    messages: u64,
    deadline: u64,
    /// An earlier attempt may have been taken.
    is_ambiguous: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Publishing,
    Pausing(u64),
    /// Another write, or this one, stands behind the base; the watch will tell.
    Deciding,
    Ended(Step),
}

impl WriteAttempt {
    /// A write of `messages` behind the sequence `base`, given up at `deadline`.
    #[must_use]
    pub fn new(base: u64, messages: u64, deadline: u64) -> WriteAttempt {
        WriteAttempt { base, messages, deadline, is_ambiguous: false, state: State::Publishing }
    }

    /// The sequence that it expects.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Takes the answer to the attempt that [`Step::Publish`] asked for.
    pub fn on_answer(&mut self, answer: PublishAnswer, now: Now) {
        self.state = match answer {
            PublishAnswer::Stored(sequence) => State::Ended(Step::Stored(sequence)),
            PublishAnswer::Refused(_) if self.is_ambiguous => State::Deciding,
            PublishAnswer::Refused(why) => State::Ended(Step::Refused(why)),
            PublishAnswer::WrongLast if self.is_ambiguous => State::Deciding,
            PublishAnswer::WrongLast => State::Ended(Step::Conflict),
            PublishAnswer::Unknown => {
                self.is_ambiguous = true;
                State::Pausing(now.nanos + RETRY_NANOS)
            }
        };
    }

    /// The watch has come to a message; `is_own`: it names this write.
    pub fn on_seen(&mut self, sequence: u64, is_own: bool) {
        if sequence <= self.base || matches!(self.state, State::Ended(_)) {
            return;
        }
        self.state = State::Ended(if is_own {
            // Its messages follow each other, whichever of them is seen.
            Step::Stored(self.base + self.messages)
        } else if sequence == self.base + 1 {
            Step::Conflict
        } else {
            // What stood behind the base was written over before it was seen.
            Step::Unknown
        });
    }

    /// Returns what is to be done.
    pub fn poll(&mut self, now: Now) -> Step {
        match &self.state {
            State::Ended(step) => step.clone(),
            _ if now.nanos >= self.deadline => Step::Unknown,
            State::Publishing => Step::Publish,
            State::Pausing(until) if now.nanos >= *until => {
                self.state = State::Publishing;
                Step::Publish
            }
            State::Pausing(until) => Step::Wait((*until).min(self.deadline)),
            State::Deciding => Step::Wait(self.deadline),
        }
    }
}
