//! Number formats of `format`, as d3-format writes them: `[[fill]align][sign][symbol][0][width][,][.precision][~][type]`.
//!
//! Signs are ASCII's, thousands are parted by commas: the formats know no locale.

use crate::base::number;

/// Characters of a padded number: wider than any column that a person reads.
const WIDTH_MAX: usize = 256;
/// Digits behind the point, as d3-format bounds them.
const PRECISION_MAX: usize = 20;

/// A number format, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NumberFormat {
    fill: char,
    align: char,
    sign: char,
    symbol: Option<char>,
    width: usize,
    grouped: bool,
    precision: Option<usize>,
    trimmed: bool,
    /// The type's letter; a space for none.
    kind: char,
}

impl NumberFormat {
    /// Reads a format.
    pub(super) fn parse(text: &str) -> Option<NumberFormat> {
        let mut rest = text;
        let mut format = NumberFormat {
            fill: ' ',
            align: '>',
            sign: '-',
            symbol: None,
            width: 0,
            grouped: false,
            precision: None,
            trimmed: false,
            kind: ' ',
        };
        let is_align = |c: char| matches!(c, '<' | '>' | '^' | '=');
        let mut first = rest.chars();
        if let Some(fill) = first.next()
            && let Some(align) = first.next().filter(|&c| is_align(c))
        {
            (format.fill, format.align) = (fill, align);
            rest = first.as_str();
        } else if let Some(align) = take(&mut rest, is_align) {
            format.align = align;
        }
        if let Some(sign) = take(&mut rest, |c| matches!(c, '+' | '-' | '(' | ' ')) {
            format.sign = sign;
        }
        format.symbol = take(&mut rest, |c| matches!(c, '$' | '#'));
        if take(&mut rest, |c| c == '0').is_some() {
            (format.fill, format.align) = ('0', '=');
        }
        if let Some(width) = digits(&mut rest) {
            format.width = width.filter(|&width| width <= WIDTH_MAX)?;
        }
        format.grouped = take(&mut rest, |c| c == ',').is_some();
        if take(&mut rest, |c| c == '.').is_some() {
            format.precision = Some(digits(&mut rest)??.min(PRECISION_MAX));
        }
        format.trimmed = take(&mut rest, |c| c == '~').is_some();
        if let Some(kind) = take(&mut rest, |c| c.is_ascii_alphabetic() || c == '%') {
            if !"%bdefgnoprsXxc".contains(kind) {
                return None;
            }
            format.kind = kind;
        }
        if format.kind == 'n' {
            (format.grouped, format.kind) = (true, 'g');
        }
        if format.kind == ' ' && format.precision.is_some() {
            (format.trimmed, format.kind) = (true, 'g');
        } else if format.kind == ' ' {
            // Twelve digits, zeros trimmed: d3-format's reading of no type at all.
            (format.trimmed, format.kind, format.precision) = (true, 'g', Some(12));
        }
        rest.is_empty().then_some(format)
    }

    /// Writes a number.
    pub(super) fn write(&self, value: f64) -> String {
        let magnitude = value.abs();
        let (mut body, unit) = self.magnitude(magnitude);
        if self.trimmed {
            body = trim(&body);
        }
        // A number that is rounded to zero has no sign, unless every number has one.
        let mut digits = body.bytes().filter(u8::is_ascii_digit).peekable();
        let is_zero = digits.peek().is_some() && digits.all(|digit| digit == b'0');
        let is_negative = value.is_sign_negative() && !value.is_nan() && !(is_zero && self.sign != '+');
        let mut prefix = String::new();
        match (is_negative, self.sign) {
            (true, '(') => prefix.push('('),
            (true, _) => prefix.push('-'),
            (false, sign @ ('+' | ' ')) => prefix.push(sign),
            _ => {}
        }
        match (self.symbol, self.kind) {
            (Some('$'), _) => prefix.push('$'),
            (Some(_), kind @ ('b' | 'o' | 'x' | 'X')) => prefix.extend(['0', kind.to_ascii_lowercase()]),
            _ => {}
        }
        let mut suffix = String::from(unit);
        if self.kind == '%' || self.kind == 'p' {
            suffix.push('%');
        }
        if is_negative && self.sign == '(' {
            suffix.push(')');
        }
        self.pad(&prefix, &body, &suffix)
    }

    /// Units of work that [`NumberFormat::write`] takes.
    pub(super) fn price(&self, value: f64) -> usize {
        /// The cost of the sign, the unit and the padding.
        const BASE: usize = 2_000;
        /// A digit that is worked out from all bits of a number.
        const DIGIT: usize = 250;
        /// A byte of padding or grouping.
        const WIDTH: usize = 8;
        // 1,000 times the bits are no fewer than 3,010 times the digits.
        let exponent = (value.abs().to_bits() >> (f64::MANTISSA_DIGITS - 1)) as usize;
        let whole = exponent.saturating_sub(1023) * 302 / 1000 + 2;
        let digits = self.precision.unwrap_or(6) + 18;
        let digits = match self.kind {
            'f' | '%' | 'd' => digits + whole,
            'b' | 'o' | 'x' | 'X' => digits + whole,
            _ => 2 * digits,
        };
        BASE + DIGIT * digits + WIDTH * self.width
    }

