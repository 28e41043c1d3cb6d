//! What holds whatever order the threads' steps come in, and whatever the memory model allows them to see.

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use tidegate_models::base::clock::{NANOS_PER_SECOND, Now};
use tidegate_models::base::sleep_flag::SleepFlag;
use tidegate_models::concurrency::Concurrency;
use tidegate_models::limit::rate::Rate;
use tidegate_models::{FLOW_BYTES_MAX, PROCESS_BYTES_MAX, backlogs};

/// A core: messages that were put in, notifications that were given. Both relaxed, which is less than the queue and the
/// eventfd promise: the protocol needs nothing of them.
struct Core {
    flag: SleepFlag,
    messages: AtomicUsize,
    notifications: AtomicUsize,
}

impl Core {
    fn new() -> Arc<Core> {
        let (messages, notifications) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Core { flag: SleepFlag::new(), messages, notifications })
    }

    fn send(&self) {
        self.messages.fetch_add(1, Relaxed);
        if self.flag.should_notify() {
            self.notifications.fetch_add(1, Relaxed);
        }
    }
}

/// A core that begins to wait while senders send is notified, or does not wait; and learns that there is something.
fn no_message_is_slept_through(senders: usize) {
    loom::model(move || {
        let core = Core::new();
        let threads: Vec<_> = (0..senders)
            .map(|_| {
                let core = Arc::clone(&core);
                thread::spawn(move || core.send())
            })
            .collect();
        let waits = core.flag.begin_wait();
        threads.into_iter().for_each(|thread| thread.join().expect("a sender does not fail"));
        let notifications = core.notifications.load(Relaxed);
        assert_eq!(notifications, usize::from(waits), "notified of one wait");
        assert!(core.flag.end_wait(), "there is something");
        assert_eq!(core.messages.load(Relaxed), senders);
    });
}

/// A core that is told that there is something sees what was put in before it was noted.
#[test]
fn what_was_noted_is_seen() {
    loom::model(|| {
        let core = Core::new();
        let sender = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.send())
        };
        if core.flag.end_wait() {
            assert_eq!(core.messages.load(Relaxed), 1);
        }
        sender.join().expect("a sender does not fail");
    });
}

#[test]
fn a_core_that_begins_to_wait_is_notified_of_what_it_did_not_see() {
    no_message_is_slept_through(1);
}

#[test]
fn of_several_senders_one_notifies() {
    no_message_is_slept_through(2);
}

#[test]
fn places_are_never_more_than_the_limit_and_all_come_back() {
    loom::model(|| {
        const LIMIT: u32 = 1;
        let concurrency = Arc::new(Concurrency::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let concurrency = Arc::clone(&concurrency);
                thread::spawn(move || {
                    let taken = concurrency.try_acquire(LIMIT);
                    if taken {
                        assert_eq!(concurrency.held(), LIMIT);
                        concurrency.release();
                    }
                    taken
                })
            })
            .collect();
        let taken = threads.into_iter().map(|thread| thread.join().expect("no failure"));
        assert!(taken.filter(|taken| *taken).count() >= 1, "one of them finds it free");
        assert_eq!(concurrency.held(), 0);
    });
}

#[test]
fn a_flow_never_has_more_bytes_than_it_may_and_gives_all_back() {
    loom::model(|| {
        let [backlog] = backlogs::<1>();
        let backlog = Arc::new(backlog);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let backlog = Arc::clone(&backlog);
                thread::spawn(move || backlog.reserve(FLOW_BYTES_MAX / 2 + 1))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("no failure"));
        let taken = joined.filter(|taken| *taken).count();
        assert!(taken <= 1, "both have room, and there is room for one");
        assert_eq!(backlog.triggers(), taken);
        (0..taken).for_each(|_| backlog.release(FLOW_BYTES_MAX / 2 + 1));
        // Not a byte is kept by the one that was refused.
        assert!(backlog.reserve(FLOW_BYTES_MAX));
    });
}

