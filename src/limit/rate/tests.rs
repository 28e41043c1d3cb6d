//! The limits of calls, over cores, windows and changes.

use super::*;

const MILLISECOND: u64 = 1_000_000;

/// Some time after the start, in nanoseconds.
const START: u64 = 1_000 * NANOS_PER_SECOND + 1_234_567;

fn at(nanos: u64) -> Now {
    Now { nanos, unix_millis: 0 }
}

fn takes(rate: &Rate, core: usize, nanos: u64, calls: u32) -> u32 {
    (0..calls).filter(|_| rate.take(core, at(nanos)).is_ok()).count() as u32
}

/// Asserts the invariants that hold whenever no lock is held.
fn assert_conserved(rate: &Rate) {
    let limit = *rate.limit.lock().unwrap();
    let Some(cells) = rate.cells.get() else { return };
    let held = hold_all(cells);
    let free: u64 = held.iter().map(|cell| u64::from(cell.free())).sum();
    let spent: u64 = held.iter().map(|cell| u64::from(cell.spent())).sum();
    let debt = u64::from(rate.debt.load(Relaxed));
    assert_eq!(free + spent, u64::from(limit.held) + debt, "free {free} spent {spent} debt {debt}");
    assert!(debt == 0 || free == 0, "free {free} debt {debt}");
}

#[test]
fn the_limit_passes_and_one_more_does_not_however_spread_over_cores() {
    for cores in [1, 2, 7, 64] {
        let rate = Rate::new(cores, 100, 10);
        for call in 0..100 {
            assert_eq!(rate.take(call * 31 % cores, at(START)), Ok(()), "call {call} of {cores} cores");
        }
        for core in 0..cores {
            assert!(rate.take(core, at(START + 9 * NANOS_PER_SECOND)).is_err());
        }
        assert_eq!(rate.used(at(START)), 100);
        assert_conserved(&rate);
    }
}

#[test]
fn a_token_comes_back_a_window_later_never_early_and_ten_milliseconds_late_at_most() {
    for offset in (0..20_000_000).step_by(333_333) {
        let (spent, window) = (START + offset, 10 * NANOS_PER_SECOND);
        let rate = Rate::new(2, 1, 10);
        assert_eq!(takes(&rate, 0, spent, 1), 1);
        // A core that is as far ahead as a core may be.
        assert_eq!(takes(&rate, 1, spent + CLOCK_STALE_NANOS_MAX + window - 1, 1), 0);
        assert_eq!(takes(&rate, 1, spent + window + LATE_NANOS_MAX - CLOCK_STALE_NANOS_MAX, 1), 1);
    }
}

#[test]
fn retry_after_tells_when_the_next_token_is_back_and_not_sooner() {
    let rate = Rate::new(2, 2, 10);
    assert_eq!(takes(&rate, 0, START, 1), 1);
    assert_eq!(takes(&rate, 1, START + 4 * NANOS_PER_SECOND, 1), 1);
    for (after, expected) in [(4_000, 7), (4_010, 6), (9_000, 2), (9_010, 1), (9_999, 1)] {
        for core in [0, 1, 0] {
            let now = START + after * MILLISECOND;
            let refused = rate.take(core, at(now)).unwrap_err();
            assert_eq!(refused.retry_after_seconds, expected, "after {after} ms");
        }
    }
    assert_eq!(takes(&rate, 0, START + 9_010 * MILLISECOND + NANOS_PER_SECOND, 1), 1);
}

#[test]
fn a_refusal_changes_nothing_but_the_first_one_after_a_change() {
    let rate = Rate::new(4, 10, 10);
    assert_eq!(takes(&rate, 0, START, 11), 10);
    // Every cell's lock is held elsewhere: a refusal that took one would never return.
    let held = hold_all(rate.cells.get().unwrap());
    for core in 0..4 {
        assert_eq!(takes(&rate, core, START + 9 * NANOS_PER_SECOND, 1_000), 0);
    }
    drop(held);
    assert_conserved(&rate);
}

