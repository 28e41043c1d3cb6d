//! Dates as moment.js reads, formats and compares them, in English and in any time zone.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::text::parse_time;

/// Units of work that formatting takes for each byte of a format: its longest tokens write several dozen bytes.
pub(super) const FORMAT_BYTE: usize = 500;
/// Units of work that finding a time zone and its offset takes.
pub(super) const ZONE: usize = 3_000;
/// The text that moment.js writes for an invalid date.
pub(super) const INVALID: &str = "Invalid date";
/// Milliseconds around 1970 that are dates: the years that four digits can write.
const MILLIS_MIN: i64 = -62_167_219_200_000;
const MILLIS_MAX: i64 = 253_402_300_799_999;

const DAY_MILLIS: i64 = 86_400_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment, as milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date(i64);

impl Date {
    /// A date of a number of milliseconds.
    pub(super) fn from_millis(millis: f64) -> Option<Date> {
        let whole = millis.trunc();
        (whole >= MILLIS_MIN as f64 && whole <= MILLIS_MAX as f64).then_some(Date(whole as i64))
    }

    /// Reads ISO 8601: a date, with or without a time, whose offset is UTC's unless it names one.
    pub(super) fn parse(text: &str) -> Option<Date> {
        let text = text.trim();
        if let Some(millis) = parse_time(text) {
            return Some(Date(millis));
        }
        let (date, time) = text.split_at_checked(10)?;
        let seconds = match time.len() {
            0 => "T00:00:00Z",
            3 => ":00:00Z",
            6 => ":00Z",
            // `T17:26Z`, and with an offset.
            7.. if time.as_bytes().get(6).is_none_or(|&byte| byte != b':') => {
                let (minutes, offset) = time.split_at_checked(6)?;
                return parse_time(&format!("{date}{minutes}:00{offset}")).map(Date);
            }
            _ => "Z",
        };
        parse_time(&format!("{date}{time}{seconds}")).map(Date)
    }

    /// Writes the date in a time zone by a format of moment.js.
    pub(super) fn format(self, format: &str, zone: &TimeZone) -> String {
        let Some(fields) = ZonedDate::of(self, zone) else { return INVALID.to_owned() };
        let mut out = String::with_capacity(format.len() * 2);
        fields.write(format, &mut out);
        out
    }

    /// How long before or after another date it is, in words.
    pub(super) fn relative_to(self, other: Date) -> String {
        let (early, late) = if self.0 < other.0 { (self, other) } else { (other, self) };
        let (months, rest) = months_between(early.0, late.0);
        let round = |value: f64| (value + 0.5).floor() as i64;
        let millis = rest as f64 + (f64::from(months) * 146_097.0 / 4800.0 + 0.5).floor() * DAY_MILLIS as f64;
        let months_in_all = f64::from(months) + rest as f64 / DAY_MILLIS as f64 * 4800.0 / 146_097.0;
        let [seconds, minutes, hours, days] =
            [1_000.0, 60_000.0, 3_600_000.0, DAY_MILLIS as f64].map(|unit| round(millis / unit));
        let (months, years) = (round(months_in_all), round(months_in_all / 12.0));
        let text = match () {
            () if seconds < 45 => "a few seconds".to_owned(),
            () if minutes <= 1 => "a minute".to_owned(),
            () if minutes < 45 => format!("{minutes} minutes"),
            () if hours <= 1 => "an hour".to_owned(),
            () if hours < 22 => format!("{hours} hours"),
            () if days <= 1 => "a day".to_owned(),
            () if days < 26 => format!("{days} days"),
            () if months <= 1 => "a month".to_owned(),
            () if months < 11 => format!("{months} months"),
            () if years <= 1 => "a year".to_owned(),
            () => format!("{years} years"),
        };
        if self.0 > other.0 { format!("in {text}") } else { format!("{text} ago") }
    }
}

/// The time zone of a name of the IANA's database.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// Whole months between two moments, and the milliseconds beyond them.
fn months_between(early: i64, late: i64) -> (i32, i64) {
    let (from, to) = (civil(early.div_euclid(DAY_MILLIS)), civil(late.div_euclid(DAY_MILLIS)));
    let months = (to.0 - from.0) * 12 + (to.1 - from.1);
    let later = |months: i64| {
        let month = from.0 * 12 + from.1 - 1 + months;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        let day = from.2.min(days_in_month(year, month));
        days_from_civil(year, month, day) * DAY_MILLIS + early.rem_euclid(DAY_MILLIS)
    };
    let months = if later(months) > late { months - 1 } else { months };
    (i32::try_from(months).unwrap_or(i32::MAX), late - later(months))
}

