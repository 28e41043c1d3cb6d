//! `tidegate check`: resolves the settings, looks at the files of certificates that they name, and shows each setting
//! with where it comes from.

use clap::ArgMatches;

use super::{CommandError, given, output};
use crate::cluster;
use crate::control::chains::check_alexa;
use crate::control::forward::check_roots;
use crate::engine::check_tls;
use crate::settings::{ENTRIES, Given, Settings};

/// Where a setting comes from that nobody gave.
const DEFAULT: &str = "default";

/// Shows the settings.
///
/// # Errors
/// The first setting that is unknown or not valid, or the first file of certificates that cannot be used.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let (settings, given) = given::settings(matches)?;
    for (_, files) in settings.tls_files().filter(|(_, files)| files.is_set()) {
        check_tls(files).map_err(|error| CommandError::Failed(error.into()))?;
    }
    check_alexa(&settings.alexa).map_err(|error| CommandError::Failed(error.into()))?;
    check_roots(settings.forward.roots.as_deref()).map_err(|error| CommandError::Failed(error.into()))?;
    for nats in [settings.node_nats(), settings.cluster_nats()].into_iter().flatten() {
        cluster::connection::check(nats).map_err(|error| CommandError::Failed(error.into()))?;
    }
    output::print(&shown(&settings, &given)).map_err(CommandError::Failed)
}

fn shown(settings: &Settings, given: &[Given]) -> String {
    let rows: Vec<Vec<String>> = ENTRIES
        .iter()
        .map(|entry| {
            // Sources are in rising order: the last one counts.
            let last = given.iter().rev().find(|given| given.entry.key == entry.key);
            let (value, place) = match last {
                Some(given) => (given.shown.clone(), given.place.clone()),
                // The one default that is the machine's to say.
                None if entry.key == "cores" => {
                    (settings.cores.to_string(), format!("{DEFAULT}: {}", entry.default))
                }
                None => (entry.default.to_owned(), DEFAULT.to_owned()),
            };
            vec![entry.key.to_owned(), value, place]
        })
        .collect();
    output::table(&["SETTING", "VALUE", "FROM"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_shown_once_with_its_last_source() {
        let flags = [("cores".to_owned(), "3".to_owned())];
        let environment = [
            ("TIDEGATE_CORES".to_owned(), "2".to_owned()),
            ("TIDEGATE_ACCESS_TOKEN".to_owned(), "planted-secret-0123".to_owned()),
        ];
        let file = Some(("t.toml", "[limits]\nconcurrency = 5"));
        let (settings, given) = Settings::resolve_given(1, file, &environment, &flags).unwrap();
        let text = shown(&settings, &given);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), ENTRIES.len() + 1);
        for expected in [
            &["cores", "3", "--cores"][..],
            &["limits.concurrency", "5", "t.toml:2"],
            &["access_token", "***", "TIDEGATE_ACCESS_TOKEN", "in", "the", "environment"],
            &["driver", "auto", "default"],
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected:?} in\n{text}");
        }
        assert!(!text.contains("planted"));
    }
}
