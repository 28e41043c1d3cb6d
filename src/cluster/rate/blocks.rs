//! How a limit is cut into blocks.

/// Blocks of a limit that has as many tokens: a node asks the server once for five in a hundred calls.
pub const BLOCKS: u32 = 20;

/// The blocks of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    tokens: u32,
    count: u32,
}

impl Blocks {
    /// The blocks of a limit of `tokens`.
    #[must_use]
    pub fn of(tokens: u32) -> Blocks {
        Blocks { tokens, count: tokens.min(BLOCKS) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// The tokens of a block: as many as of any other, or one more.
    #[must_use]
    pub fn tokens_of(self, block: u32) -> u32 {
        if block >= self.count {
            return 0;
        }
        self.tokens / self.count + u32::from(block < self.tokens % self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_limit_have_all_of_its_tokens_and_no_more() {
        for tokens in (0..500).chain([999, 1_000, 1_000_000_000]) {
            let blocks = Blocks::of(tokens);
            let sum: u32 = (0..blocks.count()).map(|block| blocks.tokens_of(block)).sum();
            assert_eq!(sum, tokens);
            assert_eq!(blocks.tokens_of(blocks.count()), 0);
            assert!((0..blocks.count()).all(|block| blocks.tokens_of(block) > 0));
        }
        assert_eq!((0..20).map(|block| Blocks::of(100).tokens_of(block)).max(), Some(5));
    }
}
