//! Responses of single webhooks, for the metrics page of an operator who asks for the busiest (`metrics.webhooks`).
//!
//! Each core counts in a map of its own, which a reader takes away as a whole: a core waits for a reader no longer than
//! that takes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::base::id::Id;

/// Classes of status codes, 1xx to 5xx.
pub(super) const CLASSES: usize = 5;
/// Webhooks that are counted at a time, by a core between two looks and in all: some 4 MiB each.
const WEBHOOKS_MAX: usize = 65_536;

type CountsByWebhook = HashMap<Id, [u64; CLASSES], ahash::RandomState>;

/// The counts of a core since somebody looked last.
#[derive(Debug, Default)]
pub(super) struct WebhookCounts(Mutex<CountsByWebhook>);

impl WebhookCounts {
    /// Counts a response with a status of this class (0 for 1xx).
    pub(super) fn count(&self, webhook: Id, class: usize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = counts.len() >= WEBHOOKS_MAX;
        match counts.get_mut(&webhook) {
            Some(classes) => classes[class] += 1,
            // More webhooks than can be shown: those that are called most are among the others.
            None if is_full => {}
            None => counts.entry(webhook).or_default()[class] += 1,
        }
    }

    fn take(&self) -> CountsByWebhook {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The counts of all cores since the start.
#[derive(Debug)]
pub(super) struct BusiestWebhooks {
    /// Webhooks that are shown.
    shown: usize,
    counts: Mutex<CountsByWebhook>,
}

impl BusiestWebhooks {
    pub(super) fn new(shown: usize) -> BusiestWebhooks {
        BusiestWebhooks { shown, counts: Mutex::default() }
    }

    /// Takes in what a core has counted.
    pub(super) fn add(&self, core: &WebhookCounts) {
        let taken = core.take();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (webhook, classes) in taken {
            let sum = counts.entry(webhook).or_default();
            sum.iter_mut().zip(classes).for_each(|(sum, more)| *sum += more);
        }
        if counts.len() > WEBHOOKS_MAX {
            forget_quiet(&mut counts);
        }
    }

    /// Appends the busiest webhooks, in the text format of Prometheus.
    pub(super) fn render(&self, out: &mut String) {
        const NAME: &str = "tidegate_webhook_responses_total";
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busiest: Vec<(&Id, &[u64; CLASSES])> = counts.iter().collect();
        busiest.sort_by_key(|(id, classes)| (std::cmp::Reverse(classes.iter().sum::<u64>()), **id));
        // A string takes everything.
        let _ = writeln!(
            out,
            "# HELP {NAME} Responses of the busiest webhooks, by class of status.\n# TYPE {NAME} counter"
        );
        for (webhook, classes) in busiest.into_iter().take(self.shown) {
            for (index, count) in classes.iter().enumerate().filter(|(_, count)| **count > 0) {
                let class = index + 1;
                let _ = writeln!(out, "{NAME}{{webhook=\"{webhook}\",class=\"{class}xx\"}} {count}");
            }
        }
    }
}

/// Forgets the half that was called least; one that is called again counts from 0, as after a restart.
fn forget_quiet(counts: &mut CountsByWebhook) {
    let mut sums: Vec<u64> = counts.values().map(|classes| classes.iter().sum()).collect();
    let middle = sums.len() / 2;
    let (_, median, _) = sums.select_nth_unstable(middle);
    let median = *median;
    counts.retain(|_, classes| classes.iter().sum::<u64>() > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Id {
        format!("{number:024x}").parse().unwrap()
    }

    #[test]
    fn the_busiest_are_shown_and_counts_of_cores_add_up() {
        let (cores, busiest) =
            ([WebhookCounts::default(), WebhookCounts::default()], BusiestWebhooks::new(2));
        for (core, webhook, class, times) in
            [(0, 1, 1, 3), (1, 1, 1, 2), (1, 1, 3, 1), (0, 2, 1, 1), (1, 3, 4, 9)]
        {
            (0..times).for_each(|_| cores[core].count(id(webhook), class));
        }
        for _ in 0..2 {
            cores.iter().for_each(|core| busiest.add(core));
            let mut page = String::new();
            busiest.render(&mut page);
            let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
            let line = |webhook, class, count| {
                format!(
                    "tidegate_webhook_responses_total{{webhook=\"{}\",class=\"{class}xx\"}} {count}",
                    id(webhook)
                )
            };
            assert_eq!(lines, [line(3, 5, 9), line(1, 2, 5), line(1, 4, 1)]);
        }
    }

    #[test]
    fn the_number_of_webhooks_has_a_bound() {
        let (core, busiest) = (WebhookCounts::default(), BusiestWebhooks::new(1));
        for round in 0..2 {
            (0..WEBHOOKS_MAX + 10).for_each(|number| core.count(id(round * 1_000_000 + number), 1));
            core.count(id(round * 1_000_000), 1);
            assert_eq!(core.0.lock().unwrap().len(), WEBHOOKS_MAX);
            busiest.add(&core);
        }
        let kept = busiest.counts.lock().unwrap();
        assert_eq!(kept.len(), 2);
        assert!(kept.contains_key(&id(0)) && kept.contains_key(&id(1_000_000)));
    }
}
