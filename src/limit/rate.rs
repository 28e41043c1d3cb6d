//! At most so many calls in any window, all cores together, exactly.
//!
//! # Tokens
//!
//! A webhook has as many tokens as calls that a window admits. A call spends one, which comes back a window
//! later. Each core has a cell with the tokens that lie free with it and a log of those it has spent. A call takes a
//! token from its core's own cell; where that is dry, from another's, together with some more for the calls to come.
//! Tokens move between two cells only while both are locked, so none is ever under way:
//!
//! **Invariant**: over all cells, taken under all locks, `free + spent == tokens + debt`, and `debt > 0` only while
//! `free == 0`. So a caller is refused only after a look under *all* locks found every token spent, and what is spent
//! in a window is never more than the tokens. (Debt is what a smaller limit takes away that is still spent: what
//! comes back pays it first.)
//!
//! A refusal notes in every cell the tick in which the next token comes back. Until then nothing can become free, so
//! refusals are one read of the core's own line: a flood costs a lock no more than once a tick and core.
//!
//! # Time
//!
//! Cores do not read the clock for each call, so a core's `now` may lag behind the true time `t` by up to
//! S = [`CLOCK_STALE_NANOS_MAX`]: `now ≤ t ≤ now + S`. With W the window, a whole number of ticks:
//!
//! - A token that is spent at `t` is noted in tick `k = ⌈(now + S) / tick⌉`, so `k·tick ≥ t`. It is taken back by a core whose
//!   `now' ≥ k·tick + W`, so at a true time `t' ≥ now' ≥ t + W`: never early.
//! - `k·tick < now + S + tick ≤ t + S + tick`, and a core's `now'` is there at the latest S after the true time is. So
//!   the token is to be had before `t + W + 2·S + tick`: at most 9 ms late, where the guide ([limits and
//!   refusals](crate::guide::limits_and_refusals#limits)) allows 10.
//!
//! # SharedRate by several processes
//!
//! A rate whose limit several nodes share ([`Rate::shared`]) has as many tokens as its node holds at present
//! ([`Rate::hold`]), and may spend them up to a moment that is renewed: a process that was stopped in between finds
//! them gone. A call that finds no token may ask for more, unless it is known that there are none.

use super::cell::{Cell, Held, NEVER};
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::sync::Ordering::Relaxed;
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, OnceLock, PoisonError};
use crate::base::turn;
use smallvec::SmallVec;

/// Nanoseconds in a tick: the grain of returns. A second is a whole number of them.
pub const TICK_NANOS: u64 = 4_000_000;

/// How far a core's `now` may lag behind the time at which it takes a token, in nanoseconds. [`turn::Turn`] reads the clock
/// often enough, whatever a turn costs.
pub const CLOCK_STALE_NANOS_MAX: u64 = 2_500_000;

// What a turn does between a reading of the clock and a call is less than that.
const _: () = assert!(turn::STALE_NANOS_MAX <= CLOCK_STALE_NANOS_MAX);

/// How late a token may be, in nanoseconds (10 ms: [limits and refusals](crate::guide::limits_and_refusals#limits)).
const LATE_NANOS_MAX: u64 = 10_000_000;
const _: () = assert!(2 * CLOCK_STALE_NANOS_MAX + TICK_NANOS <= LATE_NANOS_MAX);

const TICKS_PER_SECOND: u64 = NANOS_PER_SECOND / TICK_NANOS;
const _: () = assert!(TICKS_PER_SECOND * TICK_NANOS == NANOS_PER_SECOND);

/// The longest window: a day. Longer ones are taken as this.
pub(crate) const WINDOW_SECONDS_MAX: u32 = 86_400;

/// The rate limit of one webhook. 64 bytes at most until its first call.
#[derive(Debug)]
pub struct Rate {
    cells: OnceLock<Box<[Cell]>>,
    /// Tokens that a smaller limit took away and that are still spent.
    debt: AtomicU32,
    cores: u32,
    /// Held while cells are made and while the limit changes.
    limit: Mutex<Limit>,
    /// `None`: all tokens are this process's.
    shared: Option<Box<SharedRate>>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    tokens: u32,
    window_seconds: u32,
    /// Of the tokens, those that this process has.
    held: u32,
}

/// State of a rate that several processes share.
#[derive(Debug, Default)]
struct SharedRate {
    /// The tokens may be spent before this moment.
    until_nanos: AtomicU64,
    /// There is nothing to ask for before this moment.
    asks_from_nanos: AtomicU64,
    /// Whether that is because nobody answers.
    is_cut_off: AtomicBool,
}

/// The decision about a call that found no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Shortage {
    /// The limit is reached.
    Throttled(Throttled),
    /// Another process may have a token for it.
    Ask,
    /// Nobody can tell: those who know do not answer.
    CutOff,
}

/// Over the limit (429, or close 1008).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttled {
    /// When the next token comes back: whole seconds, rounded up, at least 1; for `Retry-After`. (It may be the window and
    /// one second, where the refused call follows the first one at once; and while what comes back pays the
    /// debt of a lowered limit, the one after may have to be waited for.)
    pub retry_after_seconds: u32,
}

