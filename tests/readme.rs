//! Statements of README.md and of the guide that a machine can check: the table of settings row by row, the constants
//! that the limits name, paths, links, and the two commands that the README promises.

#[allow(dead_code, reason = "what the tests that count use")]
#[path = "common/counts.rs"]
mod counts;

use std::fs;
use std::path::{Path, PathBuf};

use tidegate::model::{self, DefaultValue, FieldAccess, FieldKind, HookLimits, ObjectSpec};
use tidegate::settings::{ENTRIES, Entry, Settings};

/// Bytes of the README: a stranger reads it in a few minutes.
const README_BYTES_MAX: usize = 25_000;
/// Lines of a page of the guide.
const PAGE_LINES_MAX: usize = 300;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md is text that can be read")
}

/// A page of the guide.
fn page(name: &str) -> String {
    fs::read_to_string(root().join("src/guide").join(name))
        .expect("a page of the guide is text that can be read")
}

/// The README and every page of the guide, each with the folder that its relative links start from.
fn documents() -> Vec<(String, PathBuf, String)> {
    let mut documents = vec![("README.md".to_owned(), root().to_owned(), readme())];
    for (name, _) in tidegate::guide::PAGES {
        documents.push(((*name).to_owned(), root().join("src/guide"), page(name)));
    }
    documents
}

/// The row that the guide must have for a setting.
fn row(entry: &Entry) -> String {
    let flag = entry.flag.map_or("none".to_owned(), |flag| format!("`--{flag}`"));
    format!("| `{}` | `{}` | {flag} | {} | {} |", entry.key, entry.variable, entry.default, entry.help)
}

/// The texts between backticks on lines outside of code blocks.
fn in_backticks(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

#[test]
fn every_setting_has_its_row() {
    let settings = page("settings.md");
    let lines: Vec<&str> = settings.lines().collect();
    let missing: Vec<String> = ENTRIES.iter().map(row).filter(|row| !lines.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "settings.md lacks these rows of its table:\n{}", missing.join("\n"));
}

#[test]
fn every_row_of_the_settings_is_one_that_there_is() {
    let settings = page("settings.md");
    let rows = ENTRIES.iter().map(row).collect::<Vec<String>>();
    let unknown: Vec<&str> = settings
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("| `TIDEGATE_"))
        .filter(|line| !rows.iter().any(|row| row == line))
        .collect();
    assert!(unknown.is_empty(), "no setting has these rows of settings.md:\n{}", unknown.join("\n"));
}

/// The rows that the guide must have for the fields of an object, and a line for those that are kept.
fn field_rows(spec: &ObjectSpec, prefix: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for field in spec.fields() {
        let access = match field.access {
            FieldAccess::ReadOnly if field.help.is_empty() => continue,
            FieldAccess::ReadOnly => ", read-only",
            FieldAccess::Required => ", required",
            FieldAccess::AtCreation => ", fixed at creation",
            FieldAccess::Optional => "",
        };
        let default = match field.default {
            Some(DefaultValue::Boolean(is_on)) => is_on.to_string(),
            Some(DefaultValue::Integer(number)) => number.to_string(),
            Some(DefaultValue::Text("")) => "empty".to_owned(),
            Some(DefaultValue::Text(text)) => format!("`{text}`"),
            None => String::new(),
        };
        let kind = field.phrase().replace('|', "\\|");
        rows.push(format!(
            "| `{prefix}{}` | {kind}{access} | {default} | {} |",
            field.name,
            field.help.replace('|', "\\|")
        ));
        if let FieldKind::Object(inner) = field.kind {
            rows.extend(field_rows(inner, &format!("{}.", field.name)));
        }
    }
    if !spec.kept.is_empty() {
        rows.push(format!("Kept and given back, without effect: {}.", spec.kept.join(", ")));
    }
    rows
}

#[test]
fn the_page_of_fields_is_what_bodies_are_checked_against() {
    let mut expected = String::new();
    for (heading, spec) in model::TABLES {
        expected.push_str(&format!(
            "\n## {heading}\n\n| field | value | default | meaning |\n| --- | --- | --- | --- |\n"
        ));
        for row in field_rows(spec, "") {
            let space = if row.starts_with('|') { "" } else { "\n" };
            expected.push_str(&format!("{space}{row}\n"));
        }
    }
    let page = page("fields.md");
    let tables = page.find("\n## ").map_or("", |start| &page[start..]);
    assert!(tables == expected, "the tables of fields.md must be:\n{expected}");
}