/// Year, month and day of a day since 1970 (Howard Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + next, month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    year.div_euclid(400) * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - 719_468
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A date in a time zone.
struct ZonedDate {
    unix_millis: i64,
    offset_minutes: i64,
    zone: String,
    year: i64,
    month: i64,
    day: i64,
    /// From 1.
    day_of_year: i64,
    /// From 0 for Sunday.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    milli: i64,
}

impl ZonedDate {
    fn of(date: Date, zone: &TimeZone) -> Option<ZonedDate> {
        let info = zone.to_offset_info(Timestamp::from_millisecond(date.0).ok()?);
        let offset = i64::from(info.offset().seconds());
        let local = date.0 + offset * 1000;
        let (days, in_day) = (local.div_euclid(DAY_MILLIS), local.rem_euclid(DAY_MILLIS));
        let (year, month, day) = civil(days);
        Some(ZonedDate {
            unix_millis: date.0,
            offset_minutes: offset.div_euclid(60),
            zone: info.abbreviation().to_owned(),
            year,
            month,
            day,
            day_of_year: days - days_from_civil(year, 1, 1) + 1,
            weekday: (days + 4).rem_euclid(7),
            hour: in_day / 3_600_000,
            minute: in_day / 60_000 % 60,
            second: in_day / 1000 % 60,
            milli: in_day % 1000,
        })
    }

    /// Week and its year, of weeks that begin on a weekday and of which the first holds a day of January.
    fn week(&self, begins: i64, holds: i64) -> (i64, i64) {
        let start = |year: i64| {
            let day = days_from_civil(year, 1, holds);
            day - (day + 4 - begins).rem_euclid(7)
        };
        let today = days_from_civil(self.year, self.month, self.day);
        let year = match () {
            () if today < start(self.year) => self.year - 1,
            () if today >= start(self.year + 1) => self.year + 1,
            () => self.year,
        };
        ((today - start(year)) / 7 + 1, year)
    }

    fn write(&self, format: &str, out: &mut String) {
        let mut rest = format;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[')
                && let Some(end) = inside.find(['[', ']']).filter(|&end| inside.as_bytes()[end] == b']')
            {
                out.push_str(&inside[..end]);
                rest = &inside[end + 1..];
                continue;
            }
            let (escaped, from) = match rest.strip_prefix('\\') {
                Some(behind) if !behind.is_empty() => (true, behind),
                _ => (false, rest),
            };
            let length = token_length(from);
            let (token, behind) = from.split_at(length);
            if (escaped || !self.token(token, out)) && token != "\\" {
                out.push_str(token);
            }
            rest = behind;
        }
    }

