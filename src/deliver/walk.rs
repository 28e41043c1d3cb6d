//! Which steps of a flow a trigger reaches, one after the other.
//!
//! Without conditions all steps are reached, in their order. With them a step is reached when a step that leads to it has
//! run, a condition counting for the output that it decided. Of those that are reached and have not run, the one nearest
//! to the trigger (the first in the plan's order) is next. A step runs once for a trigger, whichever way it is reached:
//! where branches meet again the steps behind run once, and a circle ends where it closes.

use crate::model::Flow;
use crate::registry::{Action, Branches, FlowPlan, Step};

const WORD_BITS: usize = u64::BITS as usize;
/// Words of a set of a flow's steps.
const WORDS: usize = Flow::NODES_MAX.div_ceil(WORD_BITS);

/// A walk over the steps of a plan.
pub(super) struct Walk<'p> {
    plan: &'p FlowPlan,
    /// The next step, where all are reached.
    next: usize,
    branching: Option<Branching<'p>>,
}

struct Branching<'p> {
    branches: &'p Branches,
    reached: [u64; WORDS],
    /// Those of `reached` that have not run.
    waiting: [u64; WORDS],
}

impl<'p> Walk<'p> {
    pub(super) fn new(plan: &'p FlowPlan) -> Walk<'p> {
        let branching = plan.branches.as_deref().map(|branches| {
            let mut branching = Branching { branches, reached: [0; WORDS], waiting: [0; WORDS] };
            branching.reach(&branches.first);
            branching
        });
        Walk { plan, next: 0, branching }
    }

    pub(super) fn plan(&self) -> &'p FlowPlan {
        self.plan
    }

    /// The next step and its place. The steps behind it are reached; those behind a condition by [`Walk::decide`].
    #[inline]
    pub(super) fn next(&mut self) -> Option<(usize, &'p Step)> {
        let Some(branching) = &mut self.branching else {
            let step = self.plan.steps.get(self.next)?;
            self.next += 1;
            return Some((self.next - 1, step));
        };
        let place = branching.take()?;
        let step = self.plan.steps.get(place)?;
        if !matches!(step.action, Action::Condition(_)) {
            branching.reach_behind(place, 0);
        }
        Some((place, step))
    }

    /// The condition at this place is true or false.
    pub(super) fn decide(&mut self, place: usize, is_true: bool) {
        if let Some(branching) = &mut self.branching {
            branching.reach_behind(place, usize::from(is_true));
        }
    }
}

impl Branching<'_> {
    fn reach_behind(&mut self, place: usize, output: usize) {
        let branches = self.branches;
        if let Some(behind) = branches.behind.get(place) {
            self.reach(&behind[output]);
        }
    }

    fn reach(&mut self, places: &[u16]) {
        for &place in places {
            let (word, bit) = (usize::from(place) / WORD_BITS, 1 << (usize::from(place) % WORD_BITS));
            let (Some(reached), Some(waiting)) = (self.reached.get_mut(word), self.waiting.get_mut(word))
            else {
                continue;
            };
            if *reached & bit == 0 {
                *reached |= bit;
                *waiting |= bit;
            }
        }
    }

    /// The first of those that wait.
    fn take(&mut self) -> Option<usize> {
        let word = self.waiting.iter().position(|word| *word != 0)?;
        let bit = self.waiting[word].trailing_zeros() as usize;
        self.waiting[word] &= self.waiting[word] - 1;
        Some(word * WORD_BITS + bit)
    }
}
