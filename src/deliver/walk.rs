//! Which steps of a flow a trigger reaches, one after the other.
//!
//! Without conditions all steps are reached, in their order. With them a step is reached when a step that leads to it has
//! run, a condition counting for the output that it decided. Of those that are reached and have not run, the one nearest
//! to the trigger (the first in the plan's order) is next. A step runs once for a trigger, whichever way it is reached:
//! where branches meet again the steps behind run once, and a circle ends where it closes.
//!
//! The steps behind a delivering step are reached when its delivery is done, by a walk of their own: [`Walk::behind`]. All
//! walks of a trigger share the set of steps that were reached ([`Reached`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Steps that this walk has reached.
    reached: [u64; WORDS],
    /// Steps that walks before this one have reached, and this one.
    shared: Option<&'p Reached>,
    /// Those of `reached` that have not run.
    waiting: [u64; WORDS],
}

/// Steps that the walks of one trigger have reached.
#[derive(Debug)]
pub(super) struct Reached([AtomicU64; WORDS]);

impl Reached {
    /// Marks a step; returns whether it was not marked.
    fn mark(&self, word: usize, bit: u64) -> bool {
        self.0.get(word).is_some_and(|reached| reached.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }
}

impl<'p> Walk<'p> {
    pub(super) fn new(plan: &'p FlowPlan) -> Walk<'p> {
        let branching = plan.branches.as_deref().map(|branches| {
            let mut branching = Branching::new(branches, None);
            branching.reach(&branches.first);
            branching
        });
        Walk { plan, next: 0, branching }
    }

    /// A walk over the steps behind a delivering one whose delivery is done, as far as no other walk has reached them.
    pub(super) fn behind(plan: &'p FlowPlan, place: usize, reached: &'p Reached) -> Walk<'p> {
        let branching = plan.branches.as_deref().map(|branches| {
            let mut branching = Branching::new(branches, Some(reached));
            branching.reach_behind(place, 0);
            branching
        });
        // Without branches no step is behind another one.
        Walk { plan, next: plan.steps.len(), branching }
    }

    /// The steps that were reached, for the walks behind this one.
    pub(super) fn reached(&self) -> Arc<Reached> {
        let words = self.branching.as_ref().map_or([0; WORDS], |branching| branching.reached);
        Arc::new(Reached(words.map(AtomicU64::new)))
    }

    pub(super) fn plan(&self) -> &'p FlowPlan {
        self.plan
    }

    /// The next step and its place. The steps behind it are reached; those behind a condition by [`Walk::decide`], those
    /// behind a delivering step by [`Walk::behind`].
    #[inline]
    pub(super) fn next(&mut self) -> Option<(usize, &'p Step)> {
        let Some(branching) = &mut self.branching else {
            let step = self.plan.steps.get(self.next)?;
            self.next += 1;
            return Some((self.next - 1, step));
        };
        let place = branching.take()?;
        let step = self.plan.steps.get(place)?;
        if !matches!(step.action, Action::Condition(_)) && !step.action.delivers() {
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

impl<'p> Branching<'p> {
    fn new(branches: &'p Branches, shared: Option<&'p Reached>) -> Branching<'p> {
        Branching { branches, reached: [0; WORDS], shared, waiting: [0; WORDS] }
    }

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
            if *reached & bit == 0 && self.shared.is_none_or(|shared| shared.mark(word, bit)) {
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
