//! How much of a flow waits for its workers: counted for each flow and for the process, so that what no worker takes
//! is refused at the door and never grows without a bound.

use crate::base::id::Id;
use crate::base::sync::Ordering::{Acquire, Relaxed, Release};
use crate::base::sync::{Arc, AtomicBool, AtomicUsize};

/// Triggers of one flow that may be unacked at a time.
pub(crate) const FLOW_TRIGGERS_MAX: usize = 65_536;
/// Bytes of payloads of one flow that may be unacked at a time: room for 256 of the largest default payload, and for
/// all of [`FLOW_TRIGGERS_MAX`] at 1 KiB each.
pub(crate) const FLOW_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same for all flows of the process together.
pub(crate) const PROCESS_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Unacked bytes of all flows.
#[derive(Debug, Default)]
pub(super) struct ProcessBacklog(AtomicUsize);

/// The unacked triggers of one flow. It lives as long as the flow, whatever is changed about it.
#[derive(Debug)]
pub struct Backlog {
    flow: Id,
    triggers: AtomicUsize,
    bytes: AtomicUsize,
    process: Arc<ProcessBacklog>,
    is_deleted: AtomicBool,
}

impl Backlog {
    pub(super) fn new(flow: Id, process: Arc<ProcessBacklog>) -> Backlog {
        Backlog {
            flow,
            triggers: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            process,
            is_deleted: AtomicBool::new(false),
        }
    }

    /// The flow that it belongs to.
    #[must_use]
    pub fn flow(&self) -> Id {
        self.flow
    }

    /// Whether the flow was deleted. Set before the cores are told: a core that looks after it was told finds it.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.is_deleted.load(Acquire)
    }

    pub(super) fn delete(&self) {
        self.is_deleted.store(true, Release);
    }

    /// Takes room for one trigger of `bytes`. Every `true` is owed one [`release`](Self::release).
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> bool {
        if add(&self.triggers, 1, FLOW_TRIGGERS_MAX) {
            if add(&self.bytes, bytes, FLOW_BYTES_MAX) {
                if add(&self.process.0, bytes, PROCESS_BYTES_MAX) {
                    return true;
                }
                self.bytes.fetch_sub(bytes, Relaxed);
            }
            self.triggers.fetch_sub(1, Relaxed);
        }
        false
    }

    /// Takes room although there may be none: for the one trigger at the end of a WebSocket, which is never refused and
    /// of which there are no more than connections.
    pub fn reserve_anyway(&self, bytes: usize) {
        self.triggers.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.process.0.fetch_add(bytes, Relaxed);
    }

    /// Gives the room of one trigger back.
    pub fn release(&self, bytes: usize) {
        self.triggers.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
        self.process.0.fetch_sub(bytes, Relaxed);
    }

    /// Whether less than half of what the flow may have is taken, and so of the process: room for what is read back from a
    /// disk, in pieces that are worth a read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.triggers.load(Relaxed) < FLOW_TRIGGERS_MAX / 2
            && self.bytes.load(Relaxed) < FLOW_BYTES_MAX / 2
            && self.process.0.load(Relaxed) < PROCESS_BYTES_MAX / 2
    }

    /// Triggers that are unacked.
    #[must_use]
    pub fn triggers(&self) -> usize {
        self.triggers.load(Relaxed)
    }
}

/// Adds, unless the sum would be over `most`.
fn add(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let before = count.fetch_add(more, Relaxed);
    if before + more <= most {
        return true;
    }
    count.fetch_sub(more, Relaxed);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog() -> Backlog {
        Backlog::new("0123456789abcdef01234567".parse().unwrap(), Arc::default())
    }

    #[test]
    fn a_flow_takes_its_number_of_triggers_and_one_more_when_one_is_done() {
        let backlog = backlog();
        assert!((0..FLOW_TRIGGERS_MAX).all(|_| backlog.reserve(1)));
        assert!(!backlog.reserve(1));
        backlog.release(1);
        assert!(backlog.reserve(1));
        assert_eq!(backlog.triggers(), FLOW_TRIGGERS_MAX);
    }

    #[test]
    fn a_refusal_leaves_every_count_as_it_was() {
        let backlog = backlog();
        assert!(backlog.reserve(FLOW_BYTES_MAX));
        assert!(!backlog.reserve(1));
        assert_eq!(backlog.triggers(), 1);
        backlog.release(FLOW_BYTES_MAX);
        assert_eq!((backlog.triggers(), backlog.process.0.load(Relaxed)), (0, 0));
    }

    #[test]
    fn all_flows_together_have_a_bound_too() {
        let process: Arc<ProcessBacklog> = Arc::default();
        let flows: Vec<Backlog> = (0..PROCESS_BYTES_MAX / FLOW_BYTES_MAX + 1)
            .map(|_| Backlog::new("0123456789abcdef01234567".parse().unwrap(), Arc::clone(&process)))
            .collect();
        let taken = flows.iter().filter(|flow| flow.reserve(FLOW_BYTES_MAX)).count();
        assert_eq!(taken, PROCESS_BYTES_MAX / FLOW_BYTES_MAX);
    }
}