#[test]
fn tokens_that_came_back_at_a_quiet_core_are_found_by_another() {
    let rate = Rate::new(3, 100, 10);
    assert_eq!(takes(&rate, 2, START, 100), 100);
    assert_eq!(takes(&rate, 0, START + 11 * NANOS_PER_SECOND, 101), 100);
    assert_eq!(rate.used(at(START + 22 * NANOS_PER_SECOND)), 0);
    assert_conserved(&rate);
}

#[test]
fn a_cell_tells_without_its_lock_whether_it_may_have_a_token() {
    let (rate, window_ticks) = (Rate::new(2, 2, 10), 10 * NANOS_PER_SECOND / TICK_NANOS);
    let seems_wet = |nanos| {
        let cells = rate.cells.get().unwrap();
        [0, 1].map(|core| cells[core].seems_wet(tick_now(at(nanos)), window_ticks))
    };
    assert_eq!(takes(&rate, 0, START, 1), 1);
    assert_eq!(seems_wet(START), [true, false], "one is free, and all lay there at first");
    assert_eq!(takes(&rate, 1, START, 1), 1);
    assert_eq!(seems_wet(START), [false, false]);
    assert_eq!(seems_wet(START + 10 * NANOS_PER_SECOND + LATE_NANOS_MAX), [true, true], "they come back");
}

#[test]
fn a_larger_limit_is_there_at_once_for_those_who_were_refused() {
    let rate = Rate::new(2, 10, 10);
    assert_eq!(takes(&rate, 0, START, 20) + takes(&rate, 1, START, 20), 10);
    rate.reconfigure(15, 10, at(START));
    assert_eq!(takes(&rate, 1, START, 20), 5);
    assert_conserved(&rate);
}

#[test]
fn a_smaller_limit_lets_nobody_in_until_what_is_spent_is_below_it() {
    let rate = Rate::new(2, 100, 10);
    assert_eq!(takes(&rate, 0, START, 50), 50);
    assert_eq!(takes(&rate, 1, START + NANOS_PER_SECOND, 30), 30);
    rate.reconfigure(40, 10, at(START + NANOS_PER_SECOND));
    assert_conserved(&rate);
    assert_eq!(takes(&rate, 0, START + 2 * NANOS_PER_SECOND, 10), 0);
    assert_eq!(rate.used(at(START + 2 * NANOS_PER_SECOND)), 80);
    // The fifty are back; thirty are still spent.
    assert_eq!(takes(&rate, 0, START + 10_010 * MILLISECOND, 100), 10);
    assert_conserved(&rate);
    assert_eq!(takes(&rate, 1, START + 11_020 * MILLISECOND, 100), 30);
}

#[test]
fn a_limit_lowered_and_raised_again_is_what_it_was() {
    let rate = Rate::new(2, 100, 10);
    assert_eq!(takes(&rate, 0, START, 80), 80);
    rate.reconfigure(40, 10, at(START));
    rate.reconfigure(100, 10, at(START));
    assert_eq!(takes(&rate, 1, START, 100), 20);
    assert_conserved(&rate);
}

#[test]
fn a_new_window_holds_for_spent_tokens_too() {
    let rate = Rate::new(1, 10, 3_600);
    assert_eq!(takes(&rate, 0, START, 11), 10);
    rate.reconfigure(10, 1, at(START));
    assert_eq!(takes(&rate, 0, START + 1_010 * MILLISECOND, 11), 10);
    rate.reconfigure(10, 60, at(START + 1_010 * MILLISECOND));
    assert_eq!(takes(&rate, 0, START + 30 * NANOS_PER_SECOND, 11), 0);
}

#[test]
fn an_idle_webhook_is_changed_without_memory() {
    let rate = Rate::new(64, 100, 10);
    rate.reconfigure(3, 10, at(START));
    assert_eq!(rate.used(at(START)), 0);
    assert!(rate.cells.get().is_none());
    assert!(size_of::<Rate>() <= 64);
    assert_eq!(takes(&rate, 63, START, 10), 3);
}

