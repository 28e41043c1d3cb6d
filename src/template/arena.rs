//! Keeps what helpers make until a rendering ends, so that a value is a reference whatever it came from.

use std::cell::{Cell, OnceCell};

/// Values in one allocation. A rendering's budget bounds how many there are in a row.
const LINK_VALUES: usize = 64;

#[derive(Debug)]
struct Link {
    values: [OnceCell<String>; LINK_VALUES],
    next: Slot,
}

impl Default for Link {
    fn default() -> Link {
        Link { values: [const { OnceCell::new() }; LINK_VALUES], next: Slot::default() }
    }
}

/// Room for values, allocated with the first one.
#[derive(Debug, Default)]
pub(super) struct Slot(OnceCell<Box<Link>>);

#[derive(Clone, Copy, Debug)]
struct ArenaPlace<'a> {
    slot: &'a Slot,
    used: usize,
}

/// Hands out references to what it is given, for as long as its first [`Slot`] lives.
#[derive(Debug)]
pub(super) struct Arena<'a>(Cell<ArenaPlace<'a>>);

impl<'a> Arena<'a> {
    pub(super) fn new(slot: &'a Slot) -> Arena<'a> {
        Arena(Cell::new(ArenaPlace { slot, used: 0 }))
    }

    pub(super) fn text(&self, text: String) -> &'a str {
        let ArenaPlace { mut slot, mut used } = self.0.get();
        if used == LINK_VALUES {
            slot = &slot.0.get_or_init(Box::default).next;
            used = 0;
        }
        self.0.set(ArenaPlace { slot, used: used + 1 });
        let link = slot.0.get_or_init(Box::default);
        link.values[used].get_or_init(|| text)
    }
}
