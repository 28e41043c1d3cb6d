//! A hierarchical timer wheel: setting and cancelling a timer is O(1), with a million of them running too.
//!
//! Time is cut into ticks. A timer's place follows from its tick and the present one alone: its level is the
//! highest group of six bits in which the two differ, its list the value of that group. So at every level all
//! timers lie in lists *ahead* of the present one, the lowest level that is not empty holds the next to come, and
//! a bitmap for each level finds that list in a few instructions. When the wheel comes to a list of a higher
//! level, its timers move to lower ones: each timer moves at most six times in its life, and one of a minute twice.
//!
//! Seven levels of six bits are exactly the ticks in a `u64` of nanoseconds, so no deadline is too far.

/// Bits of a deadline below a tick: a tick is 2²² ns, about 4.2 ms. Nothing here is timed more finely than a second's
/// hundredth, and coarser ticks wake a core less often: timers that are due together fire together.
const TICK_BITS: u32 = 22;

/// Nanoseconds in a tick: no timer fires later than this after its deadline, given that the wheel is advanced.
pub const TICK_NANOS: u64 = 1 << TICK_BITS;

/// Bits of a tick that a level looks at: a bitmap of its lists fills one word.
const LEVEL_BITS: u32 = 6;
const LISTS: usize = 1 << LEVEL_BITS;

/// Levels that all ticks fit in.
const LEVELS: usize = ((u64::BITS - TICK_BITS) / LEVEL_BITS) as usize;
const _: () = assert!(LEVELS as u32 * LEVEL_BITS + TICK_BITS == u64::BITS);

/// The last tick there is, 584 years from the start; a deadline within it fires as it begins.
const LAST_TICK: u64 = u64::MAX >> TICK_BITS;

/// The list of timers that were past their deadline when they were set.
const DUE: usize = LEVELS * LISTS;

/// Place of a timer that is not set.
const NOWHERE: u16 = u16::MAX;

/// No timer. Also the bound on timers: 2³² − 1 of them would not fit in memory.
const NONE: u32 = u32::MAX;

/// Timers, each with a deadline and a key that is given back when it fires.
#[derive(Debug)]
pub struct Wheel<K> {
    /// The present tick: every timer of it and before has fired.
    tick: u64,
    /// Lists of each level that hold a timer.
    occupied: [u64; LEVELS],
    /// First timer of each list, then of the due ones.
    heads: Box<[u32; LEVELS * LISTS + 1]>,
    timers: Vec<Timer<K>>,
    /// First of the timers that are not set.
    free: u32,
    len: u32,
}

/// A timer that was set. It names that one for ever (until its place has been used 2³² times): a stale one cancels
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// 24 bytes and the key. Timers of a list form a ring, so that the first one's `previous` is the last.
#[derive(Debug)]
struct Timer<K> {
    tick: u64,
    next: u32,
    previous: u32,
    generation: u32,
    /// The list it is in, or [`NOWHERE`].
    list: u16,
    key: K,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel at the time `now_nanos`.
    #[must_use]
    pub fn new(now_nanos: u64) -> Wheel<K> {
        Wheel {
            tick: now_nanos >> TICK_BITS,
            occupied: [0; LEVELS],
            heads: Box::new([NONE; LEVELS * LISTS + 1]),
            timers: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Sets a timer. It fires in the first `advance` to `deadline_nanos` rounded up to a tick, or to later; in the next
    /// one where that is past. Allocates only where more timers are set than ever before.
    pub fn insert(&mut self, deadline_nanos: u64, key: K) -> TimerId {
        let tick = deadline_nanos.div_ceil(TICK_NANOS).min(LAST_TICK);
        let index = if let Some(timer) = self.timers.get_mut(self.free as usize) {
            let index = self.free;
            self.free = timer.next;
            timer.tick = tick;
            timer.key = key;
            index
        } else {
            let index = u32::try_from(self.timers.len()).expect("2^32 timers do not fit in memory");
            self.timers.push(Timer { tick, next: NONE, previous: NONE, generation: 0, list: NOWHERE, key });
            index
        };
        self.len += 1;
        self.link(index);
        TimerId { index, generation: self.timers[index as usize].generation }
    }

    /// Whether the timer was still set; it will not fire.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        match self.timers.get(id.index as usize) {
            Some(timer) if timer.generation == id.generation && timer.list != NOWHERE => {}
            _ => return false,
        }
        self.unlink(id.index);
        self.release(id.index);
        true
    }

