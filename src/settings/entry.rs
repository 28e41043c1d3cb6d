//! One row of the table of settings.

use super::Settings;

/// One setting.
#[derive(Clone, Copy)]
pub struct Entry {
    /// In the file.
    pub key: &'static str,
    /// In the environment.
    pub variable: &'static str,
    /// On the command line, without dashes; none for what must not show in a process list.
    pub flag: Option<&'static str>,
    /// As `--help` and the guide show it.
    pub default: &'static str,
    pub help: &'static str,
    /// Puts a value in, or says what it must be.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

macro_rules! entry {
    ($key:literal, $variable:literal, $flag:expr, $default:literal, $help:literal, $set:expr) => {
        Entry { key: $key, variable: $variable, flag: $flag, default: $default, help: $help, set: $set }
    };
}
pub(super) use entry;
