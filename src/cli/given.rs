//! The settings that flags, environment and file give.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::CommandError;
use super::options::CONFIG_VARIABLE;
use crate::settings::{ENTRIES, Given, Settings, SettingsError};

/// The prefix of every variable of ours.
const PREFIX: &str = "TIDEGATE_";
/// Bytes of a file of settings: many times those of one that sets everything.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The settings that flags, environment and file make, and what was given.
///
/// # Errors
/// The setting that is unknown or not valid, and where it stands; a file that cannot be read.
pub(super) fn settings(matches: &ArgMatches) -> Result<(Settings, Vec<Given>), CommandError> {
    let environment = environment()?;
    let file = match matches.get_one::<PathBuf>("config") {
        Some(path) => Some((path.clone(), "--config".to_owned())),
        None => variable(CONFIG_VARIABLE)
            .map(|path| (path.into(), format!("{CONFIG_VARIABLE} in the environment"))),
    };
    let file = match file {
        None => None,
        Some((path, place)) => {
            let text = read_config(&path).map_err(|error| SettingsError {
                place,
                message: format!("{} cannot be read: {error}", path.display()),
            })?;
            Some((path.display().to_string(), text))
        }
    };
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Settings::resolve_given(cores(), file, &environment, &flags(matches))?)
}

/// The text of a file of settings. What has no end (a device) must not be read to it.
fn read_config(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > CONFIG_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {CONFIG_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The flags of settings that were given, in the order of the table.
pub(super) fn flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |flag| matches.try_get_one::<String>(flag).ok().flatten();
    let flags = ENTRIES.iter().filter_map(|entry| entry.flag);
    flags.filter_map(|flag| Some((flag.to_owned(), given(flag)?.clone()))).collect()
}

/// The variables of ours.
fn environment() -> Result<Vec<(String, String)>, SettingsError> {
    let mut ours = Vec::new();
    for (name, value) in std::env::vars_os() {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let refused = |name: &str, message: &str| SettingsError {
            place: format!("{name} in the environment"),
            message: message.to_owned(),
        };
        let name = name.into_string().map_err(|name| {
            refused(&name.to_string_lossy(), "there is no setting of this name, which is not UTF-8")
        })?;
        let value = value.into_string().map_err(|_| refused(&name, "must be text in UTF-8"))?;
        ours.push((name, value));
    }
    // The environment has no order; messages should have one.
    ours.sort_unstable();
    Ok(ours)
}

/// A variable that is there and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// CPUs that the process may run on.
fn cores() -> usize {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) if set.count() > 0 => set.count() as usize,
        // A machine of more CPUs than the set can name.
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    }
}
