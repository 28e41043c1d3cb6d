//! State that a core keeps of the webhooks that it was called for lately: a cache of a fixed size, so that a million webhooks take
//! no more memory than a few and no call waits for a table to grow. What falls out of it is told to the book.

use crate::base::id::Id;

/// Sets of the cache. 8,192 × 4 seats of 48 bytes are 1.5 MiB for each core.
const SETS: usize = 8_192;
/// Seats of a set.
const WAYS: usize = 4;

/// State that a core keeps of one webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) webhook: Id,
    /// Records of the present second.
    pub(super) taken: u32,
    /// When it was last called, in milliseconds since 1970; 0: never, and the seat is free.
    pub(super) last_call: u64,
    /// When the present second of sampling is over, in milliseconds since 1970.
    pub(super) second_ends: u64,
    /// Names the refusal of the last record; 0: it was none.
    pub(super) refusal: u32,
    /// Refusals like the last record since the last hand-over.
    pub(super) folded: u32,
    /// Other calls since the last hand-over that were not recorded.
    pub(super) skipped: u32,
    /// Whether it is on the list of those with counts to hand over.
    pub(super) is_listed: bool,
}

const _: () = assert!(size_of::<Seat>() <= 48);

/// The seats of a core.
pub(super) struct Seats {
    seats: Vec<Seat>,
    hasher: ahash::RandomState,
    /// The seat that was found last: one busy webhook finds its own without a hash.
    last: usize,
}

impl Seats {
    /// All free.
    pub(super) fn new(seed: u64) -> Seats {
        let hasher = ahash::RandomState::with_seeds(seed, seed.rotate_left(17), !seed, seed ^ 0x9e37);
        Seats { seats: vec![Seat::default(); SETS * WAYS], hasher, last: 0 }
    }

    /// Returns the place of a webhook's seat, and the seat that was given up for it if there was none free.
    #[inline]
    pub(super) fn place(&mut self, webhook: Id) -> (usize, Option<Seat>) {
        if self.seats[self.last].webhook == webhook && self.seats[self.last].last_call != 0 {
            return (self.last, None);
        }
        self.find(webhook)
    }

    fn find(&mut self, webhook: Id) -> (usize, Option<Seat>) {
        let first = self.set_of(webhook);
        let set = &mut self.seats[first..first + WAYS];
        if let Some(way) = set.iter().position(|seat| seat.webhook == webhook && seat.last_call != 0) {
            self.last = first + way;
            return (self.last, None);
        }
        // One with counts to hand over is on a list by its place: it stays until they are handed over, if it can.
        let oldest = (0..WAYS).min_by_key(|way| (set[*way].is_listed, set[*way].last_call)).unwrap_or(0);
        let given_up = std::mem::replace(&mut set[oldest], Seat { webhook, ..Seat::default() });
        self.last = first + oldest;
        (self.last, (given_up.last_call != 0).then_some(given_up))
    }

    /// The seat at a place.
    #[inline]
    pub(super) fn at(&mut self, place: usize) -> &mut Seat {
        &mut self.seats[place]
    }

    /// The seat of a webhook, if it has one.
    pub(super) fn find_taken(&self, webhook: Id) -> Option<&Seat> {
        let first = self.set_of(webhook);
        self.seats[first..first + WAYS].iter().find(|seat| seat.webhook == webhook && seat.last_call != 0)
    }

    /// The place of the first seat of a webhook's set.
    fn set_of(&self, webhook: Id) -> usize {
        (self.hasher.hash_one(webhook) as usize % SETS) * WAYS
    }

    /// The seats that are taken.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.last_call != 0)
    }
}