    /// Returns when a timer fires, if it is set.
    #[must_use]
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        let timer = self.timers.get(id.index as usize)?;
        let is_set = timer.generation == id.generation && timer.list != NOWHERE;
        is_set.then_some(timer.tick.saturating_mul(TICK_NANOS))
    }

    /// Goes to the time `now_nanos` and appends to `fired` the keys of all timers whose deadline has come: by tick, within
    /// a tick in the order they were set in. A time before the last one is taken as that one.
    pub fn advance(&mut self, now_nanos: u64, fired: &mut Vec<K>) {
        self.drain(DUE, fired);
        let target = now_nanos >> TICK_BITS;
        while let Some((list, tick)) = self.next_list() {
            if tick > target {
                break;
            }
            self.tick = tick;
            self.drain(list, fired);
        }
        self.tick = self.tick.max(target);
    }

    /// When to call `advance` again: no timer is due before that, though it may be that none is due then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if self.heads[DUE] != NONE {
            return Some(self.tick << TICK_BITS);
        }
        self.next_list().map(|(_, tick)| tick << TICK_BITS)
    }

    /// Timers that are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next list that holds a timer, and the tick at which it begins.
    fn next_list(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|lists| *lists != 0)?;
        let list = self.occupied[level].trailing_zeros();
        let shift = level as u32 * LEVEL_BITS;
        // The groups above this level are the present tick's, the ones below it zero.
        let above = self.tick >> shift >> LEVEL_BITS << LEVEL_BITS << shift;
        Some((level * LISTS + list as usize, above | u64::from(list) << shift))
    }

    /// Empties a list: what is due fires, the rest goes to lower levels.
    fn drain(&mut self, list: usize, fired: &mut Vec<K>) {
        let first = std::mem::replace(&mut self.heads[list], NONE);
        if first == NONE {
            return;
        }
        if list < DUE {
            self.occupied[list / LISTS] &= !(1 << (list % LISTS));
        }
        let mut index = first;
        loop {
            let timer = &self.timers[index as usize];
            let next = timer.next;
            if timer.tick <= self.tick {
                fired.push(timer.key);
                self.release(index);
            } else {
                self.link(index);
            }
            index = next;
            if index == first {
                return;
            }
        }
    }

    /// The list for a timer of this tick.
    fn list_of(&self, tick: u64) -> usize {
        if tick <= self.tick {
            return DUE;
        }
        let level = (tick ^ self.tick).ilog2() / LEVEL_BITS;
        level as usize * LISTS + (tick >> (level * LEVEL_BITS)) as usize % LISTS
    }

    /// Appends a timer to the list where its tick belongs.
    fn link(&mut self, index: u32) {
        let list = self.list_of(self.timers[index as usize].tick);
        if list < DUE {
            self.occupied[list / LISTS] |= 1 << (list % LISTS);
        }
        let first = self.heads[list];
        let (previous, next) = if first == NONE {
            self.heads[list] = index;
            (index, index)
        } else {
            let last = std::mem::replace(&mut self.timers[first as usize].previous, index);
            self.timers[last as usize].next = index;
            (last, first)
        };
        let timer = &mut self.timers[index as usize];
        (timer.previous, timer.next, timer.list) = (previous, next, list as u16);
    }

    /// Takes a timer out of its list.
    fn unlink(&mut self, index: u32) {
        let Timer { next, previous, list, .. } = self.timers[index as usize];
        let list = usize::from(list);
        if next == index {
            self.heads[list] = NONE;
            if list < DUE {
                self.occupied[list / LISTS] &= !(1 << (list % LISTS));
            }
            return;
        }
        self.timers[previous as usize].next = next;
        self.timers[next as usize].previous = previous;
        if self.heads[list] == index {
            self.heads[list] = next;
        }
    }

    /// Puts a timer that is in no list among those to be used again.
    fn release(&mut self, index: u32) {
        let timer = &mut self.timers[index as usize];
        timer.generation = timer.generation.wrapping_add(1);
        timer.list = NOWHERE;
        timer.next = self.free;
        self.free = index;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MILLISECOND;

    fn fired<K: Copy>(wheel: &mut Wheel<K>, now: u64) -> Vec<K> {
        let mut fired = Vec::new();
        wheel.advance(now, &mut fired);
        fired
    }

    #[test]
    fn a_timer_fires_once_within_a_tick_of_its_deadline_and_never_before() {
        for start in [0, 1, 977 * SECOND, u64::MAX / 2] {
            for wait in
                [1, MILLISECOND, TICK_NANOS, 10 * SECOND, 60 * SECOND, 86_400 * SECOND, 400 * 86_400 * SECOND]
            {
                let mut wheel = Wheel::new(start);
                wheel.insert(start + wait, 'x');
                assert_eq!(fired(&mut wheel, start + wait - 1), Vec::<char>::new());
                assert_eq!(fired(&mut wheel, start + wait + TICK_NANOS), ['x'], "start {start} wait {wait}");
                assert_eq!(fired(&mut wheel, u64::MAX), Vec::<char>::new());
                assert!(wheel.is_empty());
            }
        }
    }

    #[test]
    fn a_deadline_that_is_past_fires_in_the_next_advance_even_without_time_passing() {
        let mut wheel = Wheel::new(10 * SECOND);
        wheel.insert(3 * SECOND, 1);
        wheel.insert(0, 2);
        assert!(wheel.next_deadline().unwrap() <= 10 * SECOND);
        assert_eq!(fired(&mut wheel, 10 * SECOND), [1, 2]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn the_last_deadline_there_is_waits_until_the_last_tick() {
        let mut wheel = Wheel::new(0);
        wheel.insert(u64::MAX, ());
        assert_eq!(fired(&mut wheel, u64::MAX - TICK_NANOS), []);
        assert_eq!(fired(&mut wheel, u64::MAX), [()]);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_a_stale_id_cancels_nothing() {
        let mut wheel = Wheel::new(0);
        let first = wheel.insert(SECOND, 1);
        assert!(wheel.cancel(first));
        assert!(!wheel.cancel(first));
        let second = wheel.insert(SECOND, 2);
        assert!(!wheel.cancel(first), "the place is used again, the id is not");
        assert_eq!(fired(&mut wheel, 2 * SECOND), [2]);
        assert!(!wheel.cancel(second));
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn timers_of_one_tick_fire_in_the_order_they_were_set_in() {
        let mut wheel = Wheel::new(0);
        for i in 0..10 {
            wheel.insert(60 * SECOND, i);
            // Time passes, so that they are set at different levels.
            assert_eq!(fired(&mut wheel, u64::from(i) * 6 * SECOND), Vec::<u32>::new());
        }
        assert_eq!(fired(&mut wheel, 61 * SECOND), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn time_that_goes_back_fires_nothing_and_breaks_nothing() {
        let mut wheel = Wheel::new(5 * SECOND);
        wheel.insert(6 * SECOND, 1);
        assert_eq!(fired(&mut wheel, SECOND), Vec::<u64>::new());
        assert_eq!(fired(&mut wheel, 7 * SECOND), [1]);
        wheel.insert(8 * SECOND, 2);
        assert_eq!(fired(&mut wheel, 2 * SECOND), Vec::<u64>::new());
        assert_eq!(fired(&mut wheel, 9 * SECOND), [2]);
    }

    #[test]
    fn sleeping_until_the_next_deadline_each_time_wakes_a_few_times_for_a_timer_and_is_never_late() {
        for wait in [10 * MILLISECOND, SECOND, 75 * SECOND, 86_400 * SECOND] {
            let start = 123_456_789_012;
            let mut wheel = Wheel::new(start);
            wheel.insert(start + wait, ());
            let (mut now, mut wakes) = (start, 0);
            while let Some(next) = wheel.next_deadline() {
                now = now.max(next);
                wakes += 1;
                wheel.advance(now, &mut Vec::new());
            }
            assert!((start + wait..=start + wait + TICK_NANOS).contains(&now));
            assert!(wakes <= LEVELS, "{wakes} wakes for a wait of {wait} ns");
        }
    }

    #[test]
    fn a_million_timers_fire_in_their_ticks() {
        const TIMERS: u64 = 1_000_000;
        let mut random = random_from(7);
        let mut wheel = Wheel::new(0);
        let deadlines: Vec<u64> = (0..TIMERS).map(|_| random() % (60 * SECOND)).collect();
        for (index, deadline) in deadlines.iter().enumerate() {
            wheel.insert(*deadline, index);
        }
        let places = wheel.timers.capacity();
        let (mut keys, mut before, mut total) = (Vec::new(), 0, 0);
        for now in (0..=61 * SECOND).step_by(10 * MILLISECOND as usize) {
            wheel.advance(now, &mut keys);
            total += keys.len() as u64;
            for key in keys.drain(..) {
                assert!(deadlines[key] <= now && deadlines[key] + TICK_NANOS > before);
                // Set again at once, as timers of connections are: nothing is allocated for it.
                wheel.insert(now + 3_600 * SECOND, key);
            }
            before = now;
        }
        assert_eq!((total, wheel.len() as u64), (TIMERS, TIMERS));
        assert_eq!(wheel.timers.capacity(), places);
        assert!(size_of::<Timer<u64>>() <= 32 + size_of::<u64>());
    }

    #[test]
    fn it_does_what_a_sorted_map_does() {
        for seed in 1..=30 {
            let mut random = random_from(seed);
            // Some start just below a power of two, where every level turns at once.
            let start = if seed % 3 == 0 { (1u64 << (30 + seed)) - SECOND } else { random() >> 8 };
            let mut now = start;
            let mut wheel = Wheel::new(now);
            let mut model: BTreeMap<(u64, u64), TimerId> = BTreeMap::new();
            let (mut stale, mut sequence) = (Vec::new(), 0);
            for _ in 0..5_000 {
                match random() % 10 {
                    0..6 => {
                        let far = 1 << (random() % 48);
                        let deadline = (now + random() % far).saturating_sub(random() % 3 * TICK_NANOS);
                        let id = wheel.insert(deadline, sequence);
                        // What was due when it was set fires first; then by tick, then as set.
                        let tick = deadline.div_ceil(TICK_NANOS);
                        let tick = if tick <= now / TICK_NANOS { 0 } else { tick };
                        model.insert((tick, sequence), id);
                        sequence += 1;
                    }
                    6..8 => {
                        if let Some(entry) = model.keys().nth(random() as usize % model.len().max(1)).copied()
                        {
                            let id = model.remove(&entry).unwrap();
                            assert!(wheel.cancel(id));
                            stale.push(id);
                        }
                        if let Some(id) = stale.get(random() as usize % stale.len().max(1)) {
                            assert!(!wheel.cancel(*id));
                        }
                    }
                    _ => {
                        now += random() % (1 << (random() % 42));
                        let mut expected = Vec::new();
                        while let Some(entry) = model.first_entry() {
                            if entry.key().0 > now / TICK_NANOS {
                                break;
                            }
                            expected.push(entry.key().1);
                            stale.push(entry.remove());
                        }
                        assert_eq!(fired(&mut wheel, now), expected, "seed {seed}");
                    }
                }
                assert_eq!(wheel.len(), model.len());
                match (wheel.next_deadline(), model.first_key_value()) {
                    (None, None) => {}
                    (Some(next), Some(((tick, _), _))) => {
                        assert!(next <= (tick * TICK_NANOS).max(now), "seed {seed}")
                    }
                    (next, first) => panic!("seed {seed}: next deadline {next:?}, in the model {first:?}"),
                }
            }
        }
    }

    /// SplitMix64: the same numbers for the same seed, on every machine.
    fn random_from(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
    }
}