#[test]
fn the_limits_name_constants_that_there_are() {
    let limits = page("limits-and-refusals.md");
    let mut checked = 0;
    let mut missing = Vec::new();
    // `NAME` of `src/file.rs`
    for line in limits.lines().filter(|line| line.starts_with('|')) {
        let words = in_backticks(line);
        for pair in words.windows(2) {
            let [name, file] = pair else { continue };
            if !file.starts_with("src/") || !file.ends_with(".rs") {
                continue;
            }
            checked += 1;
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            let declared = [format!("const {name}: "), format!("    pub {name}: ")];
            if !declared.iter().any(|declared| text.contains(declared)) {
                missing.push(format!("{name} of {file}"));
            }
        }
    }
    assert!(checked > 30, "the table of limits is not where it was: {checked} constants found");
    assert!(
        missing.is_empty(),
        "limits-and-refusals.md names limits that there are not: {}",
        missing.join(", ")
    );
}

#[test]
fn the_settings_take_what_a_webhook_may_have_and_no_more() {
    for (flag, most) in [
        ("requests-per-window", HookLimits::REQUESTS_PER_WINDOW_MAX),
        ("window-seconds", HookLimits::WINDOW_SECONDS_MAX),
        ("concurrency", HookLimits::CONCURRENCY_MAX),
        ("payload-bytes", HookLimits::PAYLOAD_BYTES_MAX),
        ("reply-timeout-seconds", HookLimits::REPLY_TIMEOUT_SECONDS_MAX),
    ] {
        let resolved = |value: u32| Settings::resolve(1, None, &[], &[(flag.to_owned(), value.to_string())]);
        assert!(resolved(most).is_ok(), "{flag} {most}");
        assert!(resolved(most + 1).is_err(), "{flag} {}", most + 1);
    }
}

#[test]
fn every_path_that_is_named_is_there() {
    let folders = ["tools/", "src/", "tests/", "benches/", "fuzz/", ".ci/"];
    let mut missing = Vec::new();
    for (document, _, text) in documents() {
        let named = in_backticks(&text);
        let in_code = text.split_whitespace().map(|word| word.trim_start_matches("./"));
        let paths = named
            .iter()
            .copied()
            .chain(in_code.filter(|word| word.starts_with("tools/")))
            .map(|word| word.split_whitespace().next().unwrap_or_default())
            .map(|word| word.trim_start_matches("./").trim_end_matches(['`', ',', '.', ':', ';', ')']))
            .filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
            .filter(|path| !root().join(path).exists());
        missing.extend(paths.map(|path| format!("{document}: {path}")));
    }
    assert!(missing.is_empty(), "paths that are not there: {}", missing.join(", "));
}

#[test]
fn every_relative_link_resolves() {
    let headings = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
    };
    let mut dead = Vec::new();
    for (document, folder, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http://") || link.starts_with("https://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { Some(text.clone()) } else { fs::read_to_string(folder.join(path)).ok() };
            let there = path.is_empty() || folder.join(path).exists();
            let known = fragment.is_empty()
                || target.is_some_and(|target| headings(&target).iter().any(|heading| heading == fragment));
            if !there || !known {
                dead.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere: {}", dead.join(", "));
}

#[test]
fn every_page_that_a_comment_cites_is_there() {
    let mut cited = 0;
    let mut dead = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(|file| file.path()) {
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source is text");
            for (name, heading) in text.split("crate::guide::").skip(1).filter_map(citation) {
                cited += 1;
                let file_name = format!("{}.md", name.replace('_', "-"));
                let known = tidegate::guide::PAGES.iter().find(|(page, _)| *page == file_name);
                let has_heading = |page: &str| {
                    page.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
                };
                if !known.is_some_and(|(_, page)| heading.is_empty() || has_heading(page)) {
                    dead.push(format!("{}: {name}#{heading}", file.display()));
                }
            }
        }
    }
    assert!(cited > 50, "the comments that cite the guide are not where they were: {cited}");
    assert!(dead.is_empty(), "comments cite pages or headings that are not there:\n{}", dead.join("\n"));
}

