//! Who receives sleeps, and who sends wakes: the protocol around a queue that neither of them blocks on.
//!
//! **Invariant**: after a message was put in and [`Doze::must_wake`] asked, either the receiver has not gone to sleep
//! without seeing the message, or the sender was told to wake it. `tests/models` tries every interleaving.

use crate::base::sync::{AtomicBool, Ordering, fence};

/// Whether a receiver sleeps (or is about to) and must be woken.
#[derive(Debug)]
pub struct Doze {
    asleep: AtomicBool,
}

impl Doze {
    /// Of a receiver that sleeps: the first message wakes it.
    #[must_use]
    pub fn asleep() -> Doze {
        Doze { asleep: AtomicBool::new(true) }
    }

    /// For a sender who has put a message in: whether it must wake the receiver. Of several senders one is told to.
    #[must_use]
    pub fn must_wake(&self) -> bool {
        // Pairs with the fence in `sleep`: either this sees that the receiver sleeps, or that sees the message.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }

    /// For the receiver: whether it may sleep until it is woken. False if a message came meanwhile.
    #[must_use]
    pub fn sleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken_once_and_one_who_is_awake_not_at_all() {
        let doze = Doze::asleep();
        assert!(doze.must_wake() && !doze.must_wake());
        assert!(!doze.sleep(|| false) && !doze.must_wake());
        assert!(doze.sleep(|| true) && doze.must_wake());
    }
}
