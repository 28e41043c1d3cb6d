//! The rates of webhooks whose limit is switched off at present. What was spent of a limit stays spent although it is
//! switched off and on again; a webhook without a limit keeps nothing of it where requests look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::clock::Now;
use crate::base::id::Id;
use crate::limit::Rate;

/// So many are kept before any is looked at whether all that was spent has come back.
const PRUNED_AT_MIN: usize = 64;

/// Rates by webhook.
#[derive(Debug, Default)]
pub(super) struct RetiredRates(Mutex<RetiredRate>);

#[derive(Debug, Default)]
struct RetiredRate {
    rates: HashMap<Id, Arc<Rate>, ahash::RandomState>,
    /// How many there are when they are pruned next: twice as many as the last time left.
    pruned_at: usize,
}

impl RetiredRates {
    /// Keeps the rate of a webhook whose limit is switched off, if anything of it is spent.
    pub(super) fn put(&self, webhook: Id, rate: &Arc<Rate>, now: Now) {
        if rate.used(now) == 0 {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.rates.insert(webhook, Arc::clone(rate));
        if kept.rates.len() >= kept.pruned_at.max(PRUNED_AT_MIN) {
            kept.rates.retain(|_, rate| rate.used(now) > 0);
            kept.pruned_at = 2 * kept.rates.len();
        }
    }

    /// Takes the rate of a webhook out, if it is here.
    pub(super) fn take(&self, webhook: Id) -> Option<Arc<Rate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rates.remove(&webhook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::NANOS_PER_SECOND;

    fn at(seconds: u64) -> Now {
        Now { nanos: seconds * NANOS_PER_SECOND, unix_millis: 0 }
    }

    fn id(number: usize) -> Id {
        format!("{number:024x}").parse().expect("an id")
    }

    #[test]
    fn rates_of_which_all_has_come_back_are_not_kept() {
        let aside = RetiredRates::default();
        let unused = Arc::new(Rate::new(1, 10, 10));
        aside.put(id(0), &unused, at(100));
        assert!(aside.take(id(0)).is_none());
        for number in 0..PRUNED_AT_MIN {
            let rate = Arc::new(Rate::new(1, 10, 10));
            rate.take(0, at(100)).expect("the first");
            // The last one comes when the others have nothing spent any more.
            let now = if number == PRUNED_AT_MIN - 1 { at(105) } else { at(100) };
            rate.take(0, now).expect("the second");
            aside.put(id(number), &rate, now);
        }
        assert_eq!(aside.0.lock().expect("not poisoned").rates.len(), PRUNED_AT_MIN);
        let rate = Arc::new(Rate::new(1, 10, 10));
        rate.take(0, at(112)).expect("the first");
        aside.put(id(PRUNED_AT_MIN), &rate, at(112));
        assert!(aside.take(id(0)).is_some(), "pruned at twice as many only");
        for number in PRUNED_AT_MIN + 1..=2 * PRUNED_AT_MIN {
            aside.put(id(number), &rate, at(112));
        }
        assert!(aside.take(id(1)).is_none());
        assert!(aside.take(id(PRUNED_AT_MIN)).is_some());
    }
}