/// The page and the heading that a link to the guide names, given the text behind `crate::guide::`; `None` if the text
/// names an item of the module.
fn citation(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|sign: char| !sign.is_ascii_lowercase() && sign != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let heading = rest.strip_prefix('#').unwrap_or_default();
    let heading_end = heading.find(|sign: char| !sign.is_alphanumeric() && !['-', '_'].contains(&sign));
    (!name.is_empty())
        .then(|| (name, heading.get(..heading_end.unwrap_or(heading.len())).unwrap_or_default()))
}

/// The pairs "`item` of `file`" of a line.
fn items_of_files(line: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = line.split('`').collect();
    let pair = |parts: &[&'_ str]| parts[1] == " of " && parts[2].ends_with(".rs");
    let texts = (1..parts.len()).step_by(2).filter_map(|at| parts.get(at..at + 3));
    texts
        .filter(|parts| pair(parts))
        .map(|parts| (parts[0].rsplit("::").next().unwrap_or(parts[0]), parts[2]))
        .collect()
}

#[test]
fn the_items_that_a_maintainer_is_sent_to_are_there() {
    let page = page("changing-tidegate.md");
    let mut missing = Vec::new();
    let mut checked = 0;
    // Rows of the entry points: a file, then the name to begin at.
    let entry = |line: &str| -> Option<(String, String)> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, question, file, name, _] = cells.as_slice() else { return None };
        let is_entry = question.ends_with('?') && file.starts_with("`src/");
        is_entry.then(|| (name.trim_matches('`').to_owned(), file.trim_matches('`').to_owned()))
    };
    for line in page.lines() {
        let named = items_of_files(line).into_iter().map(|(item, file)| (item.to_owned(), file.to_owned()));
        for (item, file) in named.chain(entry(line)) {
            checked += 1;
            let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
            let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
            if !text.split(|sign| !is_word(sign)).any(|word| word == item) {
                missing.push(format!("{item} of {file}"));
            }
        }
    }
    assert!(checked > 60, "the page names fewer items than it did: {checked}");
    assert!(
        missing.is_empty(),
        "changing-tidegate.md names items that are not there: {}",
        missing.join(", ")
    );
}

#[test]
fn the_readme_and_the_pages_keep_to_their_sizes() {
    assert!(readme().len() <= README_BYTES_MAX, "README.md has {} bytes", readme().len());
    for (name, text) in tidegate::guide::PAGES {
        assert!(text.lines().count() <= PAGE_LINES_MAX, "{name} has {} lines", text.lines().count());
    }
    let files = fs::read_dir(root().join("src/guide")).expect("a folder").filter_map(Result::ok);
    let pages = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "md"));
    assert_eq!(pages.count(), tidegate::guide::PAGES.len(), "a page that the guide does not include");
    for (name, _) in tidegate::guide::PAGES {
        assert!(readme().contains(&format!("(src/guide/{name})")), "README.md does not link {name}");
    }
}

/// The anchor of a heading: lower case, spaces as hyphens, signs left out.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|sign| sign.is_alphanumeric() || [' ', '-', '_'].contains(sign));
    kept.map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

