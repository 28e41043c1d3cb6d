//! The tokens of a webhook's rate that one core holds.

use super::spent::Spent;
use crate::base::sync::Ordering::Relaxed;
use crate::base::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, PoisonError};

/// A core's tokens: those that are free here, and those that this core has spent. They are written under the ledger's
/// lock only; the atomics may be *read* without it, as a hint.
///
/// Alone in its pair of cache lines (processors fetch lines in pairs), so that cores do not disturb one another.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cell {
    free: AtomicU32,
    /// Tick of the oldest token spent here and not yet back, [`NEVER`] for none.
    oldest: AtomicU64,
    /// Before this tick no core has a token: a look under all locks found so. The one field that a refusal reads.
    dry_until: AtomicU64,
    ledger: Mutex<Ledger>,
}

// In tests, since `tests/models` includes this file with loom's atomics, which are larger.
#[cfg(test)]
const _: () = assert!(size_of::<Cell>() == 128);

/// No tick.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Debug)]
struct Ledger {
    spent: Spent,
    window_ticks: u64,
}

/// A cell whose lock is held.
#[derive(Debug)]
pub(super) struct Held<'c> {
    cell: &'c Cell,
    ledger: MutexGuard<'c, Ledger>,
}

impl Cell {
    pub(super) fn new(free: u32, window_ticks: u64) -> Cell {
        Cell {
            free: AtomicU32::new(free),
            oldest: AtomicU64::new(NEVER),
            dry_until: AtomicU64::new(0),
            ledger: Mutex::new(Ledger { spent: Spent::default(), window_ticks }),
        }
    }

    /// Locks the cell. Nothing under the lock can panic or wait, so that it is held for some nanoseconds.
    pub(super) fn hold(&self) -> Held<'_> {
        Held { cell: self, ledger: self.ledger.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The tick before which every take is refused, as far as is known here.
    pub(super) fn dry_until(&self) -> u64 {
        self.dry_until.load(Relaxed)
    }

    /// A hint, without the lock, whether there is a token to be had in `tick`.
    pub(super) fn seems_wet(&self, tick: u64, window_ticks: u64) -> bool {
        self.free.load(Relaxed) > 0 || self.oldest.load(Relaxed).saturating_add(window_ticks) <= tick
    }
}

impl Held<'_> {
    pub(super) fn free(&self) -> u32 {
        self.cell.free.load(Relaxed)
    }

    /// Tokens spent here that have not come back.
    pub(super) fn spent(&self) -> u32 {
        self.ledger.spent.total()
    }

    pub(super) fn window_ticks(&self) -> u64 {
        self.ledger.window_ticks
    }

    /// The tick in which the next token comes back, [`NEVER`] for none.
    pub(super) fn next_return(&self) -> u64 {
        self.cell.oldest.load(Relaxed).saturating_add(self.ledger.window_ticks)
    }

    pub(super) fn set_free(&self, free: u32) {
        self.cell.free.store(free, Relaxed);
    }

    pub(super) fn set_dry_until(&self, tick: u64) {
        self.cell.dry_until.store(tick, Relaxed);
    }

    pub(super) fn set_window_ticks(&mut self, window_ticks: u64) {
        self.ledger.window_ticks = window_ticks;
    }

    /// Takes back what has come back by `tick`: it first pays `debt`, then is free here. How many are free of it.
    pub(super) fn collect(&mut self, tick: u64, debt: &AtomicU32) -> u32 {
        if self.next_return() > tick {
            return 0;
        }
        let spent_until = tick - self.ledger.window_ticks;
        let returned = self.ledger.spent.forget_until(spent_until);
        self.cell.oldest.store(self.ledger.spent.oldest().unwrap_or(NEVER), Relaxed);
        let paid = pay(debt, returned);
        self.set_free(self.free() + (returned - paid));
        returned - paid
    }

    /// Spends a free token in `tick`, if there is one.
    pub(super) fn spend(&mut self, tick: u64) -> bool {
        let free = self.free();
        if free == 0 {
            return false;
        }
        self.set_free(free - 1);
        self.ledger.spent.note(tick);
        if self.cell.oldest.load(Relaxed) == NEVER {
            self.cell.oldest.store(tick, Relaxed);
        }
        true
    }
}

/// Pays as much of `debt` as `tokens` can; how much that was. Several cells may pay at once.
fn pay(debt: &AtomicU32, tokens: u32) -> u32 {
    match debt.fetch_update(Relaxed, Relaxed, |owed| (owed > 0).then(|| owed.saturating_sub(tokens))) {
        Ok(owed) => owed.min(tokens),
        Err(_) => 0,
    }
}
