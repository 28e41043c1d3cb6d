//! Settings: any file, environment and flags make settings or an error that says where, and no secret is shown.
//!
//! The input is the file; behind a line `---` come lines `NAME=value` of the environment, and lines `--flag=value`. Each
//! input also chooses lines that are right, with comments between them: those must make settings.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use tidegate::settings::{ENTRIES, Settings};

const NAME: &str = "tidegate.toml";

/// Lines that are right, each by itself and together with any of the others.
const GOOD: [&str; 10] = [
    "cores = 1",
    "data = \"somewhere\"",
    "ingress.listen = \"127.0.0.1:8080\"",
    "admin.listen = \"127.0.0.1:0\"",
    "workers.listen = \"[::1]:8082\"",
    "access_token = \"0123456789abcdef\"",
    "limits.concurrency = 0",
    "limits.requests_per_window = 100",
    "limits.window_seconds = 10",
    "websocket.context_takeover = true",
];

/// Lines that are right, each once at most, with comments and blank lines.
fn good(data: &[u8]) -> (String, usize) {
    let mut choices = Choices::new(data);
    let (mut file, mut count) = (String::new(), 0);
    for line in GOOD {
        if choices.truth() {
            count += 1;
            file.push_str(["", "\n", "# x = y\n", "  "][choices.below(4)]);
            file.push_str(line);
            file.push_str(["\n", " # \"\n", "\r\n"][choices.below(3)]);
        }
    }
    (file, count)
}

fuzz_target!(|data: &[u8]| {
    let (file, count) = good(data);
    let taken = Settings::resolve_given(2, Some((NAME, &file)), &[], &[]);
    match taken {
        Ok((_, given)) => {
            let of_file = given.iter().filter(|given| file.contains(given.entry.key)).count();
            assert!(of_file >= count, "{of_file} of {count} lines are settings: {file}");
        }
        Err(error) => panic!("{}: {}: {file}", error.place, error.message),
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, rest) = text.split_once("---\n").unwrap_or((text, ""));
    let (mut environment, mut flags) = (Vec::new(), Vec::new());
    for line in rest.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        match name.strip_prefix("--") {
            Some(flag) => flags.push((flag.to_owned(), value.to_owned())),
            None => environment.push((name.to_owned(), value.to_owned())),
        }
    }
    match Settings::resolve_given(2, Some((NAME, file)), &environment, &flags) {
        Err(error) => {
            assert!(!error.message.is_empty());
            let line = error.place.strip_prefix("tidegate.toml:").map(|line| line.parse::<usize>());
            match line {
                Some(line) => assert!((1..=file.matches('\n').count() + 1).contains(&line.expect("a line"))),
                None => {
                    assert!(error.place.starts_with("--") || error.place.ends_with(" in the environment"))
                }
            }
        }
        Ok((settings, given)) => {
            assert!(settings.cores >= 1 && settings.limits.window_seconds >= 1);
            if let Some(token) = &settings.access_token {
                // A token that is part of another value by chance is not shown for a secret.
                let shown = given.iter().filter(|given| given.entry.key == "access_token");
                assert!(shown.into_iter().all(|given| given.shown != token.expose()));
                assert!(token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
            }
            assert!(given.iter().all(|given| ENTRIES.iter().any(|entry| entry.key == given.entry.key)));
            // What was given is what counts, given once more as flags.
            let again: Vec<(String, String)> = given
                .iter()
                .filter_map(|given| Some((given.entry.flag?.to_owned(), given.shown.clone())))
                .filter(|(_, shown)| !shown.contains("***"))
                .collect();
            Settings::resolve(2, Some((NAME, file)), &environment, &again).expect("values that were taken");
        }
    }
});
