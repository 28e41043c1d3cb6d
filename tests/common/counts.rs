//! Counts that the guide's tables give. They come out of the runs: a test says what it counted, and fails where
//! `tests/counts.txt` says another number; `tests/readme.rs` holds the guide to that file.

/// Fails unless `tests/counts.txt` gives this count under the name. With `TIDEGATE_RENEW_COUNTS` set the count is
/// written there instead.
///
/// # Panics
/// With the line that the file should have.
#[track_caller]
pub fn hold(name: &str, count: usize) {
    if std::env::var_os("TIDEGATE_RENEW_COUNTS").is_some() {
        return write(name, count);
    }
    let written = of(name);
    assert_eq!(written, Some(count), "tests/counts.txt should say `{name} {count}`, and so should the guide");
}

/// The count under a name.
pub fn of(name: &str) -> Option<usize> {
    let line =
        include_str!("../counts.txt").lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|count| count.parse().expect("a count is a whole number"))
}

fn write(name: &str, count: usize) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counts.txt");
    // Held until the end, since other tests write theirs at the same time.
    let file = std::fs::File::open(path).expect("the file of counts");
    file.lock().expect("a lock");
    let text = std::fs::read_to_string(path).expect("the file of counts");
    let of_name = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
    let lines = text
        .lines()
        .map(|line| if of_name(line) { format!("{name} {count}\n") } else { format!("{line}\n") });
    std::fs::write(path, lines.collect::<String>()).expect("the file of counts");
}
