//! Finds the next byte of a string that is not plain, several bytes at a time.

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
/// Bytes looked at in one go while a string is long; the compiler makes vector instructions of it.
const BLOCK: usize = 32;
/// Bytes of a string that are looked at word by word before the rest is searched.
const SHORT: usize = 32;

/// A byte that cannot stand for itself in a JSON string (RFC 8259, section 7).
const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Marks in the high bit of each byte of `word` whether that byte is special. Borrows may mark bytes above the first
/// special one wrongly, never below it, so only the lowest mark is to be believed.
const fn marks(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    (below | quotes | backslashes) & HIGHS
}

/// As [`marks`], for the quote and the backslash alone.
const fn ends(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash) & HIGHS
}

/// Whether a block holds a special byte.
fn block_is_special(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |any, &byte| any | is_special(byte))
}

/// Position, at or after `from`, of the first control character, quote or backslash; the length of `bytes` if there is
/// none.
#[inline]
pub(super) fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut words = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = marks(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
        words += 1;
        if words == 4 {
            at = skip_blocks(bytes, at);
        }
    }
    while at < bytes.len() && !is_special(bytes[at]) {
        at += 1;
    }
    at.min(bytes.len())
}

/// Skips blocks that hold nothing special.
fn skip_blocks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        if block_is_special(block) {
            break;
        }
        at += BLOCK;
    }
    at
}

/// Position just behind the quote that ends the string whose content begins at `from`, and whether the string has
/// escapes. A string that does not end reaches to the end of `bytes`. What may not stand in a string is passed over: it was
/// looked for when the text was validated.
#[inline]
pub(super) fn string_end(bytes: &[u8], from: usize) -> (usize, bool) {
    let mut at = from;
    let mut escapes = false;
    while let Some(found) = quote_or_backslash(bytes, at) {
        if bytes[found] == b'"' {
            return (found + 1, escapes);
        }
        escapes = true;
        at = found + 2;
    }
    (bytes.len(), escapes)
}

/// Position, at or after `from`, of the first quote or backslash.
#[inline]
fn quote_or_backslash(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    // Most strings end before a search with vectors has begun.
    while at < from + SHORT
        && let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>())
    {
        let found = ends(u64::from_le_bytes(*chunk));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', bytes.get(at..)?).map(|further| at + further)
}

/// Position, at or after `from`, of the first byte that is not JSON's white space.
#[inline]
pub(super) fn white(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_value_is_found_or_passed_at_every_place() {
        for place in 0..100 {
            for byte in 0..=255 {
                let mut bytes = [b'x'; 101];
                bytes[place] = byte;
                let expected = if is_special(byte) { place } else { 101 };
                assert_eq!(special(&bytes, 0), expected, "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_looking_at_each_byte(bytes: Vec<u8>, from in 0_usize..40) {
            let slow = bytes.iter().enumerate().skip(from).find(|(_, b)| is_special(**b));
            let expected = slow.map_or(bytes.len(), |(at, _)| at);
            prop_assert_eq!(special(&bytes, from), expected);
        }
    }
}
