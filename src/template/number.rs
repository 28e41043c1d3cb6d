//! Numbers as JavaScript reads and writes them.

/// JavaScript's white space: Unicode's, the byte order mark, and the line separators; not U+0085.
pub(super) fn is_space(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

/// `Number(text)`: decimal, hexadecimal, octal and binary, white space around, nothing is 0; else NaN.
pub(super) fn parse(text: &str) -> f64 {
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
    digits
        .chars()
        .filter_map(|c| c.to_digit(radix))
        .fold(0.0, |sum, digit| sum * f64::from(radix) + f64::from(digit))
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
pub(super) fn digits(value: f64, count: Option<usize>) -> (String, i32) {
    let text = match count {
        Some(count) => to_exponential(value, count - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// `{:.*e}` with ties rounded away from zero, as JavaScript does it.
fn to_exponential(value: f64, places: usize) -> String {
    let text = format!("{value:.places$e}");
    let exact = format!("{value:.1100e}");
    let (mantissa, _) = exact.split_once('e').unwrap_or((&exact, "0"));
    let tail = mantissa.as_bytes().get(2 + places..).unwrap_or_default();
    let is_tie = tail.first() == Some(&b'5') && tail[1..].iter().all(|&b| b == b'0');
    if !is_tie {
        return text;
    }
    // A tie has been rounded to the even digit: of the two neighbours the larger one is wanted.
    let up = format!("{:.places$e}", f64::from_bits(value.to_bits() + 1));
    let read = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    if read(&up) > read(&text) { up } else { text }
}

/// `value.toFixed(places)` of a number that is not negative.
pub(super) fn to_fixed(value: f64, places: usize) -> String {
    /// Numbers from here on are written as `String` writes them.
    const FIXED_MAX: f64 = 1e21;
    if value >= FIXED_MAX {
        return text(value);
    }
    let rounded = format!("{value:.places$}");
    let exact = format!("{value:.1100}");
    let tail = exact.split_once('.').map_or(&b""[..], |(_, fraction)| &fraction.as_bytes()[places..]);
    let is_tie = tail.first() == Some(&b'5') && tail[1..].iter().all(|&b| b == b'0');
    if !is_tie {
        return rounded;
    }
    let up = format!("{:.places$}", f64::from_bits(value.to_bits() + 1));
    let read = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    if read(&up) > read(&rounded) { up } else { rounded }
}

/// `String(value)`.
pub(super) fn text(value: f64) -> String {
    let mut out = Vec::new();
    write(&mut out, value);
    super::value::into_text(out)
}

/// Writes `String(value)`: the fewest digits that are read back as the same number.
pub(super) fn write(out: &mut Vec<u8>, value: f64) {
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
    let (digits, exponent) = digits(value.abs(), None);
    write_digits(out, &digits, exponent);
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
            out.extend_from_slice(exponent.unsigned_abs().to_string().as_bytes());
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
    }
}
