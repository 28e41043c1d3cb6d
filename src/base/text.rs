//! Encodings of text: percent, base64, hex, and times.
//!
//! Times are computed with the proleptic Gregorian calendar here; nothing in this file reads a clock or knows a time
//! zone other than an offset that is written out.

use std::cell::Cell;

use base64::Engine as _;
use base64::alphabet::{STANDARD as STANDARD_ALPHABET, URL_SAFE as URL_ALPHABET};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const DECODE_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD_ALPHABET, LENIENT);
/// Takes bits that are left over as well.
const DECODE_ANY: GeneralPurpose =
    GeneralPurpose::new(&STANDARD_ALPHABET, LENIENT.with_decode_allow_trailing_bits(true));
const DECODE_URL: GeneralPurpose = GeneralPurpose::new(&URL_ALPHABET, LENIENT);

/// The value of a hex digit of either case.
const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The two lower-case hex digits of a byte.
#[must_use]
pub const fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

/// Appends `text` with its percent escapes decoded (RFC 3986, section 2.1); what is no escape is kept as it is. With
/// `plus_is_space`, `+` becomes a space, as forms and queries want.
pub fn percent_decode_into(out: &mut Vec<u8>, text: &[u8], plus_is_space: bool) {
    percent_decode_strict_into(out, text, plus_is_space);
}

/// As [`percent_decode_into`], and answers whether every `%` began an escape of two hex digits.
pub fn percent_decode_strict_into(out: &mut Vec<u8>, text: &[u8], plus_is_space: bool) -> bool {
    out.reserve(text.len());
    let mut clean = true;
    let mut rest = text;
    let next = |rest: &[u8]| {
        if plus_is_space { memchr::memchr2(b'%', b'+', rest) } else { memchr::memchr(b'%', rest) }
    };
    while let Some(at) = next(rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == b'+' {
            out.push(b' ');
            rest = &rest[at + 1..];
            continue;
        }
        let high = rest.get(at + 1).copied().and_then(hex_value);
        let low = rest.get(at + 2).copied().and_then(hex_value);
        if let (Some(high), Some(low)) = (high, low) {
            out.push(high << 4 | low);
            rest = &rest[at + 3..];
        } else {
            clean = false;
            out.push(b'%');
            rest = &rest[at + 1..];
        }
    }
    out.extend_from_slice(rest);
    clean
}

/// Appends `bytes` in base64, standard alphabet with padding (RFC 4648, section 4).
pub fn base64_into(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("four characters for three bytes");
    out.truncate(start + written);
}

/// Reads base64 of the standard or the URL alphabet (not both at once), padding optional. White space and characters
/// outside of the alphabet are errors.
#[must_use]
pub fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let url = memchr::memchr2(b'-', b'_', text).is_some();
    if url { DECODE_URL.decode(text).ok() } else { DECODE_STANDARD.decode(text).ok() }
}

/// Reads base64 as Node.js's `Buffer.from(text, "base64")` does: of both alphabets at once, up to the padding, anything
/// else skipped. A last digit that makes no whole byte is dropped.
#[must_use]
pub fn base64_decode_lenient(text: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = text
        .iter()
        .take_while(|&&byte| byte != b'=')
        .filter_map(|&byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'+' | b'/' => Some(byte),
            _ => byte.is_ascii_alphanumeric().then_some(byte),
        })
        .collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    DECODE_ANY.decode(digits).unwrap_or_default()
}

/// Appends `bytes` as lower-case hex digits.
pub fn hex_into(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(2 * bytes.len());
    for &byte in bytes {
        out.extend_from_slice(&hex_digits(byte));
    }
}

/// Reads hex digits of either case, two a byte.
#[must_use]
pub fn hex_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    hex_decode_slice(&mut bytes, text).then_some(bytes)
}

/// Reads exactly `2 * out.len()` hex digits into `out`; answers whether `text` was that.
#[must_use]
pub fn hex_decode_slice(out: &mut [u8], text: &[u8]) -> bool {
    if text.len() != 2 * out.len() {
        return false;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else { return false };
        *byte = high << 4 | low;
    }
    true
}

const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31T23:59:59.999Z: the last moment that four digits of a year can say. Later ones are written as it.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// Year, month (1–12) and day (1–31) of a day counted from 1970-01-01, for days of the years 1970–9999.
///
/// The arithmetic counts years from the first of March, so that the leap day is a year's last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970_FROM_YEAR_0: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let z = days + DAYS_TO_1970_FROM_YEAR_0;
    let (era, day_of_era) = (z / DAYS_PER_ERA, z % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date of the years 0–9999; negative before 1970.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes `value` as decimal digits that fill `out`, zeros in front.
fn digits(out: &mut [u8], mut value: u64) {
    for place in out.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

thread_local! {
    /// The second that was written last, and its text: most moments of a busy core lie in it.
    static LAST_SECOND: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, [0; 24])) };
}