    /// Writes what a token stands for. `false` if it stands for itself.
    fn token(&self, token: &str, out: &mut String) -> bool {
        let hour12 = (self.hour + 11) % 12 + 1;
        let (month, day) = (MONTHS[(self.month as usize - 1) % 12], DAYS[self.weekday as usize % 7]);
        let quarter = (self.month + 2) / 3;
        // Most tokens are about no week.
        let (week, week_year) = (|| self.week(0, 1).0, || self.week(0, 1).1);
        let (iso_week, iso_year) = (|| self.week(1, 4).0, || self.week(1, 4).1);
        let iso_day = (self.weekday + 6) % 7 + 1;
        let signed = |separator: &str| {
            let minutes = self.offset_minutes.abs();
            let sign = if self.offset_minutes < 0 { '-' } else { '+' };
            format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
        };
        let written = match token {
            "M" => write!(out, "{}", self.month),
            "Mo" => ordinal(out, self.month),
            "MM" => write!(out, "{:02}", self.month),
            "MMM" => write!(out, "{}", &month[..3]),
            "MMMM" => write!(out, "{month}"),
            "Q" => write!(out, "{quarter}"),
            "Qo" => ordinal(out, quarter),
            "D" => write!(out, "{}", self.day),
            "Do" => ordinal(out, self.day),
            "DD" => write!(out, "{:02}", self.day),
            "DDD" => write!(out, "{}", self.day_of_year),
            "DDDo" => ordinal(out, self.day_of_year),
            "DDDD" => write!(out, "{:03}", self.day_of_year),
            "d" | "e" => write!(out, "{}", self.weekday),
            "do" => ordinal(out, self.weekday),
            "dd" => write!(out, "{}", &day[..2]),
            "ddd" => write!(out, "{}", &day[..3]),
            "dddd" => write!(out, "{day}"),
            "E" => write!(out, "{iso_day}"),
            "w" => write!(out, "{}", week()),
            "wo" => ordinal(out, week()),
            "ww" => write!(out, "{:02}", week()),
            "W" => write!(out, "{}", iso_week()),
            "Wo" => ordinal(out, iso_week()),
            "WW" => write!(out, "{:02}", iso_week()),
            "YY" => write!(out, "{:02}", self.year % 100),
            "YYYY" => write!(out, "{:04}", self.year),
            "YYYYY" => write!(out, "{:05}", self.year),
            "YYYYYY" => write!(out, "+{:06}", self.year),
            "Y" | "y" => write!(out, "{}", self.year),
            "yo" => ordinal(out, self.year),
            "yy" | "yyy" | "yyyy" => write!(out, "{:01$}", self.year, token.len()),
            "gg" => write!(out, "{:02}", week_year() % 100),
            "gggg" => write!(out, "{:04}", week_year()),
            "ggggg" => write!(out, "{:05}", week_year()),
            "GG" => write!(out, "{:02}", iso_year() % 100),
            "GGGG" => write!(out, "{:04}", iso_year()),
            "GGGGG" => write!(out, "{:05}", iso_year()),
            "A" => write!(out, "{}", if self.hour < 12 { "AM" } else { "PM" }),
            "a" => write!(out, "{}", if self.hour < 12 { "am" } else { "pm" }),
            "H" => write!(out, "{}", self.hour),
            "HH" => write!(out, "{:02}", self.hour),
            "h" => write!(out, "{hour12}"),
            "hh" => write!(out, "{hour12:02}"),
            "k" => write!(out, "{}", (self.hour + 23) % 24 + 1),
            "kk" => write!(out, "{:02}", (self.hour + 23) % 24 + 1),
            "m" => write!(out, "{}", self.minute),
            "mm" => write!(out, "{:02}", self.minute),
            "s" => write!(out, "{}", self.second),
            "ss" => write!(out, "{:02}", self.second),
            "hmm" => write!(out, "{hour12}{:02}", self.minute),
            "hmmss" => write!(out, "{hour12}{:02}{:02}", self.minute, self.second),
            "Hmm" => write!(out, "{}{:02}", self.hour, self.minute),
            "Hmmss" => write!(out, "{}{:02}{:02}", self.hour, self.minute, self.second),
            "x" => write!(out, "{}", self.unix_millis),
            "X" => write!(out, "{}", self.unix_millis.div_euclid(1000)),
            "z" | "zz" => write!(out, "{}", self.zone_name()),
            "Z" => write!(out, "{}", signed(":")),
            "ZZ" => write!(out, "{}", signed("")),
            _ if token.bytes().all(|byte| byte == b'S') => {
                let digits = format!("{:03}000000", self.milli);
                write!(out, "{}", digits.get(..token.len()).unwrap_or(&digits))
            }
            _ => match LOCAL_FORMATS.iter().find(|(name, _)| *name == token) {
                Some((_, format)) => {
                    self.write(format, out);
                    Ok(())
                }
                None => return false,
            },
        };
        written.is_ok()
    }

    /// The abbreviation of the zone, or its offset where it has none.
    fn zone_name(&self) -> &str {
        &self.zone
    }
}

/// Abbreviations of moment.js, and the format that each stands for.
const LOCAL_FORMATS: [(&str, &str); 10] = [
    ("LTS", "h:mm:ss A"),
    ("LT", "h:mm A"),
    ("L", "MM/DD/YYYY"),
    ("LL", "MMMM D, YYYY"),
    ("LLL", "MMMM D, YYYY h:mm A"),
    ("LLLL", "dddd, MMMM D, YYYY h:mm A"),
    ("l", "M/D/YYYY"),
    ("ll", "MMM D, YYYY"),
    ("lll", "MMM D, YYYY h:mm A"),
    ("llll", "ddd, MMM D, YYYY h:mm A"),
];

