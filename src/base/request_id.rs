//! Names of requests, by which a caller, the log and a target speak of the same one (`X-Request-Id`).

/// Most bytes of an id that a caller gives: several times a UUID.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Bytes of one that is made.
pub const MADE_BYTES: usize = 16;
/// Name of the field.
pub const REQUEST_ID_FIELD: &str = "x-request-id";

/// The id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestId<'a> {
    /// The caller's, in visible ASCII.
    Given(&'a [u8]),
    /// One that was made.
    Made([u8; MADE_BYTES]),
}

impl<'a> RequestId<'a> {
    /// The id that a caller gave, if it is one.
    #[must_use]
    pub fn given(value: &'a [u8]) -> Option<RequestId<'a>> {
        let is_id =
            (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        is_id.then_some(RequestId::Given(value))
    }

    /// The id.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            RequestId::Given(id) => id,
            RequestId::Made(id) => id,
        }
    }

    /// Appends the field line of a response.
    #[inline]
    pub fn write_line(&self, out: &mut Vec<u8>) {
        // One copy of a length that is known, where there can be one.
        let mut line = MADE_LINE;
        match self {
            RequestId::Made(id) => {
                line[NAME_BYTES..NAME_BYTES + MADE_BYTES].copy_from_slice(id);
                out.extend_from_slice(&line);
            }
            RequestId::Given(id) => {
                out.extend_from_slice(&line[..NAME_BYTES]);
                out.extend_from_slice(id);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The id as text.
    #[must_use]
    pub fn text(&self) -> &str {
        // Both kinds are ASCII.
        str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

/// Bytes of the field's name with what separates it from the value.
const NAME_BYTES: usize = REQUEST_ID_FIELD.len() + 2;
/// The field line of an id that is made, its digits left out.
const MADE_LINE: [u8; 32] = *b"x-request-id: 0000000000000000\r\n";

/// Eight digits, without a loop: each half byte gets a byte of its own, and those above 9 what makes them letters.
fn hex(number: u32) -> [u8; 8] {
    let mut spread = u64::from(number);
    spread = (spread | (spread << 16)) & 0x0000_FFFF_0000_FFFF;
    spread = (spread | (spread << 8)) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | (spread << 4)) & 0x0F0F_0F0F_0F0F_0F0F;
    let letters = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Numbers for the ids of one core: no two of them are the same, and those of other cores and processes have another upper
/// half. The id of a number is its upper half and its mixed lower half, in lower-case hex.
#[derive(Clone, Copy, Debug)]
pub struct RequestNumbers {
    upper: u32,
    lower: u32,
    /// The digits of the upper half, which hardly ever changes.
    upper_digits: [u8; 8],
}

/// Added for each number: odd, so that all lower halves come before one comes again.
const LOWER_STEP: u32 = 0x9E37_79B9;

impl RequestNumbers {
    #[must_use]
    pub fn starting_at(start: u64) -> RequestNumbers {
        let (upper, lower) = ((start >> 32) as u32, start as u32);
        RequestNumbers { upper, lower, upper_digits: hex(upper) }
    }

    /// Returns the next number.
    #[inline]
    pub fn next_number(&mut self) -> u64 {
        self.lower = self.lower.wrapping_add(LOWER_STEP);
        if self.lower == 0 {
            self.upper = self.upper.wrapping_add(LOWER_STEP);
            self.upper_digits = hex(self.upper);
        }
        u64::from(self.upper) << 32 | u64::from(self.lower)
    }

    /// Returns the id of a number.
    #[must_use]
    #[inline]
    pub fn id(&self, number: u64) -> RequestId<'static> {
        let (upper, lower) = ((number >> 32) as u32, number as u32);
        // Neighbours should not look alike. No two numbers are mixed to the same.
        let mixed = (lower ^ (lower >> 16)).wrapping_mul(0x7FEB_352D);
        let mut digits = [0; MADE_BYTES];
        let upper_digits = if upper == self.upper { self.upper_digits } else { hex(upper) };
        digits[..8].copy_from_slice(&upper_digits);
        digits[8..].copy_from_slice(&hex(mixed ^ (mixed >> 15)));
        RequestId::Made(digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_if_it_is_visible_ascii_of_a_bounded_length() {
        let longest = "x".repeat(REQUEST_ID_BYTES_MAX);
        for good in [
            "a",
            "7b0c6f0e-8a3d-4f0e-9d51-2f6a0a5f9f3c",
            "Root=1-67891233-abcdef012345678912345678",
            &longest,
        ] {
            assert_eq!(RequestId::given(good.as_bytes()).as_ref().map(RequestId::text), Some(good));
        }
        for bad in ["", "a b", "a\tb", "a\u{7f}", "é", &format!("{longest}x")] {
            assert_eq!(RequestId::given(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_made_id_is_its_number_in_hex_and_no_two_are_the_same() {
        for number in [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX] {
            assert_eq!(hex(number as u32), *format!("{:08x}", number as u32).as_bytes());
        }
        let mut numbers = RequestNumbers::starting_at(7);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let number = numbers.next_number();
            let id = numbers.id(number).text().to_owned();
            assert!(id.len() == MADE_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert!(RequestId::given(id.as_bytes()).is_some());
            assert!(seen.insert(id));
        }
    }

    #[test]
    fn a_number_keeps_its_id_when_the_upper_half_changes() {
        // The next lower half is 0.
        let mut numbers =
            RequestNumbers::starting_at(7 << 32 | u64::from(LOWER_STEP.wrapping_mul(2).wrapping_neg()));
        let last = numbers.next_number();
        let id = numbers.id(last);
        let first = numbers.next_number();
        assert_ne!(last >> 32, first >> 32);
        assert_eq!(numbers.id(last), id);
        assert_ne!(numbers.id(first), id);
    }

    #[test]
    fn a_line_is_the_name_and_the_id() {
        for id in [RequestId::Given(b"abc"), RequestNumbers::starting_at(1).id(5)] {
            let mut line = Vec::new();
            id.write_line(&mut line);
            assert_eq!(line, format!("x-request-id: {}\r\n", id.text()).into_bytes());
        }
    }
}
