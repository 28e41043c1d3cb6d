//! The input of commands: files, and standard input under the name `-`.

use std::io::Read as _;

use anyhow::Context as _;

/// Bytes of a file: more than any body that the API takes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Stands for standard input where a file is named.
pub(super) const STANDARD_INPUT: &str = "-";

/// The text of a file, or of standard input.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or has more than [`FILE_BYTES_MAX`].
pub(super) fn read(file: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == STANDARD_INPUT {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
    };
    let length = read.with_context(|| format!("{file} cannot be read"))?;
    anyhow::ensure!(length as u64 <= FILE_BYTES_MAX, "{file} has more than {FILE_BYTES_MAX} bytes");
    Ok(text)
}