#[test]
fn the_two_commands_do_what_it_promises() {
    let readme = readme();
    for command in ["cargo run --release", "./tools/test"] {
        assert!(readme.lines().any(|line| line.starts_with(command)), "README.md does not show {command}");
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml is text");
    // With several programs in a package, `cargo run` needs to be told which.
    assert!(manifest.lines().any(|line| line == "default-run = \"tidegate\""));
    assert!(is_executable(&root().join("tools/test")), "tools/test cannot be executed");
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[test]
fn every_direct_dependency_is_explained() {
    let explained = page("dependencies.md");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml is text");
    let mut section = "";
    let mut missing = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if ["[dependencies]", "[dev-dependencies]"].contains(&section)
            && let Some((key, value)) = line.split_once(" = ")
        {
            let renamed = value.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            let name = renamed.unwrap_or(key);
            if !explained.lines().any(|line| line.starts_with('|') && in_backticks(line).contains(&name)) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "dependencies.md does not say what these are for: {}", missing.join(", "));
}

#[test]
fn the_example_for_fuzzers_is_the_one_that_is_compiled() {
    let example =
        fs::read_to_string(root().join("tools/examples/fuzz_http.rs")).expect("the example is text");
    assert!(
        page("conformance.md").contains(&format!("```rust\n{example}```")),
        "conformance.md shows another tools/examples/fuzz_http.rs"
    );
}

#[test]
fn the_instruction_counts_are_those_of_the_baseline() {
    let performance = page("performance.md");
    let baseline = fs::read_to_string(root().join("benches/instructions.txt")).expect("a baseline");
    let counts: Vec<(&str, &str)> = baseline
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect();
    assert!(counts.len() >= 5, "the baseline is not where it was");
    let missing: Vec<String> = counts
        .iter()
        .map(|(case, count)| format!("| `{case}` | {} |", with_commas(count)))
        .filter(|row| !performance.contains(row))
        .collect();
    assert!(missing.is_empty(), "performance.md lacks these rows of its counts:\n{}", missing.join("\n"));
}

/// A whole number with a comma before each three digits.
fn with_commas(number: &str) -> String {
    let groups: Vec<&[u8]> = number.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(groups.join(&b',')).expect("digits and commas")
}

#[test]
fn the_counts_of_the_suites_are_those_of_the_runs() {
    let conformance = page("conformance.md");
    let count = |name: &str| with_commas(&counts::of(name).expect(name).to_string());
    let passed = |all: &str, explained: &str| {
        let number = |name| counts::of(name).expect("a count");
        with_commas(&(number(all) - number(explained)).to_string())
    };
    let hyper = counts::of("differential-hyper-table").zip(counts::of("differential-hyper-generated"));
    let hyper =
        hyper.map(|(table, generated)| with_commas(&(table + generated).to_string())).expect("counts");
    let expected = [
        format!(
            "(`tests/desync.rs`) | {} | {} | {} |",
            count("desync-vectors"),
            passed("desync-vectors", "desync-explained"),
            count("desync-explained")
        ),
        format!("all are refused | {0} | {0} | 0 |", count("desync-severe")),
        format!(
            "(`tools/conformance/websocket`) | {} | {} | {} |",
            count("autobahn-cases"),
            passed("autobahn-cases", "autobahn-informational"),
            count("autobahn-informational")
        ),
        format!(
            "counted once | {hyper} inputs, of which both take {} | all |",
            count("differential-hyper-taken-by-both")
        ),
        format!("(`tests/differential_h11.rs`) | {} inputs | all |", count("differential-h11-inputs")),
        format!("(`tools/loom`) | {} models | all |", count("loom-models")),
        format!("{} requests were the same for h11", count("differential-h11-same")),
        format!("{} inputs both refused", count("differential-h11-refused-by-both")),
    ];
    // A sentence may be broken into lines anywhere.
    let text = conformance.split_whitespace().collect::<Vec<_>>().join(" ");
    let missing: Vec<String> =
        expected.into_iter().filter(|text_of| !text.contains(text_of.as_str())).collect();
    assert!(missing.is_empty(), "conformance.md lacks what the runs counted:\n{}", missing.join("\n"));
    let models = fs::read_to_string(root().join("tests/models/tests/interleavings.rs")).expect("the models");
    assert_eq!(Some(models.matches("#[test]").count()), counts::of("loom-models"), "models of tools/loom");
}

#[test]
fn the_table_of_fuzzing_is_what_the_targets_came_to() {
    let conformance = page("conformance.md");
    let results =
        fs::read_to_string(root().join("fuzz/results.txt")).expect("written by tools/fuzz --record");
    let mut targets = 0;
    for line in results.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let target = words.next().expect("a name");
        let source = root().join(format!("fuzz/fuzz_targets/{target}.rs"));
        assert!(source.exists(), "there is no target {target}");
        let figures: Vec<String> = words.map(with_commas).collect();
        let row = format!("| `{target}` | {} |", figures.join(" | "));
        assert!(conformance.contains(&row), "conformance.md lacks {row}");
        targets += 1;
    }
    // A target that is newer than the last record has no row yet.
    assert!(targets >= 19, "the record is not where it was");
}