    /// The digits of a number without its sign, and the letter of its unit.
    fn magnitude(&self, value: f64) -> (String, &'static str) {
        let precision = self.precision.unwrap_or(6);
        let value = if matches!(self.kind, '%' | 'p') { value * 100.0 } else { value };
        if value.is_infinite() && self.kind == 'd' {
            return ("∞".to_owned(), "");
        }
        if !value.is_finite() {
            return (number::text(value), "");
        }
        let body = match self.kind {
            'f' | '%' => number::to_fixed(value, precision),
            'e' => exponential(value, precision),
            'r' | 'p' => rounded(value, precision.max(1)),
            's' => return with_unit(value, precision.max(1)),
            'd' if value.round() >= 1e21 => whole(value.round()),
            'd' => number::text(value.round()),
            'b' => radix(value, 2, false),
            'o' => radix(value, 8, false),
            'x' => radix(value, 16, false),
            'X' => radix(value, 16, true),
            'c' => number::text(value),
            _ => general(value, precision.max(1)),
        };
        (body, "")
    }

    fn pad(&self, prefix: &str, body: &str, suffix: &str) -> String {
        let zero_filled = self.fill == '0' && self.align == '=';
        let body = if self.grouped && !zero_filled { group(body) } else { body.to_owned() };
        let length = prefix.chars().count() + body.chars().count() + suffix.chars().count();
        let missing = self.width.saturating_sub(length);
        if self.grouped && zero_filled {
            let (whole, others) =
                body.split_at(body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len()));
            let behind = others.chars().count() + suffix.chars().count();
            // As in d3-format, what stands in front does not count once there are zeros.
            let room = if missing > 0 { self.width.saturating_sub(behind) } else { usize::MAX };
            return [prefix, &group_within(&("0".repeat(missing) + whole), room), others, suffix].concat();
        }
        let padding = |count: usize| String::from(self.fill).repeat(count);
        match self.align {
            '<' => [prefix, &body, suffix, &padding(missing)].concat(),
            '=' => [prefix, &padding(missing), &body, suffix].concat(),
            '^' => [&padding(missing / 2), prefix, &body, suffix, &padding(missing - missing / 2)].concat(),
            _ => [&padding(missing), prefix, &body, suffix].concat(),
        }
    }
}

fn take(rest: &mut &str, wanted: impl Fn(char) -> bool) -> Option<char> {
    let first = rest.chars().next().filter(|&c| wanted(c))?;
    *rest = &rest[first.len_utf8()..];
    Some(first)
}

/// A number at the front, if there is one; it is `None` inside where it is too large.
fn digits(rest: &mut &str) -> Option<Option<usize>> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, behind) = rest.split_at(end);
    *rest = behind;
    (!number.is_empty()).then(|| number.parse().ok())
}

