//! The list of the segments of a folder: a file of text, replaced as a whole by their supplier when a segment is made or
//! deleted. It tells a missing segment from one that never was, and one of another folder from one of this.
//!
//! ```text
//! tidegate journal 1
//! folder 00c0ffee00c0ffee
//! first 4194305
//! segment 0-1
//! segment 0-2
//! ```
//!
//! The supplier writes the list after it has made and zeroed a segment and before it hands it out, and before it deletes
//! one; and at the start, before a core writes anything, with what [`Recovered::update`](super::Recovered::update) changes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::segment::SegmentName;

/// Name of the file in the journal's folder.
pub const MANIFEST_FILE: &str = "segments";

const FIRST_LINE: &str = "tidegate journal 1";
const FOLDER_KEY: &str = "folder ";
const FIRST_KEY: &str = "first ";
const SEGMENT_KEY: &str = "segment ";
/// Digits of the folder's id.
const FOLDER_DIGITS: usize = 16;

/// The segments of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Random id of the folder, which every segment's header repeats.
    pub folder: u64,
    /// Number that sequences of the last start count from.
    pub first: u64,
    pub segments: BTreeSet<SegmentName>,
}

impl Manifest {
    /// The list of a new folder.
    #[must_use]
    pub fn new(folder: u64) -> Manifest {
        Manifest { folder, first: 0, segments: BTreeSet::new() }
    }

    /// A name that no segment has, for the next one that is made for a core.
    #[must_use]
    pub fn unused_name(&self, core: u16) -> SegmentName {
        let of_core = SegmentName { core, number: 0 }..=SegmentName { core, number: u32::MAX };
        let last = self.segments.range(of_core).next_back().map_or(0, |name| name.number);
        SegmentName { core, number: last.wrapping_add(1) }
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\n{FOLDER_KEY}{:016x}\n{FIRST_KEY}{}", self.folder, self.first)?;
        self.segments.iter().try_for_each(|name| writeln!(f, "{SEGMENT_KEY}{name}"))
    }
}

/// A line of the list is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// Counted from 1.
    pub line: usize,
    /// The requirement that the line breaks.
    pub must: &'static str,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} must be {}", self.line, self.must)
    }
}

impl std::error::Error for ManifestError {}

impl FromStr for Manifest {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Manifest, ManifestError> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ManifestError { line: 1, must: "`tidegate journal 1`" });
        }
        let folder = lines
            .next()
            .and_then(|line| line.strip_prefix(FOLDER_KEY))
            .filter(|digits| {
                digits.len() == FOLDER_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or(ManifestError { line: 2, must: "`folder` and 16 hex digits" })?;
        let mut manifest = Manifest::new(folder);
        manifest.first = lines
            .next()
            .and_then(|line| line.strip_prefix(FIRST_KEY)?.parse().ok())
            .ok_or(ManifestError { line: 3, must: "`first` and a number" })?;
        for (at, line) in lines.enumerate() {
            let name = line.strip_prefix(SEGMENT_KEY).and_then(|name| name.parse().ok());
            let bad = ManifestError { line: at + 4, must: "`segment` and a name as in 0-12" };
            manifest.segments.insert(name.ok_or(bad)?);
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let mut manifest = Manifest { first: 9, ..Manifest::new(0xc0ffee) };
        assert_eq!(manifest.to_string().parse(), Ok(manifest.clone()));
        for _ in 0..2 {
            let name = manifest.unused_name(3);
            assert!(manifest.segments.insert(name));
        }
        assert_eq!(manifest.unused_name(3), SegmentName { core: 3, number: 3 });
        assert_eq!(manifest.unused_name(2), SegmentName { core: 2, number: 1 });
        assert_eq!(manifest.to_string().parse(), Ok(manifest));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [
            ("", 1),
            ("tidegate journal 2\n", 1),
            ("tidegate journal 1\n", 2),
            ("tidegate journal 1\nfolder 1\n", 2),
            ("tidegate journal 1\nfolder +000000000000001\n", 2),
            ("tidegate journal 1\nfolder 0000000000000001\nsegment 0-1\n", 3),
            ("tidegate journal 1\nfolder 0000000000000001\nfirst 1\nsegment 0-1\nsegment 1\n", 5),
        ] {
            assert_eq!(text.parse::<Manifest>().map_err(|error| error.line), Err(line), "{text}");
        }
    }
}