/// Appends a moment as RFC 3339 with milliseconds: `2026-02-19T17:26:00.123Z` (24 bytes). Moments after the year 9999
/// are written as its last one.
pub fn write_time(out: &mut Vec<u8>, unix_millis: u64) {
    let millis = unix_millis.min(LAST_MILLIS);
    let second = millis / 1000;
    let (known, mut text) = LAST_SECOND.get();
    if known != second {
        text = second_text(second);
        LAST_SECOND.set((second, text));
    }
    let of_second = (millis % 1000) as u16;
    text[20] = b'0' + (of_second / 100) as u8;
    text[21] = b'0' + (of_second / 10 % 10) as u8;
    text[22] = b'0' + (of_second % 10) as u8;
    out.extend_from_slice(&text);
}

/// A whole second, with zeros for its milliseconds.
fn second_text(seconds: u64) -> [u8; 24] {
    let (year, month, day) = civil_from_days(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], of_day / 3600);
    digits(&mut text[14..16], of_day / 60 % 60);
    digits(&mut text[17..19], of_day % 60);
    text
}

/// Writes a moment as HTTP's `IMF-fixdate` (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn write_http_date(out: &mut [u8; 29], unix_seconds: u64) {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let seconds = unix_seconds.min(LAST_MILLIS / 1000);
    let days = seconds / SECONDS_PER_DAY;
    let (year, month, day) = civil_from_days(days);
    let of_day = seconds % SECONDS_PER_DAY;
    *out = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    out[0..3].copy_from_slice(DAYS[(days % 7) as usize]);
    digits(&mut out[5..7], day);
    out[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    digits(&mut out[12..16], year);
    digits(&mut out[17..19], of_day / 3600);
    digits(&mut out[20..22], of_day / 60 % 60);
    digits(&mut out[23..25], of_day % 60);
}

/// Takes what a date-time is made of from the front of a text.
struct TimeReader<'a> {
    rest: &'a [u8],
}

