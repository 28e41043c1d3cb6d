//! Numbers that look random and are the same for the same seed: jitter, and names that nobody has to guess. Never for
//! keys or tokens, which the system's random bytes make.

/// A sequence of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// A sequence that no other process has.
    #[must_use]
    pub fn from_system() -> Random {
        // Without the system's random bytes the numbers of two processes may be the same, which costs jitter alone.
        Random::new(getrandom::u64().unwrap_or_else(|_| super::clock::process_nanos()))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`, both included.
    pub fn up_to(&mut self, most: u64) -> u64 {
        // The high half of a product: without the division of a remainder, and even to one part in 2⁶⁴ / `most`.
        let product = u128::from(self.next_u64()) * (u128::from(most) + 1);
        u64::try_from(product >> 64).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_numbers_and_they_fill_their_range() {
        let mut numbers = Random::new(1);
        assert_eq!(numbers.next_u64(), 0x910A_2DEC_8902_5CC1);
        let mut seen = [0_u32; 4];
        for _ in 0..4_000 {
            seen[usize::try_from(numbers.up_to(3)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(numbers.up_to(0), 0);
        assert!((0..100).any(|_| numbers.up_to(u64::MAX) > u64::MAX / 2));
    }
}
