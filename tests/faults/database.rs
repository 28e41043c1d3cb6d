//! A database that is not what it was when it was written: the start is refused in words, never a start from empty,
//! and the file is left as it is for whoever repairs it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Serving, Started};

/// Applications in the database, with enough in each that the tree has inner pages.
const APPLICATIONS: usize = 40;
/// What each description is made of, to be found in the file.
const MARK: &str = "a description that is kept ";
/// redb's pages.
const PAGE_BYTES: usize = 4096;

/// A data folder with a database, closed in order, and what its REST API says of it.
struct Whole {
    folder: TempDir,
    bytes: Vec<u8>,
    shown: Value,
}

impl Whole {
    fn new() -> Whole {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let serving = Started::new(&data, |_| {}).serves();
        for number in 0..APPLICATIONS {
            let body = json!({"name": format!("Number {number}"), "description": MARK.repeat(20)});
            assert_eq!(serving.call("POST", "/applications", &body).status, 201);
        }
        let shown = shown(&serving);
        serving.stop();
        let bytes = fs::read(data.join("model.redb")).expect("the database");
        Whole { folder, bytes, shown }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts on these bytes instead.
    fn start_with(&self, bytes: &[u8]) -> Started {
        fs::write(self.data().join("model.redb"), bytes).expect("the file is ours");
        Started::new(&self.data(), |_| {})
    }
}

fn shown(serving: &Serving) -> Value {
    let list = serving.call("GET", "/applications?perPage=1000", &Value::Null);
    assert_eq!(list.status, 200, "{list:?}");
    serde_json::from_slice(&list.body).expect("JSON")
}

#[track_caller]
fn refused_as_damaged(started: Started, what: &str) {
    match started {
        Started::Ended(ended) => {
            ended.says(&["model.redb", "is damaged", "restore it from a copy"]);
        }
        Started::Serves(serving) => panic!("{what}: it serves {}", shown(&serving)),
    }
}

#[test]
fn a_truncated_database_is_refused_at_every_length() {
    let whole = Whole::new();
    let lengths = [0, 1, 9, 63, 64, 320, PAGE_BYTES - 1, PAGE_BYTES, 3 * PAGE_BYTES, whole.bytes.len() / 2];
    for length in lengths.into_iter().chain([whole.bytes.len() - PAGE_BYTES, whole.bytes.len() - 1]) {
        let cut = &whole.bytes[..length];
        refused_as_damaged(whole.start_with(cut), &format!("cut to {length}"));
        let left = fs::read(whole.data().join("model.redb")).expect("it is there");
        assert!(left == cut, "cut to {length}: the file was changed");
    }
    assert_eq!(shown(&whole.start_with(&whole.bytes).serves()), whole.shown, "the copy serves again");
}

#[test]
fn what_is_no_database_is_refused() {
    let whole = Whole::new();
    let zeros = vec![0; whole.bytes.len()];
    let text = b"# a file of another program\n".repeat(1_000);
    let random: Vec<u8> =
        (0..whole.bytes.len() as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (what, bytes) in [("zeros", &zeros), ("text", &text), ("random", &random)] {
        refused_as_damaged(whole.start_with(bytes), what);
    }
    let database = whole.data().join("model.redb");
    fs::remove_file(&database).expect("it is there");
    fs::create_dir(&database).expect("a folder in its place");
    let ended = Started::new(&whole.data(), |_| {}).refused();
    ended.says(&["model.redb"]);
}

/// Pages that hold descriptions now or held them before; flipping is of interest where bytes are.
fn used(bytes: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, MARK.as_bytes()).collect()
}

#[test]
fn flipped_bytes_are_refused_or_were_of_nothing_that_is_kept() {
    let whole = Whole::new();
    let marks = used(&whole.bytes);
    assert!(marks.len() > APPLICATIONS, "the descriptions are in the file");
    // The header whole, then each part of the file, then the letters of what is kept.
    let header = (0..320).step_by(23);
    let parts = (0..12).map(|part| PAGE_BYTES + part * (whole.bytes.len() - PAGE_BYTES) / 12);
    let letters = (0..12).map(|part| marks[part * marks.len() / 12] + 3);
    let (mut refused, mut served) = (0, 0);
    for at in header.chain(parts).chain(letters) {
        let mut bytes = whole.bytes.clone();
        bytes[at] ^= 0x04;
        match whole.start_with(&bytes) {
            Started::Ended(ended) => {
                assert!(!ended.text.contains("panicked"), "byte {at}: {ended:?}");
                ended.says(&["model.redb"]);
                refused += 1;
            }
            Started::Serves(serving) => {
                assert_eq!(
                    shown(&serving),
                    whole.shown,
                    "byte {at} was flipped and something else is served"
                );
                served += 1;
            }
        }
    }
    println!("flipped bytes: refused {refused}, of nothing that is kept {served}, served wrongly 0");
    assert!(refused > 0, "some of them must have mattered");
}

#[test]
fn a_page_that_was_overwritten_is_refused_or_held_nothing() {
    let whole = Whole::new();
    let pages = whole.bytes.len() / PAGE_BYTES;
    let (mut refused, mut served) = (0, 0);
    for page in (0..pages).step_by((pages / 24).max(1)) {
        let mut bytes = whole.bytes.clone();
        bytes[page * PAGE_BYTES..][..PAGE_BYTES].fill(0xA5);
        match whole.start_with(&bytes) {
            Started::Ended(ended) => {
                ended.says(&["model.redb"]);
                refused += 1;
            }
            Started::Serves(serving) => {
                assert_eq!(shown(&serving), whole.shown, "page {page} was overwritten");
                served += 1;
            }
        }
    }
    println!("overwritten pages: refused {refused}, of nothing that is kept {served}, served wrongly 0");
}

#[test]
fn a_token_file_that_holds_none_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let start = || {
        Started::new(&data, |command| {
            command.env_remove("TIDEGATE_ACCESS_TOKEN");
            // SAFETY: the call changes a number of the child's own.
            unsafe {
                command.pre_exec(|| {
                    rustix::process::umask(rustix::fs::Mode::empty());
                    Ok(())
                })
            };
        })
    };
    start().serves().stop();
    let file: &Path = &data.join("access-token");
    let mode = fs::metadata(file).expect("it was made").mode();
    assert_eq!(mode & 0o7777, 0o600, "its owner's alone, whatever the umask");
    let whole = fs::read(file).expect("it was made");
    for broken in [
        &b""[..],
        b"\n",
        b"two words, and both long",
        b"\xff\xfe\n",
        b"nul\0nul-nul-nul-nul",
        b"15-characters-x\n",
        &[b'x'; 4_097],
        &[b'x'; 20_000],
    ] {
        fs::write(file, broken).expect("ours");
        start().refused().says(&["access-token", "holds no access token"]);
        assert_eq!(fs::read(file).expect("it is there"), broken, "it is left for who repairs it");
    }
    fs::write(file, &whole).expect("ours");
    start().serves().stop();
}
