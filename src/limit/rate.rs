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
#[path = "rate/tests.rs"]
mod tests;