#[test]
fn flows_together_never_have_more_bytes_than_the_process_may() {
    const FLOWS: usize = PROCESS_BYTES_MAX / FLOW_BYTES_MAX + 1;
    loom::model(|| {
        let flows = Arc::new(backlogs::<FLOWS>());
        let (others, last_two) = flows.split_at(FLOWS - 2);
        assert!(others.iter().all(|flow| flow.reserve(FLOW_BYTES_MAX)) && last_two.len() == 2);
        let threads: Vec<_> = (FLOWS - 2..FLOWS)
            .map(|flow| {
                let flows = Arc::clone(&flows);
                thread::spawn(move || flows[flow].reserve(FLOW_BYTES_MAX))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("no failure"));
        let taken = joined.filter(|taken| *taken).count();
        assert!(taken <= 1);
        assert_eq!(flows[FLOWS - 1].triggers() + flows[FLOWS - 2].triggers(), taken);
    });
}

/// Some time after the start.
const START: u64 = 1_000 * NANOS_PER_SECOND;
/// A window later, and so much as a token may be late.
const RETURNED: u64 = START + NANOS_PER_SECOND + 10_000_000;

fn at(nanos: u64) -> Now {
    Now { nanos, unix_millis: 0 }
}

/// A rate of two cores whose first call was core 0's, so that its cells are there.
fn rate_of(tokens: u32) -> Arc<Rate> {
    let rate = Arc::new(Rate::new(2, tokens, 1));
    assert!(rate.take(0, at(START)).is_ok(), "the first call");
    rate
}

/// Each core calls once at its own time; how many calls passed.
fn calls(rate: &Arc<Rate>, times: [u64; 2]) -> usize {
    let threads: Vec<_> = (0..2)
        .map(|core| {
            let rate = Arc::clone(rate);
            thread::spawn(move || rate.take(core, at(times[core])).is_ok())
        })
        .collect();
    threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|passed| *passed).count()
}

#[test]
fn the_last_token_of_a_rate_is_spent_by_one_core() {
    loom::model(|| {
        let rate = rate_of(2);
        assert_eq!(calls(&rate, [START; 2]), 1, "one token is left for two cores");
        assert!((0..2).all(|core| rate.take(core, at(START)).is_err()), "both are refused without a lock");
        assert_eq!(rate.used(at(START)), 2);
    });
}

#[test]
fn a_token_that_comes_back_is_spent_once_though_every_core_was_refused_before() {
    loom::model(|| {
        let rate = rate_of(1);
        assert!(rate.take(1, at(START)).is_err(), "each cell knows when to look again");
        assert_eq!(calls(&rate, [RETURNED; 2]), 1);
        assert_eq!(rate.used(at(RETURNED)), 1);
    });
}

#[test]
fn a_refusal_of_a_core_that_lags_keeps_no_other_core_from_the_token_that_is_back() {
    loom::model(|| {
        let rate = rate_of(1);
        let passed = calls(&rate, [START, RETURNED]);
        assert_eq!(passed, 1, "core 1 has the token, core 0 is refused by its own clock");
        let later = RETURNED + NANOS_PER_SECOND + 10_000_000;
        assert!(rate.take(0, at(later)).is_ok(), "what core 0 noted does not outlast the return");
    });
}

#[test]
fn a_limit_that_grows_while_a_core_is_refused_lets_the_next_call_pass() {
    loom::model(|| {
        let rate = rate_of(1);
        let refused = {
            let rate = Arc::clone(&rate);
            thread::spawn(move || rate.take(1, at(START)).is_err())
        };
        rate.reconfigure(2, 1, at(START));
        let refused = refused.join().expect("a call does not fail");
        assert_eq!(rate.take(1, at(START)).is_ok(), refused, "two tokens, and two calls that passed");
        assert_eq!(rate.used(at(START)), 2);
    });
}
