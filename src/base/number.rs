//! Numbers as JavaScript reads and writes them.

use std::fmt::{self, Write};

use super::steps;

/// Whether it is JavaScript's white space: Unicode's, the byte order mark, and the line separators; not U+0085.
pub(crate) fn is_space(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

/// `Number(text)`: decimal, hexadecimal, octal and binary, white space around, nothing is 0; else NaN.
pub(crate) fn parse(text: &str) -> f64 {
    steps::count(text.len());
    let text = text.trim_matches(is_space);
    let radix = match text.get(..2) {
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        _ => return parse_decimal(text),
    };
    let digits = &text[2..];
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return f64::NAN;
    }
    parse_binary(digits, radix)
}

/// The value of digits to a base that is a power of two, rounded once.
fn parse_binary(digits: &str, radix: u32) -> f64 {
    /// The exponent of the largest power of two that is a double.
    const EXPONENT_MAX: u64 = 1023;
    let bits = radix.trailing_zeros();
    let (mut mantissa, mut exponent, mut is_inexact) = (0_u64, 0_u64, false);
    for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
        if mantissa >> (u64::BITS - bits) == 0 {
            mantissa = mantissa << bits | u64::from(digit);
        } else {
            exponent += u64::from(bits);
            is_inexact |= digit != 0;
        }
    }
    // The last of its 61 bits or more is far behind the 53 of a double: it only tells a tie from what is over one.
    mantissa |= u64::from(is_inexact);
    if exponent > EXPONENT_MAX {
        return f64::INFINITY;
    }
    mantissa as f64 * f64::from_bits((EXPONENT_MAX + exponent) << 52)
}

fn parse_decimal(text: &str) -> f64 {
    match text {
        "" => return 0.0,
        "Infinity" | "+Infinity" => return f64::INFINITY,
        "-Infinity" => return f64::NEG_INFINITY,
        _ => {}
    }
    // Rust takes `inf` and `nan` too, in any case: only digits, signs, points and exponents may pass.
    if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return f64::NAN;
    }
    text.parse().unwrap_or(f64::NAN)
}