/// Tokens by their first letter, the longer ones first.
const TOKENS: [&str; 69] = [
    "yyyy", "yyy", "yy", "yo", "Hmmss", "hmmss", "Hmm", "hmm", "MMMM", "MMM", "MM", "Mo", "M", "DDDD",
    "DDDo", "DDD", "DD", "Do", "D", "dddd", "ddd", "dd", "do", "d", "ww", "wo", "w", "WW", "Wo", "W", "Qo",
    "Q", "YYYYYY", "YYYYY", "YYYY", "YY", "Y", "y", "ggggg", "gggg", "gg", "GGGGG", "GGGG", "GG", "e", "E",
    "a", "A", "hh", "h", "HH", "H", "kk", "k", "mm", "m", "ss", "s", "x", "X", "zz", "z", "ZZ", "Z", "LTS",
    "LT", "LLLL", "LLL", "LL",
];

/// Bytes of the token that a format begins with.
fn token_length(format: &str) -> usize {
    let fractions = format.bytes().take_while(|&byte| byte == b'S').count().min(9);
    if fractions > 0 {
        return fractions;
    }
    let locals = format.bytes().take_while(|&byte| byte == b'l').count().min(4);
    if locals > 0 {
        return locals;
    }
    let first = format.as_bytes().first();
    // The first byte tells most tokens apart: a format may be as long as what a caller sends.
    let begins = |token: &&&str| token.as_bytes().first() == first && format.starts_with(**token);
    let known = TOKENS.iter().find(begins).map(|token| token.len());
    known.unwrap_or_else(|| format.chars().next().map_or(0, char::len_utf8))
}

fn ordinal(out: &mut String, number: i64) -> std::fmt::Result {
    let ending = match number % 10 {
        _ if number % 100 / 10 == 1 => "th",
        1 => "st",
        2 => "nd",
        3 => "rd",
        _ => "th",
    };
    write!(out, "{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(date: &str, format: &str, zone_name: &str, expected: &str) {
        let date = Date::parse(date).unwrap_or_else(|| panic!("{date}"));
        let zone = zone(zone_name).unwrap_or_else(|| panic!("{zone_name}"));
        assert_eq!(date.format(format, &zone), expected, "{format}");
    }

    #[test]
    fn dates_are_read_with_and_without_a_time() {
        for (text, millis) in [
            ("2026-02-19T17:26:00.123Z", Some(1_771_521_960_123)),
            ("2026-02-19T17:26:00", Some(1_771_521_960_000)),
            ("2026-02-19 17:26", Some(1_771_521_960_000)),
            ("2026-02-19T18:26+01:00", Some(1_771_521_960_000)),
            ("2026-02-19", Some(1_771_459_200_000)),
            ("2026-02-30", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(Date::parse(text).map(|date| date.0), millis, "{text}");
        }
    }

    #[test]
    fn formats_are_those_of_moment() {
        let date = "2026-02-19T17:26:05.123Z";
        for (format, zone, expected) in [
            ("YYYY-MM-DD[T]HH:mm:ss.SSSZ", "UTC", "2026-02-19T17:26:05.123+00:00"),
            ("L LTS", "UTC", "02/19/2026 5:26:05 PM"),
            ("dddd Do MMMM, h:mm a z", "America/New_York", "Thursday 19th February, 12:26 pm EST"),
            ("x X", "UTC", "1771521965123 1771521965"),
            ("[week] w W ww gggg DDDo Qo", "UTC", "week 8 8 08 2026 50th 1st"),
            ("HH:mm ZZ", "Asia/Kolkata", "22:56 +0530"),
            ("LLLL llll", "UTC", "Thursday, February 19, 2026 5:26 PM Thu, Feb 19, 2026 5:26 PM"),
            ("\\D\\a é", "UTC", "Da é"),
        ] {
            check(date, format, zone, expected);
        }
    }

    #[test]
    fn distances_are_told_as_moment_tells_them() {
        let base = Date::parse("2026-03-31T12:00:00Z").unwrap();
        for (text, expected) in [
            ("2026-03-31T11:59:50Z", "a few seconds ago"),
            ("2026-03-31T11:55:00Z", "5 minutes ago"),
            ("2026-03-31T14:00:00Z", "in 2 hours"),
            ("2026-03-30T12:00:00Z", "a day ago"),
            ("2026-02-28T12:00:00Z", "a month ago"),
            ("2028-03-31T12:00:00Z", "in 2 years"),
        ] {
            assert_eq!(Date::parse(text).unwrap().relative_to(base), expected, "{text}");
        }
    }
}
