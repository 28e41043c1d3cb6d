//! Checks that cannot run on this machine: printed, counted, and refused in CI.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that a check is left out, and why. With `CI` set that is a failure; else it is one line of the file that
/// `SKIPPED_CHECKS` names, which `tools/test` counts at its end.
///
/// # Panics
/// In CI.
#[track_caller]
pub fn skip(check: &str, why: &str) {
    eprintln!("SKIPPED {check}: {why}");
    assert!(std::env::var_os("CI").is_none(), "CI leaves out no check: {check}: {why}");
    if let Some(path) = std::env::var_os("SKIPPED_CHECKS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write of one line, so that tests that run at once do not mix.
        let written = file.and_then(|mut file| file.write_all(format!("{check}: {why}\n").as_bytes()));
        written.expect("the file for skipped checks is one that can be written");
    }
}