impl TimeReader<'_> {
    fn byte(&mut self, allowed: &[u8]) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        allowed.contains(&first).then(|| {
            self.rest = rest;
            first
        })
    }

    /// A number of exactly `count` decimal digits, within `low..=high`.
    fn number(&mut self, count: usize, low: i64, high: i64) -> Option<i64> {
        let (text, rest) = self.rest.split_at_checked(count)?;
        let mut value = 0;
        for &digit in text {
            value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.rest = rest;
        (low..=high).contains(&value).then_some(value)
    }

    /// A fraction of a second of one digit or more, as whole milliseconds (further digits are dropped).
    fn fraction_millis(&mut self) -> Option<i64> {
        let count = self.rest.iter().take_while(|c| c.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let (text, rest) = self.rest.split_at(count);
        self.rest = rest;
        let digit = |place: usize| text.get(place).map_or(0, |c| i64::from(c - b'0'));
        Some(digit(0) * 100 + digit(1) * 10 + digit(2))
    }

    /// `Z`, `+hh:mm`, `+hhmm` or `+hh`, in minutes east of UTC.
    fn offset_minutes(&mut self) -> Option<i64> {
        let sign = match self.byte(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2, 0, 23)?;
        if self.rest.is_empty() {
            return Some(sign * hours * 60);
        }
        let _ = self.byte(b":");
        Some(sign * (hours * 60 + self.number(2, 0, 59)?))
    }
}

/// Reads a date-time with an offset (RFC 3339, and ISO 8601's `+hhmm` and `+hh`), in milliseconds since 1970. A date
/// that no calendar has, or a time without an offset, is `None`. A leap second counts as the second after it.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    let mut fields = TimeReader { rest: text.as_bytes() };
    let year = fields.number(4, 0, 9999)?;
    fields.byte(b"-")?;
    let month = fields.number(2, 1, 12)?;
    fields.byte(b"-")?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day = fields.number(2, 1, last_day)?;
    fields.byte(b"Tt ")?;
    let hour = fields.number(2, 0, 23)?;
    fields.byte(b":")?;
    let minute = fields.number(2, 0, 59)?;
    fields.byte(b":")?;
    let second = fields.number(2, 0, 60)?;
    let millis = if fields.byte(b".,").is_some() { fields.fraction_millis()? } else { 0 };
    let offset = fields.offset_minutes()?;
    if !fields.rest.is_empty() {
        return None;
    }
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset;
    Some((minutes * 60 + second) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(unix_millis: u64) -> String {
        let mut out = Vec::new();
        write_time(&mut out, unix_millis);
        String::from_utf8(out).unwrap()
    }

    fn http_date(unix_seconds: u64) -> String {
        let mut out = [0; 29];
        write_http_date(&mut out, unix_seconds);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn decoded(text: &str, plus_is_space: bool) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let clean = percent_decode_strict_into(&mut out, text.as_bytes(), plus_is_space);
        (out, clean)
    }

    #[test]
    fn percent_escapes_are_decoded_and_bad_ones_kept() {
        assert_eq!(decoded("a%20b+c", true), (b"a b c".to_vec(), true));
        assert_eq!(decoded("a%20b+c", false), (b"a b+c".to_vec(), true));
        assert_eq!(decoded("%C3%a9%00", true), (b"\xc3\xa9\0".to_vec(), true));
        assert_eq!(decoded("%", true), (b"%".to_vec(), false));
        assert_eq!(decoded("%4", true), (b"%4".to_vec(), false));
        assert_eq!(decoded("%%34", true), (b"%4".to_vec(), false));
        assert_eq!(decoded("%zz%41", true), (b"%zzA".to_vec(), false));
        assert_eq!(decoded("%+1", true), (b"% 1".to_vec(), false));
    }

    #[test]
    fn base64_is_read_in_both_alphabets_with_and_without_padding() {
        let mut out = Vec::new();
        base64_into(&mut out, b"\xff\xfe\xfd\xfc");
        assert_eq!(out, b"//79/A==");
        for text in ["//79/A==", "//79/A", "__79_A==", "__79_A"] {
            assert_eq!(base64_decode(text.as_bytes()).unwrap(), b"\xff\xfe\xfd\xfc", "{text}");
        }
        for text in ["//79_A==", "a", "ab=", " YQ==", "YQ==\n", "Y!=="] {
            assert_eq!(base64_decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(base64_decode(b"").unwrap(), b"");
    }

    #[test]
    fn hex_is_read_in_either_case() {
        let mut out = Vec::new();
        hex_into(&mut out, b"\x00\xAB\xff");
        assert_eq!(out, b"00abff");
        assert_eq!(hex_decode(b"00aBFf").unwrap(), b"\x00\xab\xff");
        assert_eq!(hex_decode(b""), Some(Vec::new()));
        for text in ["0", "0g", "+1", "0x00", "00 "] {
            assert_eq!(hex_decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339_with_milliseconds() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_771_521_960_123), "2026-02-19T17:26:00.123Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(time(LAST_MILLIS), "9999-12-31T23:59:59.999Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn http_dates_are_imf_fixdates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn times_are_read_with_any_offset() {
        for text in [
            "2026-02-19T17:26:00.123Z",
            "2026-02-19t17:26:00.123z",
            "2026-02-19 17:26:00.1239Z",
            "2026-02-19T18:26:00,123+01:00",
            "2026-02-19T12:56:00.123-0430",
            "2026-02-20T02:26:00.123+09",
        ] {
            assert_eq!(parse_time(text), Some(1_771_521_960_123), "{text}");
        }
        assert_eq!(parse_time("1969-12-31T23:59:59Z"), Some(-1000));
        assert_eq!(parse_time("2016-12-31T23:59:60Z"), parse_time("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn what_is_no_date_time_is_not_read() {
        for text in [
            "",
            "2026-02-19",
            "2026-02-19T17:26:00",
            "2026-02-30T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Z ",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00+1",
            "2026-01-01T00:00:00+24:00",
            "+026-01-01T00:00:00Z",
            "2026-1-1T0:0:0Z",
            "1771521960",
            "2026-01-01T00:00:00+01:0",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_time_is_read_back(millis in 0..=LAST_MILLIS) {
            prop_assert_eq!(parse_time(&time(millis)), Some(millis as i64));
        }

        #[test]
        fn reading_a_time_never_panics(text in "\\PC*") {
            let _ = parse_time(&text);
        }

        #[test]
        fn base64_and_hex_give_back_what_went_in(bytes: Vec<u8>) {
            let (mut base64, mut hex) = (Vec::new(), Vec::new());
            base64_into(&mut base64, &bytes);
            hex_into(&mut hex, &bytes);
            prop_assert_eq!(base64_decode(&base64).unwrap(), bytes.clone());
            prop_assert_eq!(hex_decode(&hex).unwrap(), bytes);
        }
    }
}
