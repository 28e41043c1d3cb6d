//! The flags that narrow the records of a webhook, for `tidegate tail` and `tidegate replay`.

use clap::{Arg, ArgMatches};

use super::CommandError;
use super::lookup::encoded;
use crate::base::clock::Clock;

/// Flags, each with its value's name and its help; the parameter of the API has the same name.
const TEXTS: [(&str, &str, &str); 4] = [
    ("status", "STATUS", "With one of these statuses: 404, 4xx, 200,5xx"),
    ("method", "METHOD", "With one of these methods: POST,PUT"),
    ("kind", "KIND", "Of one of these kinds: request, connect, message, close"),
    ("search", "TEXT", "With this text in the path, a header, the body or the X-Request-Id"),
];
/// Flags that are times.
const TIMES: [(&str, &str); 2] =
    [("since", "From then on: 10m, 2h, 1d ago, or a time as 2026-01-31T12:00:00Z"), ("until", "Before then")];
/// Units of a time that is told by how long ago it was, in milliseconds.
const UNITS: [(char, u64); 4] = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];

/// The flags.
pub(super) fn flags() -> Vec<Arg> {
    let text = |(name, value, help)| Arg::new(name).long(name).value_name(value).help(help);
    let time = |(name, help)| Arg::new(name).long(name).value_name("TIME").help(help);
    TEXTS.map(text).into_iter().chain(TIMES.map(time)).collect()
}

/// The parameters of the API that the flags make, each with `&` before it.
///
/// # Errors
/// A time that is none.
pub(super) fn parameters(matches: &ArgMatches) -> Result<String, CommandError> {
    let mut parameters = String::new();
    for (name, ..) in TEXTS {
        if let Some(value) = matches.get_one::<String>(name) {
            parameters += &format!("&{name}={}", encoded(value));
        }
    }
    let now = Clock::new().now().unix_millis;
    for (name, _) in TIMES {
        if let Some(value) = matches.get_one::<String>(name) {
            let time =
                time(value, now).map_err(|must| CommandError::Usage(format!("--{name} {value:?} {must}")))?;
            parameters += &format!("&{name}={}", encoded(&time));
        }
    }
    Ok(parameters)
}

/// A time as the API reads it: milliseconds since 1970, or RFC 3339 as it stands.
fn time(text: &str, now: u64) -> Result<String, &'static str> {
    const MUST: &str = "must be 30s, 10m, 2h or 1d ago, or a time as 2026-01-31T12:00:00Z";
    if text.contains('T') || text.contains('-') {
        return Ok(text.to_owned());
    }
    let unit = text.chars().last().and_then(|last| UNITS.iter().find(|(unit, _)| *unit == last));
    let (unit, millis) = unit.ok_or(MUST)?;
    let count: u64 = text.trim_end_matches(*unit).parse().map_err(|_| MUST)?;
    let ago = count.checked_mul(*millis).ok_or(MUST)?;
    Ok(now.saturating_sub(ago).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_how_long_ago_it_was_or_a_time() {
        let time = |text| time(text, 100_000_000).ok();
        assert_eq!(time("30s").as_deref(), Some("99970000"));
        assert_eq!(time("10m").as_deref(), Some("99400000"));
        assert_eq!(time("2h").as_deref(), Some("92800000"));
        assert_eq!(time("3d").as_deref(), Some("0"));
        assert_eq!(time("2026-01-31T12:00:00Z").as_deref(), Some("2026-01-31T12:00:00Z"));
        for bad in ["", "m", "1.5h", "10", "10w", "99999999999999999999d", "mm"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
