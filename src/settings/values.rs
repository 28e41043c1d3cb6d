//! Values of settings, read from their text form.

use std::str::FromStr;

/// Levels of the log.
const LOG_LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];

/// Checks a level, or directives as `tracing_subscriber` reads them. That takes a word which is no level for the name
/// of a module; here a bare word has to be a level, so that a slip of the pen does not silence the log.
pub(super) fn log_directives(value: &str) -> Result<(), String> {
    let must = || {
        format!(
            "must be one of {}, or directives such as tidegate=debug,info; not {value:?}",
            LOG_LEVELS.join(", ")
        )
    };
    let bare =
        value.split(',').map(str::trim).filter(|directive| !directive.contains(['=', '[', ']', '{', '}']));
    for word in bare {
        if !LOG_LEVELS.contains(&word) {
            return Err(must());
        }
    }
    tracing_subscriber::EnvFilter::builder().parse(value).map(drop).map_err(|_| must())
}

pub(super) fn within<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
    value: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number
        .filter(|number| *number >= least && *number <= most)
        .ok_or_else(|| format!("must be a whole number from {least} to {most}, not {value:?}"))
}

pub(super) fn truth(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("must be true or false, not {value:?}")),
    }
}

/// The items of a list with commas; white space around them and empty ones do not count.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}
