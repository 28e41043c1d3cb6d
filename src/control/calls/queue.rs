//! A bounded queue between cores and one thread. A push makes no system call and never waits; the thread looks into the
//! queue at intervals.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

/// The queue.
pub(super) struct Queue<T> {
    items: ArrayQueue<T>,
    dropped: AtomicU64,
    is_closed: AtomicBool,
}

/// Items that are handed over at a time.
const BATCH_MAX: usize = 1_024;

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Queue<T> {
        Queue {
            items: ArrayQueue::new(capacity),
            dropped: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Appends an item; one that does not fit is dropped and counted.
    pub(super) fn push(&self, item: T) {
        if self.items.push(item).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Number of items that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts items that were dropped behind the queue.
    pub(super) fn drop_more(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Has [`Self::serve`] return once it has handed over what is in the queue.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Hands over what is in the queue, in batches, every `pause` until the queue is closed.
    pub(super) fn serve(&self, pause: Duration, mut take: impl FnMut(&mut Vec<T>)) {
        let mut batch = Vec::new();
        loop {
            let is_closed = self.is_closed.load(Ordering::Acquire);
            while batch.len() < BATCH_MAX
                && let Some(item) = self.items.pop()
            {
                batch.push(item);
            }
            let is_full = batch.len() == BATCH_MAX;
            if !batch.is_empty() {
                take(&mut batch);
                batch.clear();
            }
            if is_closed && !is_full {
                return;
            }
            if !is_full {
                std::thread::park_timeout(pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_handed_over_in_order_and_the_rest_is_counted() {
        let queue = Queue::new(3);
        (0..5).for_each(|item| queue.push(item));
        assert_eq!(queue.dropped(), 2);
        queue.close();
        let mut taken = Vec::new();
        queue.serve(Duration::from_secs(3600), |batch| taken.append(batch));
        assert_eq!(taken, [0, 1, 2]);
    }

    #[test]
    fn more_than_a_batch_is_handed_over_before_it_ends() {
        let queue = Queue::new(3 * BATCH_MAX);
        (0..2 * BATCH_MAX + 1).for_each(|item| queue.push(item));
        queue.close();
        let mut batches = Vec::new();
        queue.serve(Duration::from_secs(3600), |batch| batches.push(batch.len()));
        assert_eq!(batches, [BATCH_MAX, BATCH_MAX, 1]);
    }
}
