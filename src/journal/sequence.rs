//! Names of entries.

use std::fmt;
use std::str::FromStr;

/// Bits of a [`Sequence`] that count; the rest name the core.
const COUNTER_BITS: u32 = 48;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;

/// Name of an entry: the core that appended it and a number that this core counts up. Never used twice in a data folder,
/// whatever number of cores it is served with: every start counts from above all that is in the folder.
///
/// Sequences of one core compare by age. Those of different cores do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of a core and its number, which keeps its lower 48 bits.
    #[must_use]
    pub fn new(core: u16, counter: u64) -> Sequence {
        Sequence(u64::from(core) << COUNTER_BITS | counter & COUNTER_MAX)
    }

    /// The sequence that [`raw`](Self::raw) gave.
    #[must_use]
    pub fn from_raw(raw: u64) -> Sequence {
        Sequence(raw)
    }

    /// As one number.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// The core that appended the entry, in the run that accepted it.
    #[must_use]
    pub fn core(self) -> u16 {
        (self.0 >> COUNTER_BITS) as u16
    }

    /// The number that the core counted.
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0 & COUNTER_MAX
    }

    /// The core's next sequence.
    #[must_use]
    pub fn next(self) -> Sequence {
        Sequence::new(self.core(), self.counter() + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.core(), self.counter())
    }
}

impl FromStr for Sequence {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Sequence, &'static str> {
        let parsed = text.split_once('-').and_then(|(core, counter)| {
            let counter: u64 = counter.parse().ok()?;
            (counter <= COUNTER_MAX).then_some(Sequence::new(core.parse().ok()?, counter))
        });
        parsed.ok_or("must be a core and a number, as in 0-4711")
    }
}

/// Name of an entry and the core whose journal keeps it in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    /// The core to tell when a delivery is done. Another than [`Sequence::core`] after a start with another number of
    /// cores.
    pub core: u16,
    pub sequence: Sequence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_read_as_it_is_written() {
        for sequence in [Sequence::new(0, 0), Sequence::new(65_535, COUNTER_MAX), Sequence::new(3, 4711)] {
            assert_eq!(sequence.to_string().parse(), Ok(sequence));
            assert_eq!(Sequence::from_raw(sequence.raw()), sequence);
        }
        assert_eq!((Sequence::new(3, 9).core(), Sequence::new(3, 9).next().counter()), (3, 10));
        for text in ["", "3", "3-", "-3", "65536-1", "0-281474976710656", "0--1", "a-1"] {
            assert!(text.parse::<Sequence>().is_err(), "{text}");
        }
    }
}
