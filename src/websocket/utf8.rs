//! UTF-8 checked as it streams: a byte that cannot stand where it stands is found when it comes, not when the
//! message ends (RFC 6455 section 8.1), and a character may be split between reads and between fragments.
//!
//! The bytes of a message lie in one piece, so no state of a decoder is kept, only how far they were good.

/// A byte that no continuation can make good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadUtf8;

/// How many of `bytes` form whole characters. What is left over, at most three bytes, is the beginning of one.
///
/// # Errors
/// [`BadUtf8`] where some byte can be part of no character.
pub(crate) fn whole_characters(bytes: &[u8]) -> Result<usize, BadUtf8> {
    if is_utf8(bytes) {
        return Ok(bytes.len());
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(BadUtf8),
    }
}

/// Whether `bytes` are UTF-8 from the first to the last.
#[must_use]
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<usize, BadUtf8>) {
        assert_eq!(whole_characters(bytes), expected, "{bytes:x?}");
    }

    #[test]
    fn the_beginning_of_a_character_is_left_over() {
        check(b"", Ok(0));
        check(b"abc", Ok(3));
        check(b"a\xce\xba", Ok(3));
        check(b"a\xce", Ok(1));
        check(b"\xe1\xbd", Ok(0));
        check(b"\xf4\x8f\xbf", Ok(0));
        check(&[b"0123456789".repeat(30).as_slice(), b"\xf0\x9f"].concat(), Ok(300));
    }

    #[test]
    fn a_byte_that_nothing_can_make_good_is_found_when_it_comes() {
        check(b"\x80", Err(BadUtf8));
        check(b"\xc0", Err(BadUtf8));
        check(b"\xc1", Err(BadUtf8));
        check(b"\xe0\x9f", Err(BadUtf8));
        check(b"\xed\xa0", Err(BadUtf8));
        check(b"\xf0\x8f", Err(BadUtf8));
        check(b"\xf4\x90", Err(BadUtf8));
        check(b"\xf5", Err(BadUtf8));
        check(b"\xff", Err(BadUtf8));
        check(b"\xcea", Err(BadUtf8));
    }

    #[test]
    fn every_scalar_passes_and_every_prefix_of_one_waits() {
        for scalar in (0..=0x10_ffff).filter_map(char::from_u32).step_by(7) {
            let mut bytes = [0; 4];
            let bytes = scalar.encode_utf8(&mut bytes).as_bytes();
            check(bytes, Ok(bytes.len()));
            for cut in 0..bytes.len() {
                check(&bytes[..cut], Ok(0));
            }
        }
    }
}