impl Limit {
    fn new(tokens: u32, window_seconds: u32) -> Limit {
        let tokens = tokens.max(1);
        Limit { tokens, window_seconds: window_seconds.clamp(1, WINDOW_SECONDS_MAX), held: tokens }
    }

    fn window_ticks(self) -> u64 {
        u64::from(self.window_seconds) * TICKS_PER_SECOND
    }
}

impl Throttled {
    fn until(tick: u64, now: Now) -> Throttled {
        // A core that lags notices the return that much later.
        let wait =
            (tick.saturating_mul(TICK_NANOS).saturating_add(CLOCK_STALE_NANOS_MAX)).saturating_sub(now.nanos);
        let seconds = wait.div_ceil(NANOS_PER_SECOND).clamp(1, u64::from(WINDOW_SECONDS_MAX) + 1);
        Throttled { retry_after_seconds: seconds as u32 }
    }
}

impl Rate {
    /// At most `tokens` calls in any `window_seconds`, for cores numbered below `cores`. No less than one of each; "no limit"
    /// is no `Rate`.
    #[must_use]
    pub fn new(cores: usize, tokens: u32, window_seconds: u32) -> Rate {
        Rate {
            cells: OnceLock::new(),
            debt: AtomicU32::new(0),
            cores: u32::try_from(cores.max(1)).unwrap_or(u32::MAX),
            limit: Mutex::new(Limit::new(tokens, window_seconds)),
            shared: None,
        }
    }

    /// The same over several processes, of which this one holds no token yet.
    #[must_use]
    pub fn shared(cores: usize, tokens: u32, window_seconds: u32) -> Rate {
        let limit = Limit { held: 0, ..Limit::new(tokens, window_seconds) };
        let shared = Some(Box::default());
        Rate { limit: Mutex::new(limit), shared, ..Rate::new(cores, tokens, window_seconds) }
    }

    /// Sets how many of a shared rate's tokens this process holds, and until when they may be spent.
    pub fn hold(&self, tokens: u32, until_nanos: u64, now: Now) {
        let Some(shared) = &self.shared else { return };
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Limit { held: tokens, ..*limit };
        self.change(&mut limit, new, now);
        shared.until_nanos.store(until_nanos, Relaxed);
    }

    /// Says that there is nothing to ask for before a moment; `is_cut_off`: because nobody answers.
    pub fn refuse_until(&self, nanos: u64, is_cut_off: bool) {
        if let Some(shared) = &self.shared {
            shared.is_cut_off.store(is_cut_off, Relaxed);
            shared.asks_from_nanos.store(nanos, Relaxed);
        }
    }

    /// The decision about a call that [`Self::take`] has refused. `has_asked`: it has asked for a token already.
    pub fn shortage(&self, throttled: Throttled, has_asked: bool, now: Now) -> Shortage {
        let Some(shared) = &self.shared else { return Shortage::Throttled(throttled) };
        let from = shared.asks_from_nanos.load(Relaxed);
        if shared.is_cut_off.load(Relaxed) && (has_asked || now.nanos < from) {
            return Shortage::CutOff;
        }
        if now.nanos >= from && !has_asked {
            return Shortage::Ask;
        }
        let wait =
            from.saturating_sub(now.nanos).div_ceil(NANOS_PER_SECOND).clamp(1, u64::from(WINDOW_SECONDS_MAX));
        Shortage::Throttled(Throttled { retry_after_seconds: wait as u32 })
    }

    /// Spends a token for a call on `core`. `now` is that core's, read [`CLOCK_STALE_NANOS_MAX`] ago at most.
    ///
    /// # Errors
    ///
    /// [`Throttled`] where all tokens are spent; nothing is written then.
    pub fn take(&self, core: usize, now: Now) -> Result<(), Throttled> {
        if let Some(shared) = &self.shared
            && now.nanos >= shared.until_nanos.load(Relaxed)
        {
            return Err(Throttled { retry_after_seconds: 1 });
        }
        let cells = match self.cells.get() {
            Some(cells) => cells,
            None => self.make_cells(core),
        };
        // A core that was not announced shares the first one's cell, which is slower and no less exact.
        let core = if core < cells.len() { core } else { 0 };
        let dry_until = cells[core].dry_until();
        if tick_now(now) < dry_until {
            return Err(Throttled::until(dry_until, now));
        }
        let mut own = cells[core].hold();
        own.collect(tick_now(now), &self.debt);
        if own.spend(tick_spent(now)) {
            return Ok(());
        }
        let window_ticks = own.window_ticks();
        drop(own);
        self.take_elsewhere(cells, core, window_ticks, now)
    }