/// `toExponential(places)`.
fn exponential(value: f64, places: usize) -> String {
    let (digits, exponent) =
        if value == 0.0 { ("0".repeat(places + 1), 0) } else { number::digits(value, Some(places + 1)) };
    let (first, others) = digits.split_at(1);
    let point = if others.is_empty() { "" } else { "." };
    format!("{first}{point}{others}e{}{}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

/// So many digits, without an exponent.
fn rounded(value: f64, count: usize) -> String {
    if value == 0.0 {
        return plain(&"0".repeat(count), 0);
    }
    let (digits, exponent) = number::digits(value, Some(count));
    plain(&digits, exponent)
}

/// `toPrecision(count)`.
fn general(value: f64, count: usize) -> String {
    if value == 0.0 {
        return plain(&"0".repeat(count), 0);
    }
    let (digits, exponent) = number::digits(value, Some(count));
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    if (-6..count).contains(&exponent) {
        plain(&digits, exponent)
    } else {
        exponential(value, digits.len() - 1)
    }
}

/// Digits with a point behind the one that counts 1.
fn plain(digits: &str, exponent: i32) -> String {
    match usize::try_from(exponent) {
        Err(_) => format!("0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        Ok(exponent) if digits.len() <= exponent + 1 => {
            format!("{digits}{}", "0".repeat(exponent + 1 - digits.len()))
        }
        Ok(exponent) => format!("{}.{}", &digits[..=exponent], &digits[exponent + 1..]),
    }
}

/// All digits of a whole number.
fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// With the letter of the SI prefix, so many digits.
fn with_unit(value: f64, count: usize) -> (String, &'static str) {
    const UNITS: [&str; 17] =
        ["y", "z", "a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y"];
    if value == 0.0 {
        return (plain(&"0".repeat(count), 0), "");
    }
    let (digits, exponent) = number::digits(value, Some(count));
    let unit = exponent.div_euclid(3).clamp(-8, 8);
    let exponent = exponent - unit * 3;
    let text = if exponent < 0 {
        // Below the smallest unit: as many places as digits were asked for, or else all digits.
        let places = count.saturating_sub(exponent.unsigned_abs() as usize);
        let (digits, _) = number::digits(value, (places > 0).then_some(places));
        plain(&digits, exponent)
    } else {
        plain(&digits, exponent)
    };
    (text, UNITS[usize::try_from(unit + 8).unwrap_or(8)])
}

/// A rounded number in a base of 2, 8 or 16.
fn radix(value: f64, base: u32, upper: bool) -> String {
    let value = value.round();
    let bits = value.to_bits();
    let exponent = (bits >> (f64::MANTISSA_DIGITS - 1)) as usize;
    let whole = (bits & ((1 << (f64::MANTISSA_DIGITS - 1)) - 1)) | 1 << (f64::MANTISSA_DIGITS - 1);
    // The number is `whole` with zeros behind it, so many that they are digits, and some bits that are not.
    let (mut left, zeros) = match exponent.checked_sub(1075) {
        Some(shift) => {
            let digit_bits = base.ilog2() as usize;
            (u128::from(whole) << (shift % digit_bits), shift / digit_bits)
        }
        None => (value as u128, 0),
    };
    let mut digits = vec!['0'; zeros];
    loop {
        let digit = char::from_digit((left % u128::from(base)) as u32, base).unwrap_or('0');
        digits.push(if upper { digit.to_ascii_uppercase() } else { digit });
        left /= u128::from(base);
        if left == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// Takes zeros away from behind the point, before an exponent.
fn trim(text: &str) -> String {
    let (mantissa, exponent) = text.split_at(text.find('e').unwrap_or(text.len()));
    if !mantissa.contains('.') {
        return text.to_owned();
    }
    format!("{}{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
}

/// Puts a comma before every third digit of the whole part.
fn group(text: &str) -> String {
    let (whole, others) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    group_within(whole, usize::MAX) + others
}

/// Digits in groups of three, from the last one on, for as long as they fit a width.
fn group_within(digits: &str, width: usize) -> String {
    let mut groups = Vec::new();
    let (mut end, mut length) = (digits.len(), 0_usize);
    while end > 0 && length <= width {
        let size = if length + 4 > width { (width - length).max(1) } else { 3 };
        let start = end.saturating_sub(size);
        groups.push(&digits[start..end]);
        end = start;
        length += size + 1;
    }
    groups.reverse();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_d3_format_writes_them() {
        for (format, value, expected) in [
            (".2f", 2.34567, "2.35"),
            (".0f", 2.5, "3"),
            (",.2f", 1_234_567.891, "1,234,567.89"),
            (",", 1234.5, "1,234.5"),
            ("", 0.1 + 0.2, "0.3"),
            ("d", 42.7, "43"),
            ("08.2f", -3.5, "-0003.50"),
            ("010,d", 1234.0, "00,001,234"),
            ("010,d", -1_234_568.0, "-01,234,568"),
            ("+d", 5.0, "+5"),
            ("(d", -5.0, "(5)"),
            ("$,.2f", -1234.5, "-$1,234.50"),
            (".1%", 0.256, "25.6%"),
            (".2p", 0.256, "26%"),
            (".2e", 12345.0, "1.23e+4"),
            ("e", 0.0, "0.000000e+0"),
            (".3s", 1_234_567.0, "1.23M"),
            (".2s", 0.00042, "420µ"),
            ("s", 0.0, "0.00000"),
            (".3r", 1234.5, "1230"),
            (".2r", 0.00123, "0.0012"),
            (".4g", 0.000_000_123, "1.230e-7"),
            (".3g", 1234.0, "1.23e+3"),
            ("x", 255.0, "ff"),
            ("#X", 255.0, "0xFF"),
            ("b", 5.0, "101"),
            ("*^9d", 42.0, "***42****"),
            ("_<5d", 7.0, "7____"),
            ("~s", 1500.0, "1.5k"),
            (".6~f", 1.5, "1.5"),
            ("n", 1234.0, "1,234.00"),
            ("f", f64::NAN, "NaN"),
            (".1f", -0.04, "0.0"),
            (".3p", 1e308, "Infinity%"),
            (".2%", -1e308, "-Infinity%"),
            ("e", f64::INFINITY, "Infinity"),
            ("d", f64::INFINITY, "∞"),
            ("x", 2_f64.powi(130), "400000000000000000000000000000000"),
            ("o", 2_f64.powi(130), "20000000000000000000000000000000000000000000"),
        ] {
            let parsed = NumberFormat::parse(format).unwrap_or_else(|| panic!("{format}"));
            assert_eq!(parsed.write(value), expected, "{format:?} of {value}");
        }
    }

    #[test]
    fn what_is_no_format_is_not_read() {
        for format in ["z", ".f", "YYYY", "1000d", "99999999999999999999d", "d ", "#,##0.00", ".2ff"] {
            assert_eq!(NumberFormat::parse(format), None, "{format}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_format_writes_any_number(format in "[<>^=+( $#0-9,.~defgrsxbop%n-]{0,8}", bits: u64) {
            if let Some(format) = NumberFormat::parse(&format) {
                let text = format.write(f64::from_bits(bits));
                proptest::prop_assert!(text.len() < 4096);
            }
        }
    }
}
