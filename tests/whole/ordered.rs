//! A target of forwards that keeps an order, as one process sees it: it answers, fails, takes its time, and its answers are
//! lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate::engine::{
    Attempt, AttemptError, AttemptReport, AttemptResult, DeadLetter, DeadLetters, Forwarder, LetterReport,
    TargetAnswer,
};
use tidegate::trigger::Payload;

use crate::caller::Story;
use crate::kernel::Random;

/// The attempts and the dead letters that cores have handed over.
#[derive(Default)]
pub struct Outside {
    attempts: Mutex<Vec<Attempt>>,
    letters: Mutex<Vec<(Arc<DeadLetter>, LetterReport)>>,
}

impl Forwarder for Outside {
    fn send(&self, attempt: Attempt) {
        self.attempts.lock().expect("one thread").push(attempt);
    }
}

impl DeadLetters for Outside {
    fn keep(&self, letter: Arc<DeadLetter>, report: LetterReport) {
        self.letters.lock().expect("one thread").push((letter, report));
    }
}

/// A result on its way to a core.
struct Answered {
    at: u64,
    report: AttemptReport,
    result: AttemptResult,
}

/// The target.
#[derive(Default)]
pub struct Target {
    pub outside: Arc<Outside>,
    answers: VecDeque<Answered>,
}

impl Target {
    /// Takes attempts and answers some; one that `is_healed` always does well.
    pub fn go_on(&mut self, now: u64, is_healed: bool, story: &mut Story, random: &mut Random) {
        let attempts = std::mem::take(&mut *self.outside.attempts.lock().expect("one thread"));
        for attempt in attempts {
            let fate = if is_healed { 0 } else { random.below(8) };
            let at = now + random.below(500) as u64 * 1_000_000;
            let result = match fate {
                0..=4 => {
                    let (number, key) = number_and_key(&attempt.payload);
                    *story.delivered.entry(number).or_default() += 1;
                    let of_key = story.ordered.entry(key).or_default();
                    if !of_key.contains(&number) {
                        of_key.push(number);
                    }
                    // Its answer is lost: it is asked again.
                    if fate == 4 && random.one_in(4) {
                        continue;
                    }
                    AttemptResult::Answered(TargetAnswer { status: 200, ..TargetAnswer::default() })
                }
                5 | 6 => AttemptResult::Answered(TargetAnswer { status: 500, ..TargetAnswer::default() }),
                _ => AttemptResult::Failed(AttemptError::Connect("refused".to_owned())),
            };
            self.answers.push_back(Answered { at, report: attempt.report, result });
        }
        let mut left = VecDeque::new();
        for answered in self.answers.drain(..) {
            if answered.at > now {
                left.push_back(answered);
            } else if let Err(result) = answered.report.report(answered.result) {
                left.push_back(Answered { at: now + 1, report: answered.report, result });
            }
        }
        self.answers = left;
        for (letter, report) in std::mem::take(&mut *self.outside.letters.lock().expect("one thread")) {
            *story.delivered.entry(number_and_key(&letter.payload).0).or_default() += 1;
            report.report(true);
        }
    }
}

fn number_and_key(payload: &Payload) -> (u64, u64) {
    let mut bytes = Vec::new();
    payload.write(&mut bytes);
    let payload: Value = serde_json::from_slice(&bytes).expect("JSON");
    let field = |name: &str| payload["data"]["body"][name].as_u64().expect("a number");
    (field("number"), field("key"))
}