    /// Changes the limit. More tokens are there at once; fewer become so as spent ones come back, and no window lets
    /// in more than the new number meanwhile. A new window holds for the tokens that are spent already, too.
    pub fn reconfigure(&self, tokens: u32, window_seconds: u32, now: Now) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Limit::new(tokens, window_seconds);
        if self.shared.is_some() {
            // Who shares it takes away what is too much.
            new.held = limit.held;
        }
        self.change(&mut limit, new, now);
    }

    fn change(&self, limit: &mut Limit, new: Limit, now: Now) {
        let old = std::mem::replace(limit, new);
        let Some(cells) = self.cells.get() else { return };
        let mut held = hold_all(cells);
        for cell in &mut held {
            cell.collect(tick_now(now), &self.debt);
            cell.set_window_ticks(new.window_ticks());
            cell.set_dry_until(0);
        }
        if new.held >= old.held {
            let more = new.held - old.held;
            let debt = self.debt.load(Relaxed);
            self.debt.store(debt.saturating_sub(more), Relaxed);
            held[0].set_free(held[0].free() + more.saturating_sub(debt));
        } else {
            let mut fewer = old.held - new.held;
            for cell in &held {
                let gone = fewer.min(cell.free());
                cell.set_free(cell.free() - gone);
                fewer -= gone;
            }
            self.debt.store(self.debt.load(Relaxed) + fewer, Relaxed);
        }
    }

    /// How many calls a window admits, and its length in seconds.
    #[must_use]
    pub fn limit(&self) -> (u32, u32) {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        (limit.tokens, limit.window_seconds)
    }

    /// Calls of the past window, at this moment. For people to look at: it locks one cell after another, and gives
    /// back memory that is no longer needed.
    #[must_use]
    pub fn used(&self, now: Now) -> u32 {
        let Some(cells) = self.cells.get() else { return 0 };
        cells.iter().fold(0, |sum: u32, cell| {
            let mut cell = cell.hold();
            cell.collect(tick_now(now), &self.debt);
            sum.saturating_add(cell.spent())
        })
    }

    /// The first call: all tokens lie with the core that it came to.
    #[cold]
    fn make_cells(&self, core: usize) -> &[Cell] {
        // While this is held no change of the limit can miss the cells.
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        self.cells.get_or_init(|| {
            let first = if core < self.cores as usize { core } else { 0 };
            let tokens = |index| if index == first { limit.held } else { 0 };
            (0..self.cores as usize).map(|index| Cell::new(tokens(index), limit.window_ticks())).collect()
        })
    }

    /// The core's own cell is dry: looks at the others without writing, and takes from the first that seems to have
    /// some: all that has come back there, and half of what is free.
    #[cold]
    fn take_elsewhere(
        &self,
        cells: &[Cell],
        core: usize,
        window_ticks: u64,
        now: Now,
    ) -> Result<(), Throttled> {
        for step in 1..cells.len() {
            let other = (core + step) % cells.len();
            if !cells[other].seems_wet(tick_now(now), window_ticks) {
                continue;
            }
            let (mut own, mut other) = hold_two(cells, core, other);
            let back = other.collect(tick_now(now), &self.debt);
            let moved = back + (other.free() - back).div_ceil(2);
            other.set_free(other.free() - moved);
            own.set_free(own.free() + moved);
            if own.spend(tick_spent(now)) {
                return Ok(());
            }
        }
        self.take_under_all_locks(cells, core, now)
    }

    /// No cell seemed to have a token, but they were not looked at in one moment: decides what is so.
    #[cold]
    fn take_under_all_locks(&self, cells: &[Cell], core: usize, now: Now) -> Result<(), Throttled> {
        let mut held = hold_all(cells);
        for cell in &mut held {
            cell.collect(tick_now(now), &self.debt);
        }
        let richest = (0..held.len()).max_by_key(|index| held[*index].free()).unwrap_or(core);
        if richest != core {
            let moved = held[richest].free().div_ceil(2);
            held[richest].set_free(held[richest].free() - moved);
            held[core].set_free(held[core].free() + moved);
        }
        if held[core].spend(tick_spent(now)) {
            return Ok(());
        }
        let dry_until = held.iter().map(Held::next_return).min().unwrap_or(NEVER);
        for cell in &held {
            cell.set_dry_until(dry_until);
        }
        Err(Throttled::until(dry_until, now))
    }
}

/// The tick that has come for sure: tokens that come back in it are back.
fn tick_now(now: Now) -> u64 {
    now.nanos / TICK_NANOS
}

/// The first tick that begins no earlier than a token taken at `now` is spent.
fn tick_spent(now: Now) -> u64 {
    now.nanos.saturating_add(CLOCK_STALE_NANOS_MAX).div_ceil(TICK_NANOS)
}

/// Locks two different cells, the lower one first, as everybody does.
fn hold_two(cells: &[Cell], own: usize, other: usize) -> (Held<'_>, Held<'_>) {
    if own < other {
        let own = cells[own].hold();
        (own, cells[other].hold())
    } else {
        let other = cells[other].hold();
        (cells[own].hold(), other)
    }
}

/// Locks all cells, from the lowest to the highest.
fn hold_all(cells: &[Cell]) -> SmallVec<[Held<'_>; 16]> {
    cells.iter().map(Cell::hold).collect()
}

#[cfg(test)]
mod tests {
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
}
