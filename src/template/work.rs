//! The work that one rendering may cause, and what each kind of work costs.
//!
//! One unit is about a nanosecond of a core. Every step is charged before it is taken, by a price that is no lower than
//! what the step takes on the least favourable input; `tools/work` compares the prices with counted instructions.

use super::error::RenderError;

/// Bytes that a rendering may have where nothing smaller is asked for: far over any payload limit.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Units that the nodes of all flows may spend for one event, and that any other rendering may: 20 ms of a core, which
/// other connections wait for.
pub(crate) const WORK_MAX: usize = 20_000_000;

/// A node, an expression, a turn of a loop.
pub(super) const STEP: usize = 40;
/// A byte of JSON that is searched for members or values.
pub(super) const SCAN: usize = 3;
/// A byte of text that is read, copied or compared.
pub(super) const READ: usize = 1;
/// A byte of a string with escapes, which are undone one by one.
pub(super) const UNESCAPE: usize = 9;
/// A character that HTML wants escaped.
pub(super) const ESCAPE: usize = 16;
/// A byte that is encoded, decoded, or converted on its own.
pub(super) const CONVERT: usize = 8;
/// A number that is read from a few digits.
pub(super) const NUMBER_SHORT: usize = 80;
/// A number that is read from many digits, of which all may decide how it is rounded.
pub(super) const NUMBER_LONG: usize = 40_000;
/// Digits that are read without regard to how they are rounded.
pub(super) const NUMBER_SHORT_BYTES: usize = 20;
/// A number that is written with the fewest digits.
pub(super) const NUMBER_TEXT: usize = 2_000;

/// The rest of the work budget.
#[derive(Debug)]
pub struct Work {
    left: usize,
    /// The units at the beginning.
    budget: usize,
}

/// Bytes of an event that its nodes read within [`WORK_MAX`]: four times the default limit of a payload.
const EVENT_BYTES: usize = 1024 * 1024;
/// Units for each byte beyond that, so that nodes can read what an operator has allowed to be sent: ten lookups.
const EVENT_UNITS_PER_BYTE: usize = 10 * SCAN;

impl Default for Work {
    fn default() -> Work {
        Work { left: WORK_MAX, budget: WORK_MAX }
    }
}

impl Work {
    /// For the nodes of an event of so many bytes.
    #[must_use]
    pub fn of_event(bytes: usize) -> Work {
        let more = bytes.saturating_sub(EVENT_BYTES).saturating_mul(EVENT_UNITS_PER_BYTE);
        let budget = WORK_MAX.saturating_add(more);
        Work { left: budget, budget }
    }

    /// The units spent so far.
    #[must_use]
    pub fn spent(&self) -> usize {
        self.budget.saturating_sub(self.left)
    }

    /// The units that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// Pays for work that others than templates have done for the same event.
    pub fn charge(&mut self, units: usize) {
        self.left = self.left.saturating_sub(units);
    }

    /// For one reading of a value that is sent as it is: each byte is read once.
    pub(super) fn unlimited() -> Work {
        Work { left: usize::MAX, budget: usize::MAX }
    }

    /// Pays for work before it is done.
    #[inline]
    pub(super) fn spend(&mut self, units: usize) -> Result<(), RenderError> {
        self.left = self.left.checked_sub(units).ok_or(RenderError::TooMuchWork)?;
        Ok(())
    }

    /// Takes back a part of what was paid for work that turned out not to be needed.
    #[inline]
    pub(super) fn give_back(&mut self, units: usize) {
        self.left = self.left.saturating_add(units);
    }

    /// Pays for work on so many bytes.
    #[inline]
    pub(super) fn spend_bytes(&mut self, bytes: usize, each: usize) -> Result<(), RenderError> {
        self.spend(bytes.saturating_mul(each))
    }
}