/// The decimal digits of a positive, finite number, without the point, and the power of ten of the first one: the
/// fewest that are read back as the same number, or as many as are asked for.
pub(crate) fn digits(value: f64, count: Option<usize>) -> (String, i32) {
    steps::count(20 + count.unwrap_or_default());
    let text = match count {
        Some(count) => to_exponential(value, count - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Whether a positive, finite number times 10 to the power of `places` ends in exactly one half.
///
/// With the number as an odd m times 2 to the power of e, that is m · 5^places · 2^(e + places): an odd number of halves
/// where e + places is -1. Of negative places the powers of five have to divide m.
fn is_tie(value: f64, places: i32) -> bool {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    /// 5 to a larger power is over 53 bits.
    const FIVES_MAX: u32 = 22;
    let bits = value.to_bits();
    let (fraction, biased) = (bits & ((1 << FRACTION_BITS) - 1), (bits >> FRACTION_BITS) as i32);
    let (whole, exponent) =
        if biased == 0 { (fraction, -1074) } else { (fraction | 1 << FRACTION_BITS, biased - 1075) };
    let zeros = whole.trailing_zeros();
    let exponent = exponent + zeros as i32;
    if places >= 0 {
        return exponent + places == -1;
    }
    let fives = places.unsigned_abs();
    exponent == fives as i32 - 1 && fives <= FIVES_MAX && (whole >> zeros).is_multiple_of(5_u64.pow(fives))
}

/// The larger of two texts of one number: of a tie, which was rounded to the even digit, and of the number behind it.
fn larger(rounded: String, up: String) -> String {
    let read = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    if read(&up) > read(&rounded) { up } else { rounded }
}

/// `{:.*e}` with ties rounded away from zero, as JavaScript does it.
fn to_exponential(value: f64, places: usize) -> String {
    let text = format!("{value:.places$e}");
    let exponent: i32 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if !is_tie(value, i32::try_from(places).unwrap_or(i32::MAX).saturating_sub(exponent)) {
        return text;
    }
    larger(text, format!("{:.places$e}", value.next_up()))
}

/// `value.toFixed(places)` of a number that is not negative.
pub(crate) fn to_fixed(value: f64, places: usize) -> String {
    /// Numbers from here on are written as `String` writes them.
    const FIXED_MAX: f64 = 1e21;
    if value >= FIXED_MAX || !value.is_finite() {
        return text(value);
    }
    let rounded = format!("{value:.places$}");
    steps::count(rounded.len());
    if value == 0.0 || !is_tie(value, i32::try_from(places).unwrap_or(i32::MAX)) {
        return rounded;
    }
    larger(rounded, format!("{:.places$}", value.next_up()))
}

/// `String(value)`.
#[must_use]
pub(crate) fn text(value: f64) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    String::from_utf8(out).unwrap_or_default()
}

/// Writes `String(value)`: the fewest digits that are read back as the same number. Nothing is allocated but room in `out`.
pub(crate) fn write(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value < 0.0 {
        out.push(b'-');
    }
    if value.is_infinite() {
        return out.extend_from_slice(b"Infinity");
    }
    if value == 0.0 {
        return out.push(b'0');
    }
    let value = value.abs();
    let (mut digits, exponent) = ShortText::scientific(value, None);
    settle_tie(value, &mut digits, exponent);
    write_digits(out, digits.as_str(), exponent);
}

/// Of two shortest texts that are equally near to the value JavaScript takes the even one, Rust the larger.
fn settle_tie(value: f64, digits: &mut ShortText, exponent: i32) {
    /// With fewer digits the value itself is one of the two.
    const TIE_DIGITS_MIN: usize = 15;
    /// Digits behind the one that tells a tie: a double that has only zeros there has them to its end.
    const ZEROS: usize = 40;
    let count = digits.length;
    let is_odd = digits.as_str().ends_with(['1', '3', '5', '7', '9']);
    if count < TIE_DIGITS_MIN || !is_odd {
        return;
    }
    let (exact, exact_exponent) = ShortText::scientific(value, Some(count + ZEROS));
    let (front, behind) = exact.as_str().split_at_checked(count).unwrap_or_default();
    let is_tie = behind.strip_prefix('5').is_some_and(|zeros| zeros.bytes().all(|digit| digit == b'0'));
    if !is_tie || exact_exponent != exponent {
        return;
    }
    let mut even = ShortText::default();
    let _ = even.write_str(front);
    if !front.ends_with(['0', '2', '4', '6', '8']) {
        // It is odd and below 9: with a 9 there would be a shorter text.
        even.bytes[count - 1] = (even.bytes[count - 1] + 1).min(b'9');
    }
    let mut text = ShortText::default();
    let _ = write!(text, "{}e{}", even.as_str(), exponent - i32::try_from(count - 1).unwrap_or(0));
    if text.as_str().parse() == Ok(value) {
        *digits = even;
    }
}

/// A text of at most 80 bytes, kept on the stack.
struct ShortText {
    bytes: [u8; 80],
    length: usize,
}

impl Default for ShortText {
    fn default() -> ShortText {
        ShortText { bytes: [0; 80], length: 0 }
    }
}

impl ShortText {
    /// The digits of a positive, finite number, without the point, and the power of ten of the first one: the fewest that
    /// are read back as the same number, or so many behind the first.
    fn scientific(value: f64, places: Option<usize>) -> (ShortText, i32) {
        let mut text = ShortText::default();
        // 17 digits, or as many as are asked for, a point and an exponent fit.
        let _ = match places {
            None => write!(text, "{value:e}"),
            Some(places) => write!(text, "{value:.places$e}"),
        };
        let (mantissa, exponent) = text.as_str().split_once('e').unwrap_or(("0", "0"));
        let mut digits = ShortText::default();
        let _ = mantissa.split('.').try_for_each(|part| digits.write_str(part));
        (digits, exponent.parse().unwrap_or(0))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// `Number::toString` of ECMA-262: plain between 1e-7 and 1e21, with an exponent outside.
fn write_digits(out: &mut Vec<u8>, digits: &str, exponent: i32) {
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |out: &mut Vec<u8>, count: i32| {
        out.extend(std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or(0)))
    };
    match exponent {
        0..=20 if length <= exponent + 1 => {
            out.extend_from_slice(digits.as_bytes());
            zeros(out, exponent + 1 - length);
        }
        0..=20 => {
            let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
            out.extend_from_slice(whole.as_bytes());
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
        -6..=-1 => {
            out.extend_from_slice(b"0.");
            zeros(out, -exponent - 1);
            out.extend_from_slice(digits.as_bytes());
        }
        _ => {
            let (first, others) = digits.split_at(1);
            out.extend_from_slice(first.as_bytes());
            if !others.is_empty() {
                out.push(b'.');
                out.extend_from_slice(others.as_bytes());
            }
            out.push(b'e');
            out.push(if exponent < 0 { b'-' } else { b'+' });
            out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e25, "1.25e+25"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (1.5e-10, "1.5e-10"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            // Halfway between two texts: the even one.
            (3_602_879_701_896_397.0 / 4.0, "900719925474099.2"),
            (3_602_879_701_896_399.0 / 4.0, "900719925474099.8"),
            (562_949_953_421_311.25, "562949953421311.25"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn texts_are_read_as_javascript_reads_them() {
        for (input, expected) in [
            ("", 0.0),
            (" \u{feff}12 \n", 12.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0x1F", 31.0),
            ("0b11", 3.0),
            // Rounded once: digit by digit the ties came out wrong.
            ("0x20000000000001", 9_007_199_254_740_992.0),
            ("0x20000000000003", 9_007_199_254_740_996.0),
            ("0x2000000000000100000000000000000001", 1.088_903_574_147_003_3e40),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse(input), expected, "{input}");
        }
        for input in ["x", "1 2", "inf", "nan", "0x", "-0x1", "1,2", "1e", "--1"] {
            assert!(parse(input).is_nan(), "{input}");
        }
    }

    #[test]
    fn ties_are_rounded_away_from_zero() {
        assert_eq!(to_fixed(0.5, 0), "1");
        assert_eq!(to_fixed(2.5, 0), "3");
        assert_eq!(to_fixed(1.005, 2), "1.00");
        assert_eq!(to_fixed(1e21, 2), "1e+21");
        assert_eq!(digits(2.5, Some(1)), ("3".to_owned(), 0));
        assert_eq!(digits(0.25, Some(1)), ("3".to_owned(), -1));
        assert_eq!(digits(9.5, Some(1)), ("1".to_owned(), 1));
        assert_eq!(digits(25.0, Some(1)), ("3".to_owned(), 1));
        assert_eq!(digits(2_500_000.0, Some(1)), ("3".to_owned(), 6));
    }

    /// Ties as all digits of a number tell them.
    fn exact_fixed(value: f64, places: usize) -> bool {
        let exact = format!("{value:.1100}");
        let tail = exact.split_once('.').map_or(&b""[..], |(_, fraction)| &fraction.as_bytes()[places..]);
        tail.first() == Some(&b'5') && tail[1..].iter().all(|&b| b == b'0')
    }

    proptest::proptest! {
        #[test]
        fn a_tie_is_told_without_all_digits(whole in 0_u64..1 << 40, halves in 0_i32..40, places in 0_usize..20) {
            let value = whole as f64 / 2_f64.powi(halves);
            if value > 0.0 {
                proptest::prop_assert_eq!(is_tie(value, places as i32), exact_fixed(value, places));
            }
        }
    }
}