#[test]
fn extreme_limits_and_unknown_cores_are_served() {
    let rate = Rate::new(2, u32::MAX, u32::MAX);
    assert_eq!(takes(&rate, 9, START, 1_000), 1_000);
    rate.reconfigure(0, 0, at(START));
    assert_eq!(takes(&rate, 9, START, 1), 0);
    assert_eq!(takes(&rate, 1, START + 1_010 * MILLISECOND, 2), 1);
    assert_conserved(&rate);
    assert_eq!(takes(&Rate::new(0, 0, 0), 0, 0, 2), 1);
}

#[test]
fn a_shared_rate_spends_what_it_holds_while_it_may() {
    let rate = Rate::shared(2, 100, 10);
    let later = START + NANOS_PER_SECOND;
    let throttled = rate.take(0, at(START)).unwrap_err();
    assert_eq!(rate.shortage(throttled, false, at(START)), Shortage::Ask);
    rate.hold(5, later, at(START));
    assert_eq!((takes(&rate, 0, START, 3), takes(&rate, 1, START, 9)), (3, 2));
    rate.hold(10, later, at(START));
    assert_eq!((takes(&rate, 1, START, 4), rate.used(at(START))), (4, 9));
    assert_eq!(takes(&rate, 1, later, 1), 0, "its time is over");
    rate.hold(5, later + NANOS_PER_SECOND, at(later));
    assert_eq!(takes(&rate, 1, later, 9), 0, "nine of five are spent");
    let back = START + 10 * NANOS_PER_SECOND + LATE_NANOS_MAX;
    rate.hold(5, back + NANOS_PER_SECOND, at(back));
    assert_eq!(takes(&rate, 0, back, 9), 5, "those that were spent come back, as many as are held");
    assert_conserved(&rate);
    let rate = Rate::shared(1, 100, 10);
    let (until, refused) = (START + 3 * NANOS_PER_SECOND, |seconds| {
        Shortage::Throttled(Throttled { retry_after_seconds: seconds })
    });
    rate.refuse_until(until, false);
    assert_eq!(rate.shortage(throttled, false, at(START)), refused(3));
    assert_eq!(rate.shortage(throttled, true, at(until)), refused(1));
    assert_eq!(rate.shortage(throttled, false, at(until)), Shortage::Ask);
    rate.refuse_until(START + 9 * NANOS_PER_SECOND, true);
    assert_eq!(rate.shortage(throttled, false, at(START)), Shortage::CutOff);
    let own = Rate::new(1, 1, 10);
    assert_eq!(own.shortage(throttled, false, at(START)), Shortage::Throttled(throttled));
}

#[test]
fn threads_that_together_call_no_more_than_the_limit_are_never_refused() {
    const THREADS: usize = 8;
    const CALLS: u32 = if cfg!(miri) { 10 } else { 500 };
    const ROUNDS: u64 = if cfg!(miri) { 2 } else { 40 };
    for round in 0..ROUNDS {
        let rate = Rate::new(THREADS, THREADS as u32 * CALLS, 10);
        std::thread::scope(|scope| {
            for core in 0..THREADS {
                let rate = &rate;
                scope.spawn(move || assert_eq!(takes(rate, core, START + round, CALLS), CALLS));
            }
        });
        assert_eq!(takes(&rate, 0, START, 1), 0);
        assert_conserved(&rate);
    }
}

#[test]
fn threads_and_a_changing_limit_never_make_or_lose_a_token() {
    const THREADS: usize = 6;
    const CALLS: u64 = if cfg!(miri) { 60 } else { 30_000 };
    const CHANGES: u32 = if cfg!(miri) { 10 } else { 500 };
    let rate = Rate::new(THREADS, 100, 1);
    std::thread::scope(|scope| {
        for core in 0..THREADS {
            let rate = &rate;
            scope.spawn(move || {
                for call in 0..CALLS {
                    let _ = rate.take(core, at(START + call * 50_000));
                }
            });
        }
        for change in 0..CHANGES {
            rate.reconfigure(
                1 + change * 7919 % 300,
                1 + change % 2,
                at(START + u64::from(change) * 3_000_000),
            );
            assert_conserved(&rate);
        }
    });
    assert_conserved(&rate);
}
